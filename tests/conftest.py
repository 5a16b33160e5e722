"""What all tests share."""

from typing import NoReturn

import structlog
from structlog.typing import EventDict, WrappedLogger


def _drop(_logger: WrappedLogger, _method: str, _event: EventDict) -> NoReturn:
    raise structlog.DropEvent


# Crashes are what many tests are about, and their tracebacks cost more than the tests. `capture_logs` still works.
structlog.configure(processors=[_drop])
