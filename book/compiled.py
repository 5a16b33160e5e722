"""Whether this package runs as a compiled extension."""

from typing import Final

COMPILED: Final = not __file__.endswith(".py")  # mypyc leaves a shared library in the module's place
