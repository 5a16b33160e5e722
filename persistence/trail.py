"""What an auditor asks the log: which of its records are about this account, key, session or market, and from when.

A record says who asked, by number. What it does not say has to be followed through the log: whose a key is that an
operator revokes, and whose orders hang on a session that is lost. So a question about an account reads the log from
its beginning; all that is kept on the way are the owners of keys and of armed sessions.
"""

from collections.abc import Iterator
from typing import Final

from attrs import Factory, define, frozen

from book import image
from book.commands import (
    ArmSession,
    Command,
    DefineAccount,
    DefineKey,
    DefineMarket,
    LoseAllSessions,
    LoseSession,
    ReplaceOrder,
    RevokeKey,
)
from book.definitions import Account, Key
from book.registry import Registry
from persistence.codec import NumberedRecord, Record, RefusedRecord
from persistence.recovery import Progress, Walk, no_progress
from persistence.segments import paths, read_header, segments
from persistence.snapshot import good_snapshots
from persistence.storage import Disk

_PARTS: Final = ("account", "key", "session", "symbol")
# Of a 64-bit number.
_DIGITS: Final = 19


class UnknownNameError(ValueError):
    """There is no account or key of this name in the log; the message says which."""


@frozen(kw_only=True)
class Question:
    """Which records are asked for: those that all of this holds for. None asks for any."""

    account: int | None = None
    key: int | None = None
    session: int | None = None
    symbol: str | None = None
    """Of a market; what is about all markets is about this one, too."""
    since_ns: int = 0
    until_ns: int | None = None
    """The last nanosecond that is asked for."""

    @property
    def is_about_anyone(self) -> bool:
        """Only records of somebody or something are asked for, so those without a number are not."""
        return any(part is not None for part in (self.account, self.key, self.session, self.symbol))


ANYTHING: Final = Question()


@frozen
class Subject:
    """Whom and what a command is about, as far as it is about one. An empty symbol is all markets."""

    account: int | None = None
    key: int | None = None
    session: int | None = None
    symbol: str | None = None
    others: frozenset[int] = frozenset()
    """Further accounts that it is about."""


@define
class Trail:
    """Whose keys and armed sessions there are, as far as the log has been read."""

    owners: dict[int, int] = Factory(dict)
    """Accounts by their keys."""
    armed: dict[int, int] = Factory(dict)
    """Accounts by the sessions on which their orders hang."""

    def follow(self, record: Record) -> Subject:
        """Whom the next record is about; and remember what later ones do not say."""
        if not isinstance(record, NumberedRecord):
            return Subject()
        command = record.command
        subject = self._subject(command)
        if isinstance(record, RefusedRecord):
            return subject
        if isinstance(command, DefineKey):
            self.owners[command.key.key] = command.key.account
        elif isinstance(command, ArmSession):
            self.armed[command.session] = command.account
        elif isinstance(command, LoseSession):
            self.armed.pop(command.session, None)
        elif isinstance(command, LoseAllSessions):
            self.armed.clear()
        return subject

    def _subject(self, command: Command) -> Subject:
        match command:
            case ReplaceOrder():
                return self._subject(command.order)
            case DefineAccount():
                subject = Subject(command.account.account)
            case DefineKey():
                subject = Subject(command.key.account, command.key.key)
            case RevokeKey():
                subject = Subject(self.owners.get(command.key), command.key)
            case LoseSession():
                subject = Subject(self.armed.get(command.session), session=command.session)
            case LoseAllSessions():
                subject = Subject(others=frozenset(self.armed.values()))
            case DefineMarket():
                subject = Subject(symbol=command.market.symbol)
            case _:
                account, key, session, symbol = (getattr(command, part, None) for part in _PARTS)
                subject = Subject(account, key, session, symbol)
        return subject


def answers(question: Question, record: Record, subject: Subject) -> bool:
    """Whether this record, which is about this, is asked for."""
    if record.time_ns < question.since_ns or (question.until_ns is not None and record.time_ns > question.until_ns):
        return False
    return (
        (question.account is None or question.account == subject.account or question.account in subject.others)
        and (question.key is None or question.key == subject.key)
        and (question.session is None or question.session == subject.session)
        and (question.symbol is None or subject.symbol in {question.symbol, ""})
        and (isinstance(record, NumberedRecord) or not question.is_about_anyone)
    )


def begin_trail(disk: Disk) -> Trail:
    """What is known before the log's first record: nothing, or what a snapshot says where the beginning is gone.

    Raises Damaged, Unreadable or NewerFormat.
    """
    beginning = _beginning(disk)
    if beginning is None:
        return Trail()
    owners = {key.key: key.account for key in beginning.keys}
    return Trail(owners, dict(beginning.armed_sessions))


def account_number(disk: Disk, text: str) -> int:
    """The account of this number or name. Raises UnknownNameError; Damaged, Unreadable or NewerFormat."""
    if (number := _number(text)) is not None:
        return number
    for account in (*Registry().accounts.values(), *_defined_accounts(disk)):
        if account.name == text:
            return account.account
    raise UnknownNameError(f"the log knows no account {text!r:.80}")


def key_number(disk: Disk, text: str) -> int:
    """The key of this number or name. Raises UnknownNameError; Damaged, Unreadable or NewerFormat."""
    if (number := _number(text)) is not None:
        return number
    for key in _defined_keys(disk):
        if key.name == text:
            return key.key
    raise UnknownNameError(f"the log knows no key {text!r:.80}")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def _defined_accounts(disk: Disk) -> Iterator[Account]:
    if (beginning := _beginning(disk)) is not None:
        yield from (account.definition for account in beginning.accounts)
    yield from (command.account for command in _accepted(disk) if isinstance(command, DefineAccount))


def _defined_keys(disk: Disk) -> Iterator[Key]:
    if (beginning := _beginning(disk)) is not None:
        yield from beginning.keys
    yield from (command.key for command in _accepted(disk) if isinstance(command, DefineKey))


def _accepted(disk: Disk, progress: Progress = no_progress) -> Iterator[Command]:
    """Every command that took effect, in order."""
    for frame in Walk(disk, segments(disk), progress):
        for record in frame.records():
            if isinstance(record, NumberedRecord) and not isinstance(record, RefusedRecord):
                yield record.command


def _beginning(disk: Disk) -> image.EngineImage | None:
    """The oldest state that a snapshot tells, where the log's beginning is gone."""
    found = paths(disk)
    if not found or read_header(disk, found[0]).header.first_seq == 1:
        return None
    for snapshot in good_snapshots(disk, oldest_first=True):
        return image.decode(snapshot.state)
    return None
