"""What operators can do to assets and markets."""

from collections.abc import Awaitable, Callable
from typing import Final

from attrs import NOTHING, fields

from actors.admin_command import AdminCommand, BadCall
from actors.engine_line import EngineLine
from actors.listings import SHARE_SCALE, AssetWords, MarketWords, asset_of, market_of, rate, spoken, units, whole
from book.commands import ClearMarket, DefineAsset, DefineMarket, FreezeAsset, SetFeeTier, SetMarketState
from book.decimals import format_units
from book.events import OrderClosed
from book.market import Grid
from book.queries import Depth, DepthView, RecentTrades
from book.terms import CANCEL_ONLY, HALT, MARKET_STATES, NS_PER_MS, POST_ONLY, SIDES, TRADING

LEVELS_SHOWN: Final = 20
TRADES_SHOWN: Final = 20

_REQUIRED: Final = tuple(key.name for key in fields(MarketWords) if key.default is NOTHING)
_OPTIONAL: Final = tuple(key.name for key in fields(MarketWords) if key.default is not NOTHING)


class MarketCommands:
    """The commands of the groups `market` and `asset`."""

    def __init__(self, engine: EngineLine) -> None:
        self._engine = engine

    def commands(self) -> tuple[AdminCommand, ...]:
        """In the order of `help`."""
        return (
            AdminCommand("market.list", (), "the markets, their states, open orders", self.list_markets),
            AdminCommand("market.show", ("symbol",), "one market's best levels and last trades", self.show),
            AdminCommand(
                "market.add",
                _REQUIRED,
                "open a market; the keys are those of the configuration",
                self.add_market,
                optional=_OPTIONAL,
                changes=True,
                by_name=True,
            ),
            self._state("market.halt", HALT, "take nothing but cancels"),
            self._state("market.cancel-only", CANCEL_ONLY, "take nothing but reductions and cancels"),
            self._state("market.post-only", POST_ONLY, "take what rests, and trade nothing"),
            self._state("market.resume", TRADING, "trade"),
            AdminCommand(
                "market.cancel-all",
                ("symbol",),
                "cancel every open order of a market",
                self.cancel_all,
                changes=True,
                wants_yes=True,
            ),
            AdminCommand(
                "market.fees",
                ("symbol", "tier", "maker", "taker"),
                "what a market charges the accounts of a tier",
                self.set_fees,
                changes=True,
            ),
            AdminCommand("asset.list", (), "the assets", self.list_assets),
            AdminCommand(
                "asset.add",
                ("name", "scale"),
                "make an asset known, with so many decimals",
                self.add_asset,
                optional=("chain", "withdrawal_fee", "min_withdrawal"),
                changes=True,
            ),
            AdminCommand("asset.freeze", ("name",), "credit no more of it", self._freezing(frozen=True), changes=True),
            AdminCommand("asset.thaw", ("name",), "credit it again", self._freezing(frozen=False), changes=True),
        )

    # Markets

    async def list_markets(self) -> object:
        """Every market."""
        view = await self._engine.directory()
        return {
            "markets": [
                {
                    "symbol": status.market.symbol,
                    "status": MARKET_STATES[status.state],
                    "openOrders": status.open_orders,
                }
                for status in view.markets
            ]
        }

    async def show(self, symbol: str) -> object:
        """What a market looks like, in whole assets."""
        view = await self._engine.directory()
        status = next((status for status in view.markets if status.market.symbol == symbol), None)
        if status is None:
            raise BadCall(f"there is no market {symbol!r:.50}; 'market.list' shows them all")
        assets = {asset.name: asset for asset in view.assets}
        grid = Grid(status.market, assets[status.market.base], assets[status.market.quote])
        price, quantity = grid.format_price, grid.format_quantity
        depth = await self._engine.ask(Depth(symbol, LEVELS_SHOWN), DepthView)
        trades = await self._engine.ask(RecentTrades(symbol, TRADES_SHOWN), list)
        return {
            "symbol": symbol,
            "status": MARKET_STATES[status.state],
            "openOrders": status.open_orders,
            "seq": depth.seq,
            "bids": [(price(ticks), quantity(lots)) for ticks, lots in depth.bids],
            "asks": [(price(ticks), quantity(lots)) for ticks, lots in depth.asks],
            "trades": [
                {
                    "tradeId": trade.trade_id,
                    "price": price(trade.price),
                    "qty": quantity(trade.quantity),
                    "side": SIDES[trade.taker_side],
                    "time": trade.time_ns // NS_PER_MS,
                }
                for trade in trades
            ],
        }

    async def add_market(self, **words: str) -> object:
        """Define a market."""
        view = await self._engine.directory()
        market = market_of(spoken(MarketWords, words), {asset.name: asset.scale for asset in view.assets})
        done = await self._engine.tell(DefineMarket(market))
        return {"symbol": market.symbol, "status": MARKET_STATES[TRADING], "seq": done.seq}

    def _state(self, name: str, state: int, about: str) -> AdminCommand:
        async def set_state(symbol: str) -> object:
            done = await self._engine.tell(SetMarketState(symbol, state))
            return {"symbol": symbol, "status": MARKET_STATES[state], "seq": done.seq}

        return AdminCommand(name, ("symbol",), about, set_state, changes=True)

    async def cancel_all(self, symbol: str) -> object:
        """Empty a market's book."""
        done = await self._engine.tell(ClearMarket(symbol))
        canceled = sum(isinstance(event, OrderClosed) for event in done.events)
        return {"symbol": symbol, "canceled": canceled, "seq": done.seq}

    async def set_fees(self, symbol: str, tier: str, maker: str, taker: str) -> object:
        """Set the rates of a tier, which are fractions."""
        fees = rate(maker, "maker"), units(taker, SHARE_SCALE, "taker")
        command = SetFeeTier(symbol, whole(tier, "tier"), *fees)
        done = await self._engine.tell(command)
        return {"symbol": symbol, "tier": command.tier, "maker": maker, "taker": taker, "seq": done.seq}

    # Assets

    async def list_assets(self) -> object:
        """Every asset."""
        view = await self._engine.directory()
        return {
            "assets": [
                {
                    "name": asset.name,
                    "scale": asset.scale,
                    "chain": asset.chain,
                    "withdrawalFee": format_units(asset.withdrawal_fee, asset.scale),
                    "minWithdrawal": format_units(asset.min_withdrawal, asset.scale),
                    "frozen": asset.name in view.frozen_assets,
                }
                for asset in view.assets
            ]
        }

    async def add_asset(self, **words: str) -> object:
        """Define an asset."""
        asset = asset_of(spoken(AssetWords, words))
        done = await self._engine.tell(DefineAsset(asset))
        return {"name": asset.name, "scale": asset.scale, "chain": asset.chain, "seq": done.seq}

    def _freezing(self, *, frozen: bool) -> Callable[[str], Awaitable[object]]:
        async def freeze(name: str) -> object:
            done = await self._engine.tell(FreezeAsset(name, frozen))
            return {"name": name, "frozen": frozen, "seq": done.seq}

        return freeze
