"""What operators do to assets and markets, over the admin socket of a running exchange."""

from pathlib import Path
from typing import Any

from book.engine import Engine
from persistence.offline import replay
from persistence.storage import RealDisk
from tests.in_process import Connection, buy, running
from tests.simulation.disk import power_cut

LTC_USDT = {
    "symbol": "LTC-USDT",
    "tick": "0.01",
    "lot": "0.001",
    "min_quantity": "0.001",
    "max_quantity": "100000",
    "min_notional": "5",
    "maker_fee": "0.001",
    "taker_fee": "0.002",
}
WORDS = " ".join(f"{key}={value}" for key, value in LTC_USDT.items())


async def status(anyone: Connection, symbol: str) -> str:
    """What clients are told of a market."""
    symbols = (await anyone.ask("exchangeInfo"))["result"]["symbols"]
    (found,) = [info["status"] for info in symbols if info["symbol"] == symbol]
    return str(found)


async def test_an_operator_halts_and_resumes_a_market(tmp_path: Path) -> None:
    """Each state is told to clients, takes what it takes, and is there after a restart of matching."""
    async with running(tmp_path / "data") as exchange:
        alice, operator = await exchange.client(), await exchange.operator()
        placed = (await alice.ask("order.place", **buy("0.5")))["result"]["orderId"]
        for command, state, order_is_taken, post_only_is_taken in (
            ("post-only", "POST_ONLY", False, True),
            ("cancel-only", "CANCEL_ONLY", False, False),
            ("halt", "HALT", False, False),
            ("resume", "TRADING", True, True),
        ):
            done = await operator.said(f"market.{command} BTC-USDT")
            assert (done["symbol"], done["status"]) == ("BTC-USDT", state)
            assert await status(alice, "BTC-USDT") == state
            assert await status(alice, "ETH-USDT") == "TRADING"
            for post_only, taken in ((False, order_is_taken), (True, post_only_is_taken)):
                reply = await alice.ask("order.place", **buy("0.1", postOnly=post_only))
                assert (reply["status"] == 200) == taken, reply
                assert taken or reply["error"]["reason"] == "MARKET_CLOSED"
            assert (await operator.refused(f"market.{command} BTC-USDT")).startswith("market BTC-USDT is refused")
            if command == "halt":
                await operator.said("actor.restart matching")
                assert await status(alice, "BTC-USDT") == "HALT"
                assert (await operator.ask("info"))["result"]["markets"] == {"HALT": 1, "TRADING": 2}
                canceled = await alice.ask("order.cancel", symbol="BTC-USDT", orderId=placed)
                assert canceled["result"]["status"] == "CANCELED"


async def test_a_market_that_an_operator_adds(tmp_path: Path) -> None:
    """Clients that are connected trade in it at once; it outlives the process, though no configuration names it."""
    async with running(tmp_path / "data") as exchange:
        alice, bob, operator = await exchange.client("alice"), await exchange.client("bob"), await exchange.operator()
        assert (await alice.ask("order.place", **ltc("BUY")))["error"]["code"] == -1121
        assert (await operator.said("asset.add LTC 8"))["scale"] == 8
        added = await operator.said(f"market.add {WORDS} band=0.5 reference_price=80 halt_ms=60000")
        assert (added["symbol"], added["status"]) == ("LTC-USDT", "TRADING")
        await operator.said("credit bob LTC 1000 first")
        assert (await bob.ask("order.place", **ltc("SELL")))["status"] == 200
        traded = (await alice.ask("order.place", **ltc("BUY")))["result"]
        assert (traded["status"], traded["fills"][0]["price"]) == ("FILLED", "80.00")
        assert [row["symbol"] for row in (await operator.said("market.list"))["markets"]][-1] == "LTC-USDT"
        assert (await operator.said("asset.list"))["assets"][-1] == {
            "name": "LTC",
            "scale": 8,
            "chain": "",
            "withdrawalFee": "0.00000000",
            "minWithdrawal": "0.00000000",
            "frozen": False,
        }
    async with running(tmp_path / "data") as exchange:
        alice = await exchange.client()
        assert (await alice.ask("order.place", **ltc("BUY")))["status"] == 200
    engine = Engine()
    replay(RealDisk(str(tmp_path / "data"), power_cut), engine)
    engine.check()


def ltc(side: str) -> dict[str, Any]:
    """The params of an order in the new market."""
    return {"symbol": "LTC-USDT", "side": side, "type": "LIMIT", "quantity": "2.5", "price": "80"}


async def test_markets_that_cannot_be_added(tmp_path: Path) -> None:
    """Each is told in a sentence what is wrong with which key; the same market again is no harm."""
    async with running(tmp_path / "data") as exchange:
        operator = await exchange.operator()
        await operator.said("asset.add LTC 8")
        added = await operator.ask("market.add", **LTC_USDT, max_open_orders=7)
        assert added["status"] == 200
        for change, words in (
            ({"max_open_orders": 7}, "market LTC-USDT is refused: ALREADY_DEFINED; it is there, exactly so"),
            ({"lot": "0.0005"}, "DEFINITION_DIFFERS of lot: 50000 here, 100000 in the log"),
            ({"symbol": "LTC-EUR"}, "symbol: expected two assets"),
            ({"symbol": "ETH-BTC", "tick": "x"}, "tick: expected a decimal such as '0.01', not 'x'"),
            (
                {"symbol": "LTC-BTC", "taker_fee": "2"},
                "OUT_OF_RANGE of taker_fee: 2000000, and the limit is 1000000 parts",
            ),
            ({"symbol": "LTC-BTC", "tick": "0.0000001"}, "TICK_VALUE_NOT_WHOLE of tick"),
            ({"symbol": "LTC-BTC", "band": "1.5"}, "OUT_OF_RANGE of band: 1500000, and the limit is 1000000 parts"),
            ({"symbol": "LTC-BTC", "halt_ms": -1}, "halt_ms: expected a whole number, not '-1'"),
            ({"symbol": "LTC-BTC", "max_quantity": "9" * 40}, "OUT_OF_RANGE of max_quantity"),
            ({"colour": "red"}, "'colour' is one too many; usage: market.add KEY=VALUE…, with the keys symbol, tick,"),
        ):
            reply = await operator.ask("market.add", **{**LTC_USDT, **change})
            assert reply["status"] == 400
            assert words in reply["error"]["msg"]
        assert (await operator.refused("market.add symbol=LTC-BTC")).startswith("tick, lot, min_quantity")
        assert "'LTC-BTC' is one too many" in await operator.refused("market.add LTC-BTC")
        assert "symbol is given twice" in await operator.refused("market.add symbol=A symbol=B")
        assert "scale: expected a whole number, not 'eight'" in await operator.refused("asset.add XRP eight")
        assert "'scale' must be <= 9" in await operator.refused("asset.add XRP 10")
        assert "BAD_NAME of name" in await operator.refused("asset.add xrp 6")
        assert "market X-Y is refused: UNKNOWN_SYMBOL" in await operator.refused("market.halt X-Y")


async def test_an_operator_empties_a_book(tmp_path: Path) -> None:
    """All orders of one market are cancelled, of whomever, and only if that is meant."""
    async with running(tmp_path / "data") as exchange:
        operator = await exchange.operator()
        clients = [await exchange.client(name) for name in ("alice", "bob")]
        for client in clients:
            await client.ask("order.place", **buy("0.5"))
            await client.ask("order.place", **buy("5", "2000", symbol="ETH-USDT"))
        assert "--yes" in await operator.refused("market.cancel-all BTC-USDT")
        assert (await operator.said("market.cancel-all BTC-USDT --yes"))["canceled"] == 2
        for client in clients:
            left = (await client.ask("openOrders.status"))["result"]["orders"]
            assert [order["symbol"] for order in left] == ["ETH-USDT"]
        assert (await operator.said("market.cancel-all BTC-USDT --yes"))["canceled"] == 0
        assert "UNKNOWN_SYMBOL" in await operator.refused("market.cancel-all X-Y --yes")


async def test_fee_tiers(tmp_path: Path) -> None:
    """An account in a tier pays its rates from then on; a rebate may be written with a minus."""
    async with running(tmp_path / "data") as exchange:
        alice, operator = await exchange.client(), await exchange.operator()

        async def commission() -> tuple[str, str]:
            result = (await alice.ask("account.commission", symbol="BTC-USDT"))["result"]
            return result["maker"], result["taker"]

        market = await commission()
        set_ = await operator.said("market.fees BTC-USDT 1 -0.0001 0.0005")
        assert (set_["tier"], set_["maker"], set_["taker"]) == (1, "-0.0001", "0.0005")
        assert await commission() == market
        assert (await operator.said("account.tier alice 1"))["tier"] == 1
        assert await commission() == ("-0.000100", "0.000500")
        assert (await operator.said("account.tier 1 0"))["name"] == "alice"
        assert await commission() == market
        for words, why in (
            ("market.fees BTC-USDT 0 0 0", "OUT_OF_RANGE of tier"),
            ("market.fees BTC-USDT 1 -0.1 0.0005", "OUT_OF_RANGE of maker_fee: -100000, and the limit is -500 parts"),
            ("market.fees BTC-USDT 1 0 0.0000001", "taker: '0.0000001' has more than 6 decimals"),
            ("market.fees BTC-USDT one 0 0", "tier: expected a whole number"),
            ("account.tier alice 101", "OUT_OF_RANGE of tier: 101, and the limit is 100"),
            ("account.tier alice 0", "UNCHANGED"),
            ("account.tier nobody 1", "there is no account 'nobody'"),
        ):
            assert why in await operator.refused(words), words


async def test_a_frozen_asset(tmp_path: Path) -> None:
    """It is not credited, and trades on."""
    async with running(tmp_path / "data") as exchange:
        alice, operator = await exchange.client(), await exchange.operator()
        assert (await operator.said("asset.freeze BTC"))["frozen"] is True
        assert "ASSET_FROZEN" in await operator.refused("credit alice BTC 1")
        assert (await operator.said("asset.list"))["assets"][0]["frozen"] is True
        assert (await alice.ask("order.place", **buy("0.5")))["status"] == 200
        assert (await operator.said("asset.thaw BTC"))["frozen"] is False
        await operator.said("credit alice BTC 1")
        assert "UNCHANGED" in await operator.refused("asset.thaw BTC")
        assert "UNKNOWN_ASSET" in await operator.refused("asset.freeze XRP")


async def test_the_price_band_of_the_demo(tmp_path: Path) -> None:
    """A first trade more than half away from where the demo begins halts the market instead; an operator resumes it."""
    async with running(tmp_path / "data") as exchange:
        alice, bob, operator = await exchange.client("alice"), await exchange.client("bob"), await exchange.operator()
        far = {"symbol": "BTC-USDT", "type": "LIMIT", "quantity": "0.1", "price": "75000.01"}
        assert (await alice.ask("order.place", side="SELL", **far))["result"]["status"] == "NEW"
        assert (await bob.ask("order.place", side="BUY", **far))["result"]["status"] == "EXPIRED"
        assert await status(alice, "BTC-USDT") == "HALT"
        assert (await operator.said("market.resume BTC-USDT"))["status"] == "TRADING"
        near = {**far, "price": "75000.00"}
        assert (await alice.ask("order.place", side="SELL", **near))["result"]["status"] == "NEW"
        assert (await bob.ask("order.place", side="BUY", **near))["result"]["status"] == "FILLED"
