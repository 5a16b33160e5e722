"""Which errors are for the operator to mend, and with which exit code they end the program."""

from collections.abc import Iterator
from typing import Final

from actors.sequencer import DefinitionRefusedError
from actors.tls import BadCertificate
from actors.world import CannotListen
from chains.wallet import WalletError
from persistence.exits import Exit, NoSpace, Stop
from persistence.mysql import BadUrl
from persistence.txstore import StoreRefused
from tallystick.config import ConfigError
from tallystick.fetching import CannotFetch

_MENDABLE: Final = (
    Stop,
    NoSpace,
    CannotListen,
    BadCertificate,
    DefinitionRefusedError,
    WalletError,
    ConfigError,
    CannotFetch,
    BadUrl,
    StoreRefused,
)


def for_operators(error: BaseException) -> Exception | None:
    """The first error in this one's causes that an operator can mend; None when all are bugs of ours."""
    for cause in _causes(error):
        if isinstance(cause, _MENDABLE):
            return cause
    return None


def exit_code(error: Exception | None) -> Exit:
    """What the process ends with because of an error that `for_operators` found."""
    if isinstance(error, Stop):
        return error.exit_code
    if isinstance(error, NoSpace):
        return Exit.DISK_FAILED
    return Exit.GAVE_UP if error is None else Exit.USAGE


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what caused it, and what groups hold, outermost first."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _causes(member)
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)
