"""An exchange's chains, simulated: engine, store, nodes and the actors between them, one step at a time, by chance.

The engine is the real one, the store is the embedded one in memory, the chains are simulated. Every call to the store,
to a node or to the engine may fail before it does anything, or after it did, in a way that passes or as a crash of the
process; then the actors begin again with what is stored. After every step the invariants are checked that hold always;
at the end all faults stop, and those are checked that hold when everything has come to rest.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any, Final, TypeVar, TypeVarTuple, cast

from attrs import define, evolve, field

from actors.chain_line import ChainLine
from actors.chain_state import AssetConfig, WatcherState, WithdrawalsState
from actors.hot_wallet import AccountsWallet, HotWallet, OutputsWallet
from actors.mailbox import NotDone, OutcomeUnknown
from actors.owners import Owners
from actors.patience import PASSES
from actors.requests import Done, Outcome, Request
from actors.watcher import Watcher
from actors.withdrawals import Allowed, HeldBack, Judgement, Withdrawals, WithdrawalsConfig
from book.commands import (
    AllocateAddress,
    BeginEpoch,
    Command,
    DefineAccount,
    DefineAsset,
    RequestWithdrawal,
)
from book.definitions import Account, Asset
from book.engine import Engine
from book.events import Rejected
from book.queries import Query
from book.terms import RELEASED, SETTLED
from chains.bitcoin_coins import BitcoinFees
from chains.ethereum_fees import EthereumFees
from chains.node import Payment
from chains.scanner import Depth, deposit_id, to_chain, to_engine
from chains.simulated import (
    Faults,
    MemoryHost,
    SimulatedAddresses,
    SimulatedNode,
    SimulatedSigner,
    plan_of,
    script_of,
)
from chains.simulated_chain import ChainTerms, Drop, Key, Kind, Mine, Pay, Reorg, SimulatedChain
from persistence.sqlite import IN_MEMORY, sqlite_store
from persistence.txstore import CommitUnknown, StoreUnavailable, TxStore, WithdrawalRow

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START_NS: Final = 1_800_000_000 * 10**9
ACCOUNTS: Final = (1, 2, 3)
DEPTHS: Final = {"BTC": 2, "ETH": 3, "USDT": 3}
DECIMALS: Final = {"BTC": 8, "ETH": 18, "USDT": 6}
SCALES: Final = {"BTC": 8, "ETH": 9, "USDT": 6}
CHAIN_OF: Final = {"BTC": "bitcoin", "ETH": "ethereum", "USDT": "ethereum"}
COIN_OF: Final = {"bitcoin": "BTC", "ethereum": "ETH"}
FEES: Final = {"BTC": 20_000, "ETH": 2_000_000, "USDT": 1_000_000}
HOT: Final = {chain: Key(chain[:3], f"hot wallet of {chain}") for chain in ("bitcoin", "ethereum")}
HOT_FUNDS: Final = {"BTC": 10 * 10**8, "ETH": 100 * 10**18, "USDT": 10**12}
GWEI: Final = 10**9


class CrashError(Exception):
    """The process ends here."""


async def inline(function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Blocking work, done at once."""
    return function(*arguments)


@define
class Chance:
    """What goes wrong, and how often; `hits` counts what did."""

    random: Random
    fails: float = 0.0
    loses: float = 0.0
    crashes: float = 0.0
    crash_at: int = -1
    """The one place to crash at, counted from here on; -1: nowhere."""
    places: int = 0
    """How many there were."""
    hits: Counter[str] = field(factory=Counter)

    def before(self, what: str, error: Exception) -> None:
        """Perhaps nothing is done."""
        self._perhaps(what, "before", error, self.fails)

    def after(self, what: str, error: Exception) -> None:
        """Perhaps it was done, and nobody hears of it."""
        self._perhaps(what, "after", error, self.loses)

    def _perhaps(self, what: str, when: str, error: Exception, share: float) -> None:
        self.places += 1
        if self.places - 1 == self.crash_at or (self.crashes and self.random.random() < self.crashes):
            self.hits[f"crash {when} {what}"] += 1
            raise CrashError(what)
        if share and self.random.random() < share:
            self.hits[f"failure {when} {what}"] += 1
            raise error


class UnreliableStore:
    """The store, each call of which may fail before or after it did what it does."""

    def __init__(self, store: TxStore, chance: Chance) -> None:
        self._store = store
        self._chance = chance
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*arguments: object, **named: object) -> object:
            self.calls[name] += 1
            self._chance.before(f"store.{name}", StoreUnavailable("the store is away"))
            result = await method(*arguments, **named)
            self._chance.after(f"store.{name}", CommitUnknown("the store's answer was lost"))
            return result

        return call


class DirectLine(ChainLine):
    """The line to an engine in this task, whose answers may get lost."""

    def __init__(self, bank: "Bank", chance: Chance) -> None:
        self._bank = bank
        self._chance = chance

    async def _send(self, requests: Sequence[Request]) -> list[Outcome]:
        self._chance.before("engine", NotDone("the engine is away"))
        outcomes = [self._bank.ask(request) for request in requests]
        self._chance.after("engine", OutcomeUnknown("the engine's answer was lost"))
        return outcomes


class Bank:
    """The engine with its numbers and its clock."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.seq = 0
        self.time_ns = START_NS
        for asset, scale in SCALES.items():
            self.tell(DefineAsset(Asset(asset, scale, CHAIN_OF[asset], FEES[asset], 1)))
        for account in ACCOUNTS:
            self.tell(DefineAccount(Account(account, f"account-{account}")))

    def ask(self, request: Request) -> Outcome:
        """As matching does it."""
        if isinstance(request, Query):
            return cast("Outcome", self.engine.query(request))
        return self.tell(request)

    def tell(self, command: Command) -> Done | Rejected:
        """Apply a command."""
        self.seq += 1
        self.time_ns += 1_000
        outcome = self.engine.apply(command, self.seq, self.time_ns)
        return outcome if isinstance(outcome, Rejected) else Done(self.seq, self.time_ns, outcome)

    def total(self, asset: str) -> int:
        """What the exchange owes of an asset, the house's own included, in engine units."""
        return self.engine.totals().get(asset, 0)


class SomePolicy:
    """Lets small withdrawals pass, and holds large ones back."""

    async def judge(self, row: WithdrawalRow) -> Judgement:
        """By the last digit of the units: some of each."""
        return HeldBack("large") if row.units % 5 == 0 else Allowed()


@define
class Credit:
    """What a deposit should have become: one payment of the chain's."""

    payment: Payment
    asset: str


class ChainWorld:
    """Everything, and what happens to it; `step` does one thing by chance."""

    def __init__(self, seed: int, *, deep: bool = False) -> None:
        self.random = Random(seed)
        self.deep = deep
        """Whether reorganisations may be deeper than the depth."""
        self.chance = Chance(self.random)
        self.bank = Bank()
        self.store = UnreliableStore(sqlite_store(IN_MEMORY, inline), self.chance)
        self.books = {name: SimulatedAddresses(name[:3], f"xpub of {name}") for name in HOT}
        self.allocated: dict[str, dict[str, int]] = {name: {} for name in HOT}
        for name in HOT:
            for account in ACCOUNTS:
                self.allocate(name, account)
        self.hosts = {name: MemoryHost(_terms(name, self.allocated[name])) for name in HOT}
        self.signers = {name: SimulatedSigner(host.chain.terms, HOT[name]) for name, host in self.hosts.items()}
        self.nodes = {
            asset: SimulatedNode(self.hosts[chain], asset, random=self.random) for asset, chain in CHAIN_OF.items()
        }
        self.wall_ns = START_NS
        self.orders = 0
        self.accounted_height = -1
        self.first_nonce = 0
        self.frozen_seen: set[str] = set()
        self.credited: dict[str, Credit] = {}
        self.watchers: dict[str, Watcher] = {}
        self.withdrawals: dict[str, Withdrawals] = {}
        self._begun: set[str] = set()
        self.restarts = 0
        self.start()

    # The clock of the actors

    def wall_ns_now(self) -> int:
        """Moves on whenever it is looked at."""
        self.wall_ns += 1_000_000
        return self.wall_ns

    # Processes

    def start(self) -> None:
        """A new process: nothing is remembered but what is stored."""
        self.restarts += 1
        self._begun.clear()
        line = DirectLine(self.bank, self.chance)
        store = cast("TxStore", self.store)
        clock = _Clock(self)
        owners = {
            name: Owners(name, COIN_OF[name], self.books[name], line=line, store=store, blocking=inline) for name in HOT
        }
        for asset, chain in CHAIN_OF.items():
            self.watchers[asset] = Watcher(
                evolve(asset_config(asset), accounted_height=self.accounted_height),
                node=self.nodes[asset],
                store=store,
                line=line,
                owners=owners[chain],
                clock=clock,
                random=self.random,
                state=WatcherState(asset, chain, clock),
            )
        for chain in HOT:
            assets = {asset: asset_config(asset) for asset, its_chain in CHAIN_OF.items() if its_chain == chain}
            self.withdrawals[chain] = Withdrawals(
                WithdrawalsConfig(chain=chain, assets=assets, coin=COIN_OF[chain], bump_seconds=30),
                nodes={asset: self.nodes[asset] for asset in assets},
                store=store,
                line=line,
                wallet=self._wallet(chain, store),
                signer=self.signers[chain],
                policy=SomePolicy(),
                clock=clock,
                random=self.random,
                state=WithdrawalsState(chain, clock),
            )

    def _wallet(self, chain: str, store: TxStore) -> HotWallet:
        if chain == "bitcoin":
            return OutputsWallet(
                asset=asset_config("BTC"),
                node=self.nodes["BTC"],
                store=store,
                fees=BitcoinFees(),
                script_of=script_of,
            )
        terms = self.hosts[chain].chain.terms
        return AccountsWallet(
            chain=chain,
            address=HOT[chain].address,
            chain_id=1,
            assets={asset: asset_config(asset) for asset in ("ETH", "USDT")},
            nodes={asset: self.nodes[asset] for asset in ("ETH", "USDT")},
            tokens={"ETH": None, "USDT": "USDT"},
            coin="ETH",
            store=store,
            fees=EthereumFees(),
            plan_of=lambda raw: plan_of(terms, raw),
            first_nonce=self.first_nonce,
        )

    async def turn(self, name: str) -> str | None:
        """One round of one actor, begun first where it has not been; why it failed in a way that passes."""
        actor = self.watchers.get(name) or self.withdrawals[name]
        try:
            if name not in self._begun:
                await actor.begin()
                self._begun.add(name)
            await actor.round()
        except CrashError:
            self.start()
            return "crash"
        except PASSES as error:
            return str(error)
        return None

    def lose_store(self) -> None:
        """The store is gone; an operator has looked at what the hot wallet did up to now, and says so."""
        self.store = UnreliableStore(sqlite_store(IN_MEMORY, inline), self.chance)
        self.accounted_height = self.hosts["bitcoin"].chain.head.height
        self.first_nonce = self.hosts["ethereum"].chain.nonces.get(HOT["ethereum"].address, 0)
        self.start()

    def restore_engine(self, copy: bytes) -> None:
        """The engine is as it was in this copy; receipts bear another epoch."""
        self.bank.engine = Engine.load(copy)
        self.bank.tell(BeginEpoch(2))
        self.credited.clear()
        self.start()

    # What happens

    async def step(self) -> None:
        """One thing, by chance; then everything that always holds is checked."""
        act: Callable[[], Awaitable[None]] = self.random.choices(
            (self._turn, self._mine, self._pay, self._request, self._reorg, self._operate, self._drop, self._hurry),
            (60, 14, 4, 8, 3, 5, 1, 1),
        )[0]
        await act()
        self.check_always()

    async def _turn(self) -> None:
        await self.turn(self.random.choice((*self.watchers, *self.withdrawals)))

    async def _hurry(self) -> None:
        """Time passes: what waits may be stuck."""
        self.wall_ns += 60 * 10**9

    async def _mine(self) -> None:
        chain = self.random.choice(tuple(self.hosts))
        waiting = tuple(self.hosts[chain].chain.pool)
        leave = tuple(txid for txid in waiting if self.random.random() < 0.3)
        self.hosts[chain].now(Mine(self.wall_ns // 10**9, self.random.choice((1, 1, 2)), 0, leave))

    async def _pay(self) -> None:
        """Somebody pays to an address that an account was told, or to others."""
        asset = self.random.choice(tuple(CHAIN_OF))
        chain = CHAIN_OF[asset]
        if self.random.random() < 0.5 or not self.allocated[chain]:
            self.allocate(chain, self.random.choice(ACCOUNTS))
        many = 1 if asset == "ETH" else self.random.choice((1, 1, 3))
        addresses = [*self.allocated[chain], "nobody"]
        pays = tuple((self.random.choice(addresses), self._amount(asset)) for _ in range(many))
        self.hosts[chain].now(Pay(asset, pays))

    def allocate(self, chain: str, account: int) -> str:
        """The account's address."""
        self.bank.tell(AllocateAddress(account, 0, 0, COIN_OF[chain]))
        index = self.bank.engine.state.addresses.index_of(chain, account)
        address = self.books[chain].address(index)
        self.allocated[chain][address] = account
        return address

    def _amount(self, asset: str) -> int:
        unit = int(10 ** (DECIMALS[asset] - SCALES[asset]))
        some = unit * self.random.randrange(1, 10**8) + self.random.randrange(unit)
        return self.random.choice((0, 1, unit * 7, some))

    async def _request(self) -> None:
        """Somebody withdraws: to outside, or to an address of the exchange's own."""
        asset = self.random.choice(tuple(CHAIN_OF))
        chain = CHAIN_OF[asset]
        self.orders += 1
        account = self.random.choice(ACCOUNTS)
        outside = self.books[chain].address(10**6 + self.orders)
        address = self.random.choice((outside, *self.allocated[chain]))
        amount = self.random.randrange(1_000, 3 * 10**7)
        self.bank.tell(RequestWithdrawal(account, 0, 0, f"w{self.orders}", asset, address, amount))

    async def _operate(self) -> None:
        """Operators approve or refuse, owners cancel; the store alone decides."""
        with_store = self.store._store
        for chain in HOT:
            for row in await with_store.withdrawals(chain, "awaiting_operator"):
                operator = self.random.choice(("ann", "ben"))
                if self.random.random() < 0.2:
                    await with_store.reject_withdrawal(row.id, "looks odd", self.wall_ns)
                else:
                    await with_store.add_approval(row.id, operator, 2, self.wall_ns)
            for row in await with_store.withdrawals(chain, "approved"):
                if self.random.random() < 0.3:
                    await with_store.cancel_withdrawal(row.id, "its owner said so", self.wall_ns)

    async def _reorg(self) -> None:
        name = self.random.choice(tuple(self.hosts))
        chain = self.hosts[name].chain
        most = DEPTHS[COIN_OF[name]] + (2 if self.deep else 0)
        depth = min(self.random.randint(1, most), chain.head.height - 1)
        if depth < 1:
            return
        # Payments from outside may be lost for ever; our own transactions are, for the moment, forgotten by all nodes.
        gone = [block for height in range(chain.head.height - depth + 1, chain.head.height + 1)
                if (block := chain.at(height)) is not None]  # fmt: skip
        txids = [txid for txid, mined in chain.mined.items() if mined.block in gone]
        lose = tuple(txid for txid in txids if self.random.random() < 0.2)
        self.hosts[name].now(Reorg(self.wall_ns // 10**9, depth, depth + self.random.choice((0, 1)), lose))

    async def _drop(self) -> None:
        name = self.random.choice(tuple(self.hosts))
        waiting = tuple(self.hosts[name].chain.pool)
        if waiting:
            self.hosts[name].now(Drop(self.random.choice(waiting)))

    # What always holds

    def check_always(self) -> None:
        """Credited at most once, and only what is on the chain; paid at most once, and only what is held for."""
        for credited in self.bank.engine.state.deposits.all():
            if credited.deposit_id not in self.credited and not credited.deposit_id.startswith("test|"):
                self._check_credit(credited.deposit_id, credited.account, credited.asset, credited.amount)
        if not self.deep:
            for name, credit in self.credited.items():
                mined = self.hosts[CHAIN_OF[credit.asset]].chain.mined.get(credit.payment.txid)
                assert mined is not None, f"{name} was credited, and is not on the chain any more"
        for name, host in self.hosts.items():
            self._check_paid(name, host.chain)

    def _check_credit(self, name: str, account: int, asset: str, amount: int) -> None:
        """A new credit is for a payment that is on the best chain, at depth, to its owner, and in full."""
        chain = self.hosts[CHAIN_OF[asset]].chain
        found = [payment for payment in _payments(chain, asset) if deposit_id(CHAIN_OF[asset], payment) == name]
        assert len(found) == 1, f"{name} was credited, and is on the chain {len(found)} times"
        (payment,) = found
        block = chain.mined[payment.txid].block
        assert chain.head.height - block.height >= DEPTHS[asset], f"{name} was credited too early"
        assert self.allocated[CHAIN_OF[asset]][payment.address] == account
        assert to_engine(payment.amount, DECIMALS[asset], SCALES[asset]).amount == amount, (
            f"{name} was credited with {amount}, not the amount that was paid"
        )
        self.credited[name] = Credit(payment, asset)

    def _check_paid(self, name: str, chain: SimulatedChain) -> None:
        """Each withdrawal is on the chain at most once, and none whose hold was released."""
        wanted = {
            (each.asset, each.address, to_chain(each.amount, DECIMALS[each.asset], SCALES[each.asset])): each
            for each in self.bank.engine.state.withdrawals.all()
            if CHAIN_OF[each.asset] == name
        }
        paid = Counter[tuple[str, str, int]]()
        for txid, mined in chain.mined.items():
            tx = chain.transaction(txid)
            assert tx is not None
            if not tx.is_from_outside and mined.succeeded:
                paid[(tx.asset, *tx.pays[0])] += 1
        for what, times in paid.items():
            assert what in wanted, f"{what} was paid, and nobody has asked for it"
            assert times == 1, f"{what} was paid {times} times"
            assert wanted[what].state != RELEASED, f"{what} was paid, and its hold was released"
        settled = [what for what, each in wanted.items() if each.state == SETTLED]
        if not self.deep:
            assert all(paid[what] == 1 for what in settled), "a withdrawal was settled that is not on the chain"

    # The end

    def calm(self) -> None:
        """All faults stop."""
        self.chance.fails = self.chance.loses = self.chance.crashes = 0.0
        for node in self.nodes.values():
            node.faults = Faults()

    async def come_to_rest(self) -> None:
        """All faults stop, blocks come, operators decide: within a bounded time everything is where it belongs."""
        self.calm()
        for _ in range(60):
            for host in self.hosts.values():
                host.now(Mine(self.wall_ns // 10**9))
            for _ in range(3):
                for name in (*self.watchers, *self.withdrawals):
                    trouble = await self.turn(name)
                    assert trouble is None, trouble
            await self._operate()
            self.wall_ns += 10 * 10**9
            self.check_always()
            if await self.is_at_rest():
                return
        raise AssertionError(f"still on their way: {await self.on_their_way()}")

    async def on_their_way(self) -> list[str]:
        """What is not where it belongs."""
        store = self.store._store
        left = [f"{frozen.chain} is frozen: {frozen.reason}" for frozen in await store.frozen_chains()]
        for asset in CHAIN_OF:
            for state in ("pending", "validated"):
                left += [f"{row.key.id} is {row.state}" for row in await store.deposits(asset, state)]
        left += [f"{each.withdrawal_id} is held" for _, each in self.bank.engine.state.withdrawals.all_pending()]
        return left

    async def is_at_rest(self) -> bool:
        """Whether nothing is on its way."""
        waiting = any(not tx.is_from_outside for host in self.hosts.values() for tx in host.chain.pool.values())
        return not waiting and not await self.on_their_way()

    async def check_at_rest(self) -> None:
        """Every payment to us is credited, and every unit of every asset is accounted for."""
        for asset, chain_name in CHAIN_OF.items():
            chain = self.hosts[chain_name].chain
            arrived, dust = 0, 0
            for payment in _payments(chain, asset):
                if payment.address in self.allocated[chain_name] and payment.amount:
                    converted = to_engine(payment.amount, DECIMALS[asset], SCALES[asset])
                    dust += converted.dust
                    arrived += payment.amount
                    name = deposit_id(chain_name, payment)
                    assert (name in self.credited) == (converted.amount > 0), f"{name} was paid and not credited"
            fees = chain.fees_paid(HOT[chain_name].address) if asset == COIN_OF[chain_name] else 0
            hot = chain.balances.get((asset, HOT[chain_name].address), 0)
            unswept = sum(chain.balances.get((asset, address), 0) for address in self.allocated[chain_name])
            assert unswept == arrived
            liabilities = to_chain(self.bank.total(asset), DECIMALS[asset], SCALES[asset])
            # hot + unswept + fees = liabilities + equity, and the house's equity is what it began with, and the dust.
            assert hot + unswept + fees == liabilities + HOT_FUNDS[asset] + dust, (
                f"{asset}: {hot} in the hot wallet + {unswept} unswept + {fees} of fees, against {liabilities} + {dust}"
            )
        self.bank.engine.check()


class _Clock:
    """The actors' clock in a world."""

    def __init__(self, world: ChainWorld) -> None:
        self._world = world

    def wall_ns(self) -> int:
        """The world's."""
        return self._world.wall_ns_now()

    def monotonic_ns(self) -> int:
        """The world's, since its beginning."""
        return self._world.wall_ns_now() - START_NS


def asset_config(asset: str) -> AssetConfig:
    """As the actors have it."""
    chain = CHAIN_OF[asset]
    return AssetConfig(
        asset=asset,
        chain=chain,
        decimals=DECIMALS[asset],
        scale=SCALES[asset],
        depth=Depth(DEPTHS[asset]),
        birthday=0,
        hot_address=HOT[chain].address if chain == "bitcoin" else "",
    )


def _terms(name: str, customers: Mapping[str, int]) -> ChainTerms:
    """The chain, whose first block pays to the hot wallet and to every customer."""
    hot = HOT[name].address
    paid = tuple(
        (asset, address, 100 * 10 ** DECIMALS[asset])
        for asset, chain in CHAIN_OF.items()
        for address in customers
        if chain == name
    )
    if name == "bitcoin":
        coins = tuple(("BTC", hot, HOT_FUNDS["BTC"] // 5) for _ in range(5))
        return ChainTerms("bitcoin", Kind.OUTPUTS, ("BTC",), "bit", coins + paid)
    genesis = (("ETH", hot, HOT_FUNDS["ETH"]), ("USDT", hot, HOT_FUNDS["USDT"]))
    return ChainTerms("ethereum", Kind.ACCOUNTS, ("ETH", "USDT"), "eth", genesis + paid, base_fee=GWEI)


def _payments(chain: SimulatedChain, asset: str) -> list[Payment]:
    """All payments of an asset on the best chain."""
    found: list[Payment] = []
    for height in range(chain.head.height + 1):
        at = chain.at(height)
        block = None if at is None else chain.block(at.hash, asset)
        assert block is not None
        found += block.payments
    return found


async def live(world: ChainWorld, steps: int) -> None:
    """A life of so many steps, with whatever goes wrong; then rest, and the last checks."""
    random = world.random
    for node in world.nodes.values():
        node.faults = Faults(
            unavailable=random.choice((0, 0.05)), lost_reply=random.choice((0, 0.2)), lag=random.choice((0, 0.1))
        )
    world.chance.fails = random.choice((0, 0.01, 0.05))
    world.chance.loses = random.choice((0, 0.01, 0.05))
    world.chance.crashes = random.choice((0, 0.005, 0.03))
    for _ in range(steps):
        await world.step()
