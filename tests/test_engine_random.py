"""The engine under random commands: audited at every step, against a simple model, over dumps, over processes."""

import os
import subprocess
import sys
from random import Random

import msgspec
import pytest

from book.commands import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Command,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    DefineKey,
    DefineMarket,
    PlaceOrder,
    ReplaceOrder,
    Tick,
    TradingCommand,
)
from book.definitions import Account, Asset, Key, Market
from book.engine import Engine
from book.events import OrderClosed, OrderView, Rejected, Trade
from book.queries import Balances, Depth, Directory, OpenOrders, OrderStatus, Query
from book.terms import BUY, FOK, GTC, IOC, LIMIT, MARKET, SELL
from tests.counts import count, seeds
from tests.exchange import BTC, BTC_USDT, PUBLIC_KEY, START_NS, SYMBOL, USDT, Exchange
from tests.simple_exchange import SimpleExchange, SimpleOrder

ODD_NUMBERS = [0, 1, -1, 2, 7, 2**31, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, -(10**30)]
ODD_TEXTS = ["", "a", "auto-1", "auto-2", "\ud800", "é", "\x00", "x" * 36, "x" * 37, "BTC", "USDT", SYMBOL, "ETH-USDT"]


def opening() -> list[Command]:
    """The commands that set up four accounts in two markets, tight enough that every filter and bound is met."""
    tight = msgspec.structs.replace(BTC_USDT, max_quantity=60, min_notional=150, max_open_orders=12)
    rebates = Market("ETH-USDT", "ETH", "USDT", 1, 2, 100_000, 1, 10**6, 0, 30, -1_999, 2_000, 500_000, 5)
    commands: list[Command] = [DefineAsset(BTC), DefineAsset(USDT), DefineAsset(Asset("ETH", 9))]
    commands += [DefineMarket(tight), DefineMarket(rebates)]
    for account in range(1, 5):
        commands.append(DefineAccount(Account(account, f"account-{account}")))
        commands.append(DefineKey(Key(account, f"key-{account}", account, 7 if account < 4 else 1, PUBLIC_KEY)))
        for asset, amount in (("BTC", 10**6), ("USDT", 50_000), ("ETH", 10**8)):
            commands.append(CreditDeposit(f"start|{account}|{asset}", account, asset, amount))
    return commands


def random_order(random: Random) -> PlaceOrder:
    """An order that makes sense, more often than not."""
    side = random.choice((BUY, SELL))
    price = 100 + random.randint(-8, 8)
    order = PlaceOrder(
        account=random.randint(1, 4),
        key=0,
        session=random.choice((0, 1, 7)),
        symbol=SYMBOL if random.random() < 0.7 else "ETH-USDT",
        side=side,
        type=LIMIT,
        time_in_force=random.choice((GTC, GTC, GTC, IOC, FOK)),
        quantity=random.randint(1, 40),
        price=price,
        post_only=random.random() < 0.1,
        self_trade=random.randint(0, 5),
    )
    kind = random.random()
    if kind < 0.1:
        order = msgspec.structs.replace(order, type=MARKET, price=0, time_in_force=IOC, post_only=False)
    elif kind < 0.2:
        amount = random.randint(100, 6_000)
        order = msgspec.structs.replace(
            order, type=MARKET, side=BUY, price=0, time_in_force=GTC, post_only=False, quantity=0, quote_quantity=amount
        )
    return order


def random_command(random: Random, now_ms: int) -> Command:
    """Any command: mostly orders and cancels, some with a field gone wild."""
    kind = random.random()
    command: Command
    if kind < 0.65:
        name = f"c-{random.randrange(60)}" if random.random() < 0.3 else ""
        command = msgspec.structs.replace(random_order(random), client_order_id=name)
    elif kind < 0.78:
        command = CancelOrder(random.randint(1, 4), 0, 0, SYMBOL, random.randrange(1, 200))
    elif kind < 0.83:
        command = random_amendment(random)
    elif kind < 0.86:
        command = ReplaceOrder(random.randrange(1, 200), "", random_order(random))
    elif kind < 0.88:
        command = CancelAll(random.randint(1, 4), 0, 0, random.choice(("", SYMBOL, "ETH-USDT")))
    elif kind < 0.93:
        asset = random.choice(("BTC", "USDT", "ETH"))
        command = CreditDeposit(f"d|{random.randrange(30)}", random.randint(0, 4), asset, random.randint(1, 10_000))
    elif kind < 0.95:
        command = Tick()
    else:
        command = random.choice(opening())
    if command.__struct_fields__ and random.random() < 0.15:
        command = gone_wild(random, command)
    if isinstance(command, TradingCommand) and random.random() < 0.1:
        key = random.choice((command.account, 1, 5))
        command = msgspec.structs.replace(command, key=key, timestamp=now_ms - random.randint(-1_500, 6_000))
    return command


def random_amendment(random: Random) -> AmendOrder:
    """Another quantity, another price or both, of an order that may be there."""
    quantity = random.choice((0, random.randint(1, 60)))
    price = random.choice((0, 100 + random.randint(-8, 8)))
    symbol = SYMBOL if random.random() < 0.7 else "ETH-USDT"
    return AmendOrder(random.randint(1, 4), 0, 0, symbol, random.randrange(1, 200), "", quantity, price)


def gone_wild(random: Random, command: Command) -> Command:
    """The command with one field of a value that nobody sends, but of the right type."""
    field = random.choice(command.__struct_fields__)
    value = getattr(command, field)
    if type(value) is int:
        return msgspec.structs.replace(command, **{field: random.choice(ODD_NUMBERS)})
    if type(value) is str:
        return msgspec.structs.replace(command, **{field: random.choice(ODD_TEXTS)})
    return command


def history(seed: int, steps: int) -> list[tuple[Command, int]]:
    """A random log of `steps` commands with their times, after the opening ones."""
    random = Random(seed)
    time_ns = START_NS
    commands = [(command, time_ns) for command in opening()]
    for _ in range(steps):
        time_ns += random.choice((0, 1, 1_000, 10**6, 10**9))
        commands.append((random_command(random, time_ns // 10**6), time_ns))
    return commands


def replay(commands: list[tuple[Command, int]]) -> str:
    """State hash and digest of an engine that applied all this."""
    engine = Engine()
    for seq, (command, time_ns) in enumerate(commands):
        outcome = engine.apply(command, seq + 1, time_ns)
        if not isinstance(outcome, Rejected):
            engine.digest.update(outcome)
    return f"{engine.state_hash().hex()} {engine.digest.value().hex()}"


@pytest.mark.parametrize("seed", seeds(6, 200))
def test_any_commands_leave_a_valid_state(seed: int) -> None:
    """Every step passes the audit, a refusal changes nothing, and events add up to what the balances say."""
    engine = Engine()
    accepted = refused = 0
    for seq, (command, time_ns) in enumerate(history(seed, count(800, 8_000))):
        before = engine.dump()
        outcome = engine.apply(command, seq + 1, time_ns)
        engine.check()
        if isinstance(outcome, Rejected):
            refused += 1
            assert engine.dump() == before
        else:
            accepted += 1
            assert engine.last_seq == seq + 1
            for event in outcome:
                if isinstance(event, Trade):
                    assert event.quantity > 0
                    assert event.maker_fee + event.taker_fee >= 0
            ended = [event.order.order_id for event in outcome if isinstance(event, OrderClosed)]
            assert len(ended) == len(set(ended))
    assert min(accepted, refused) > 100


@pytest.mark.parametrize("seed", seeds(3, 100))
def test_an_engine_loaded_from_a_dump_goes_on_alike(seed: int) -> None:
    """Whatever comes, the loaded one answers as the one that never stopped, and so does every question."""
    engine, copied = Engine(), Engine()
    random = Random(seed)
    for seq, (command, time_ns) in enumerate(history(seed + 1_000, count(600, 3_000))):
        if random.random() < 0.1:
            data = copied.dump()
            copied = Engine.load(data)
            assert copied.dump() == data
        outcomes = [each.apply(command, seq + 1, time_ns) for each in (engine, copied)]
        assert outcomes[0] == outcomes[1]
        for each in (engine, copied):
            if not isinstance(outcomes[0], Rejected):
                each.digest.update(outcomes[0])
        question = random_question(random)
        assert engine.query(question) == copied.query(question)
    assert engine.state_hash() == copied.state_hash()


@pytest.mark.parametrize("seed", seeds(4, 100))
def test_a_replacement_is_a_cancel_and_a_placement_or_nothing(seed: int) -> None:
    """Whatever the order: the same refusal, or the same events and the same state, as the two one after the other."""
    engine = Engine()
    random = Random(seed)
    replaced = refused = 0
    for seq, (command, time_ns) in enumerate(history(seed + 2_000, count(900, 4_000))):
        number = 2 * seq + 2
        mine = [order for order in engine.state.orders.values() if random.random() < 0.2]
        if mine and random.random() < 0.5:
            leaving = random.choice(mine)
            account, symbol = leaving.trader.account.number, leaving.trader.symbol
            order = msgspec.structs.replace(random_order(random), account=account, symbol=symbol)
            copied = Engine.load(engine.dump())
            canceled = copied.apply(CancelOrder(account, 0, 0, symbol, leaving.order_id), number - 1, time_ns)
            placed = copied.apply(order, number, time_ns)
            outcome = engine.apply(ReplaceOrder(leaving.order_id, "", order), number, time_ns)
            assert isinstance(canceled, list)
            if isinstance(placed, Rejected):
                refused += 1
                assert outcome == placed
            else:
                replaced += 1
                assert outcome == canceled + placed
                copied.state.accounts[account].user_seq -= 1  # of one command the balances are told once
                assert engine.dump() == copied.dump()
        else:
            engine.apply(command, number, time_ns)
        engine.check()
    assert min(replaced, refused) > 20


def random_question(random: Random) -> Query:
    """Any query, some of them odd."""
    account = random.choice((0, 1, 2, 3, 4, *ODD_NUMBERS))
    symbol = random.choice((SYMBOL, "ETH-USDT", *ODD_TEXTS))
    number = random.choice((*range(1, 100), *ODD_NUMBERS))
    questions: list[Query] = [
        OrderStatus(account, symbol, number),
        OrderStatus(account, symbol, 0, random.choice(ODD_TEXTS)),
        OpenOrders(account, symbol),
        OpenOrders(account),
        Balances(account),
        Depth(symbol, number),
        Directory(),
    ]
    return random.choice(questions)


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_the_same_commands_give_the_same_state_in_any_process(hash_seed: str) -> None:
    """State hash and digest depend neither on the process nor on how Python hashes strings in it."""
    program = "from tests.test_engine_random import history, replay; print(replay(history(5, 400)))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    there = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True)
    assert there.stdout.strip() == replay(history(5, 400))


@pytest.mark.parametrize("seed", seeds(8, 400))
def test_the_simple_model_agrees(seed: int) -> None:
    """Trades, ends, refusals, open orders, depth and every balance are what the simple exchange says."""
    random = Random(seed)
    limits = msgspec.structs.replace(
        BTC_USDT,
        max_quantity=35,
        min_notional=random.choice((1, 150)),
        max_open_orders=random.choice((3, 12)),
        maker_fee=random.choice((0, 999, 250_000)),
        taker_fee=random.choice((0, 2_000, 333_333)),
        collar=random.choice((0, 20_000, 1_000_000)),
        self_trade=random.randint(1, 5),
    )
    funds = {"BTC": 150 * BTC_USDT.lot, "USDT": 20_000}
    exchange = Exchange(limits, accounts=4, funds=funds)
    model = SimpleExchange(limits, {0: (0, 0), **dict.fromkeys(range(1, 5), (funds["BTC"], funds["USDT"]))})
    for _ in range(count(400, 2_000)):
        if random.random() < 0.2:
            account, number = random.randint(1, 4), random.randrange(1, model.last_number + 2)
            outcome = exchange.do(CancelOrder(account, 0, 0, SYMBOL, number))
            assert isinstance(outcome, list) == model.cancel(account, number)
        else:
            command = random_order(random)
            if not (command.post_only and command.time_in_force != GTC):
                compare(exchange, model, msgspec.structs.replace(command, symbol=SYMBOL))
        for account in range(5):
            base, quote = model.available(account)
            assert (exchange.balance(account, "BTC").available, exchange.balance(account, "USDT").available) == (
                base,
                quote,
            )
            held = (exchange.balance(account, "BTC").held, exchange.balance(account, "USDT").held)
            assert held == (model.owned[account][0] - base, model.owned[account][1] - quote)
        depth = exchange.depth()
        assert (depth.bids, depth.asks) == (model.levels(BUY), model.levels(SELL))


def compare(exchange: Exchange, model: SimpleExchange, command: PlaceOrder) -> None:
    """Both take the command, and agree on what comes of it."""
    outcome, expected = exchange.do(command), model.place(command)
    if isinstance(outcome, Rejected):
        assert outcome.reason == expected
        return
    assert isinstance(expected, SimpleOrder), expected
    made = [
        (event.maker_order_id, event.taker_order_id, event.price, event.quantity)
        for event in outcome
        if isinstance(event, Trade)
    ]
    assert made == model.trades
    order = exchange.order(command.account, expected.number)
    assert (order.status, order.executed) == (expected.status, expected.executed)
    live = exchange.engine.query(OpenOrders(command.account))
    assert isinstance(live, list)
    assert [(view.order_id, view.quantity, view.executed) for view in live if isinstance(view, OrderView)] == [
        (each.number, each.quantity, each.executed) for each in model.book if each.account == command.account
    ]
