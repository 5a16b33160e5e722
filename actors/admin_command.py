"""An operator's command, and how it is called: parameters by place, as KEY=VALUE or as JSON, and perhaps `--yes`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from attrs import frozen

from actors.listings import WordsError

COMMAND_SECONDS: Final = 30.0
# For one that waits for work: a snapshot of much state takes minutes.
WORK_SECONDS: Final = 600.0


class BadCall(Exception):  # noqa: N818 - the operator's mistake, told in a sentence
    """The call cannot be carried out as given; the message says what is wrong and what would be right."""


class Source(Protocol):
    """Where events come from."""

    async def next(self) -> Sequence[object]:
        """What has come since the last call; waits for something to come."""
        ...


@frozen
class Followed:
    """The answer of a command that goes on: what comes while `opened`."""

    opened: Callable[[], AbstractContextManager[Source]]


@frozen
class AdminCommand:
    """A command as `help` shows it, and the function behind it."""

    name: str
    parameters: tuple[str, ...]
    about: str
    run: Callable[..., Awaitable[object]]
    """Takes each parameter as a `str`, by name."""
    optional: tuple[str, ...] = ()
    """Parameters that may be left out; they come behind the others."""
    changes: bool = False
    wants_yes: bool = False
    wants_operator: bool = False
    """Whether `run` is told who calls, as `operator`: two different ones have to agree."""
    by_name: bool = False
    """Whether it has too many parameters for anyone to know their places."""
    deadline_seconds: float = COMMAND_SECONDS
    follows: bool = False
    """Whether its answer goes on, with lines of events, until the operator says anything or hangs up."""

    @property
    def usage(self) -> str:
        """The command with its parameters, as one types it."""
        if self.by_name:
            words = [self.name, "KEY=VALUE…"]
        else:
            words = [self.name, *(parameter.upper() for parameter in self.parameters)]
            words += [f"[{parameter.upper()}]" for parameter in self.optional]
        return " ".join([*words, "--yes"] if self.wants_yes else words)

    async def call(self, params: Mapping[str, str | int | bool], operator: str = "") -> object:
        """Run it with params by name, or by place ('0', '1', …), where the value may say the name: `tier=1`.

        Args:
            params: What is said.
            operator: Who says it.

        Raises:
            BadCall: a parameter is missing, unknown or there twice, or the 'yes' is missing.
        """
        given: dict[str, str] = {}
        for key, value in params.items():
            if key != "yes":
                name, text = self._named(key, str(value))
                if name in given:
                    raise BadCall(f"{name} is given twice; {self._help()}")
                given[name] = text
        if unknown := [name for name in given if name not in {*self.parameters, *self.optional}]:
            raise BadCall(f"{unknown[0]!r:.50} is one too many; {self._help()}")
        if missing := [name for name in self.parameters if name not in given]:
            raise BadCall(f"{', '.join(missing)} missing; {self._help()}")
        if self.wants_yes and params.get("yes") is not True:
            raise BadCall(f"{self.name} may hurt; say that you mean it: {self.usage}")
        try:
            return await self.run(**given, operator=operator) if self.wants_operator else await self.run(**given)
        except WordsError as error:
            raise BadCall(str(error)) from error

    def _named(self, key: str, text: str) -> tuple[str, str]:
        names = (*self.parameters, *self.optional)
        if not (key.isascii() and key.isdecimal()):
            return key, text
        name, equals, value = text.partition("=")
        if equals and name in names:
            return name, value
        places = {} if self.by_name else {str(place): name for place, name in enumerate(names)}
        return places.get(key, text), text

    def _help(self) -> str:
        if self.by_name:
            keys = [*self.parameters, *(f"[{name}]" for name in self.optional)]
            return f"usage: {self.usage}, with the keys {', '.join(keys)}"
        return f"usage: {self.usage}"
