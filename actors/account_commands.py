"""What operators can do to accounts, their keys and their money."""

from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from typing import Final, TypeVar

from actors.admin_command import AdminCommand, BadCall
from actors.engine_line import EngineLine
from actors.explaining import why_refused
from actors.gateway import Sessions
from actors.listings import AccountWords, KeyWords, WordsError, key_of, spoken, units, whole
from actors.networks import networks_of
from actors.requests import Done
from actors.world import Entropy
from book.commands import CreditDeposit, DefineAccount, DefineKey, FreezeAccount, RevokeKey, SetAccountTier
from book.decimals import format_units
from book.definitions import Account, Key
from book.events import Rejected
from book.queries import AccountDetails, AccountDetailsView, Balances, DirectoryView
from book.terms import MAX_INT, NS_PER_MS, PERMISSIONS

# What one answer lists: all accounts of a large exchange would hold up everyone else.
ACCOUNTS_LISTED: Final = 1_000
CREDIT_ID_BYTES: Final = 8


Named = TypeVar("Named", Account, Key)


class AccountCommands:
    """The commands of the groups `account` and `key`, `balances` and `credit`.

    Args:
        engine: Who knows and does all of this.
        sessions: Who is connected, for keys that are revoked.
        entropy: For the ids of credits that are given none.
        test_money: Whether the configuration allows credits of money that never came.
    """

    def __init__(self, engine: EngineLine, sessions: Sessions, entropy: Entropy, *, test_money: bool) -> None:
        self._engine = engine
        self._sessions = sessions
        self._entropy = entropy
        self._test_money = test_money

    def commands(self) -> tuple[AdminCommand, ...]:
        """In the order of `help`."""
        freeze, thaw = self._freezing(frozen=True), self._freezing(frozen=False)
        return (
            AdminCommand(
                "account.list", (), "the accounts, 1,000 from a number on", self.list_accounts, optional=("from",)
            ),
            AdminCommand("account.show", ("account",), "how an account is treated, and its keys", self.show),
            AdminCommand(
                "account.add", ("name",), "make an account known", self.add_account, optional=("id",), changes=True
            ),
            AdminCommand("account.freeze", ("account",), "let it cancel, and nothing else", freeze, changes=True),
            AdminCommand("account.thaw", ("account",), "let it trade again", thaw, changes=True),
            AdminCommand(
                "account.tier",
                ("account", "tier"),
                "put an account into a fee tier; 0 is none",
                self.set_tier,
                changes=True,
            ),
            AdminCommand(
                "key.add",
                ("name", "account", "permissions", "public_key"),
                "let a key act for an account",
                self.add_key,
                optional=("id", "networks"),
                changes=True,
            ),
            AdminCommand(
                "key.revoke", ("key",), "let a key act no more, and close its sessions", self.revoke_key, changes=True
            ),
            AdminCommand("balances", ("account",), "what an account owns", self.balances),
            AdminCommand(
                "credit",
                ("account", "asset", "amount"),
                "give test money, once per id",
                self.credit,
                optional=("id",),
                changes=True,
            ),
        )

    # Accounts

    async def list_accounts(self, **words: str) -> object:
        """Accounts by number."""
        first = whole(words.get("from", "0"), "from")
        view = await self._engine.directory()
        found = sorted((account.account, account.name) for account in view.accounts if account.account >= first)
        return {"accounts": [{"id": number, "name": name} for number, name in found[:ACCOUNTS_LISTED]]}

    async def show(self, account: str) -> object:
        """One account."""
        view = await self._engine.directory()
        number = account_of(view, account).account
        details = await self._engine.ask(AccountDetails(number), AccountDetailsView)
        scales = {asset.name: asset.scale for asset in view.assets}
        return {
            "id": number,
            "name": details.account.name,
            "tier": details.tier,
            "frozen": details.frozen,
            "openOrders": details.open_orders,
            "cancelAllAt": details.cancel_all_due_ns // NS_PER_MS or None,
            "receivables": {asset: format_units(owed, scales[asset]) for asset, owed in details.receivables},
            "keys": [
                {
                    "id": key.key,
                    "name": key.name,
                    "permissions": [name for bit, name in PERMISSIONS.items() if key.permissions & bit],
                    "networks": [str(network) for network in networks_of(key.networks)],
                    "revoked": key.key in view.revoked_keys,
                }
                for key in view.keys
                if key.account == number
            ],
        }

    async def add_account(self, name: str, **words: str) -> object:
        """Define an account, under the next free number unless one is given."""
        view = await self._engine.directory()
        number = _next(account.account for account in view.accounts)
        account = spoken(AccountWords, {"id": number, "name": name, **words})
        done = await self._engine.tell(DefineAccount(Account(account.id, account.name)))
        return {"id": account.id, "name": account.name, "seq": done.seq}

    def _freezing(self, *, frozen: bool) -> Callable[[str], Awaitable[object]]:
        async def freeze(account: str) -> object:
            found = account_of(await self._engine.directory(), account)
            done = await self._engine.tell(FreezeAccount(found.account, frozen))
            return {"id": found.account, "name": found.name, "frozen": frozen, "seq": done.seq}

        return freeze

    async def set_tier(self, account: str, tier: str) -> object:
        """Put an account into a fee tier."""
        found = account_of(await self._engine.directory(), account)
        command = SetAccountTier(found.account, whole(tier, "tier"))
        done = await self._engine.tell(command)
        return {"id": found.account, "name": found.name, "tier": command.tier, "seq": done.seq}

    # Keys

    async def add_key(self, **words: str) -> object:
        """Define a key, under the next free number unless one is given."""
        view = await self._engine.directory()
        owner = account_of(view, words["account"])
        words["account"] = owner.name
        number = _next(key.key for key in view.keys)
        key = key_of(spoken(KeyWords, {"id": number, **words}), {owner.name: owner.account})
        done = await self._engine.tell(DefineKey(key))
        return {"id": key.key, "name": key.name, "account": owner.account, "seq": done.seq}

    async def revoke_key(self, key: str) -> object:
        """End a key, and whoever is logged on with it."""
        found = _key(await self._engine.directory(), key)
        done = await self._engine.tell(RevokeKey(found.key))
        closed = await self._sessions.kill_those_of(found.key)
        return {"id": found.key, "name": found.name, "sessionsClosed": closed, "seq": done.seq}

    # Money

    async def balances(self, account: str) -> object:
        """Free and locked, in whole assets."""
        view = await self._engine.directory()
        scales = {asset.name: asset.scale for asset in view.assets}
        rows = await self._engine.ask(Balances(account_of(view, account).account), list)
        return {
            "balances": [
                {
                    "asset": row.asset,
                    "free": format_units(row.available, scales[row.asset]),
                    "locked": format_units(row.held, scales[row.asset]),
                }
                for row in rows
            ]
        }

    async def credit(self, account: str, asset: str, amount: str, **words: str) -> object:
        """Give money that came from nowhere."""
        if not self._test_money:
            raise BadCall("credit is for test money, and admin.test_money is not true in this exchange's configuration")
        view = await self._engine.directory()
        number = account_of(view, account).account
        scale = next((known.scale for known in view.assets if known.name == asset), None)
        if scale is None:
            raise BadCall(f"there is no asset {asset!r:.50}; 'asset.list' shows them all")
        wanted = units(amount, scale, "amount")
        # In a name space of its own, which no deposit from a chain is in.
        credit_id = f"test|{words.get('id') or self._entropy(CREDIT_ID_BYTES).hex()}"
        command = CreditDeposit(credit_id, number, asset, wanted)
        outcome = await self._engine.outcome(command)
        repeated = isinstance(outcome, Rejected)
        if isinstance(outcome, Done):
            receipt = outcome.seq
        elif outcome.reason == "DUPLICATE_DEPOSIT":
            receipt = outcome.ref
        else:
            raise BadCall(why_refused(command, outcome))
        amount = format_units(wanted, scale)
        return {"id": credit_id, "asset": asset, "amount": amount, "receipt": receipt, "repeated": repeated}


def account_of(view: DirectoryView, text: str) -> Account:
    """By number, else by name."""
    found = _of_number_or_name({account.account: account for account in view.accounts}, text)
    if found is None:
        raise BadCall(f"there is no account {text!r:.80}; 'account.list' shows them all")
    return found


def _key(view: DirectoryView, text: str) -> Key:
    """By number, else by name."""
    found = _of_number_or_name({key.key: key for key in view.keys}, text)
    if found is None:
        raise BadCall(f"there is no key {text!r:.80}; 'account.show' shows an account's")
    return found


def _of_number_or_name(things: dict[int, Named], text: str) -> Named | None:
    number = _number(text)
    if number is not None and number in things:
        return things[number]
    return next((thing for thing in things.values() if thing.name == text), None)


def _number(text: str) -> int | None:
    try:
        return whole(text, "")
    except WordsError:
        return None


def _next(numbers: Iterable[int]) -> str:
    """One more than the greatest; once an operator has given the greatest there is, the least that is free."""
    taken = set(numbers)
    greatest = max(taken, default=0)
    return str(greatest + 1 if greatest < MAX_INT else next(number for number in count(1) if number not in taken))
