"""What the demo exchange is made of: three markets, and two funded accounts whose keys are public."""

import hashlib
from collections.abc import Sequence
from typing import Final

from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from actors.market_maker import MarketMakerConfig, Quoted
from book.commands import Command, CreditDeposit, DefineAccount, DefineAsset, DefineKey, DefineMarket
from book.definitions import Account, Asset, Key, Market
from book.terms import EXPIRE_TAKER, READ, TRADE, WITHDRAW

# On the chains of tallystick.demo_chains, with the fee and the least amount of a withdrawal.
ASSETS: Final = (
    Asset("BTC", 8, "bitcoin", 10_000, 50_000),
    Asset("ETH", 9, "ethereum", 1_000_000, 1_000_000),
    Asset("USDT", 6, "ethereum", 1_000_000, 5_000_000),
)
MARKETS: Final = tuple(
    Market(
        symbol=f"{base}-{quote}",
        base=base,
        quote=quote,
        tick=1,
        tick_scale=tick_scale,
        lot=lot,
        min_quantity=1,
        max_quantity=max_quantity,
        min_notional=min_notional,
        max_open_orders=200_000,
        maker_fee=1_000,
        taker_fee=2_000,
        collar=100_000,
        self_trade=EXPIRE_TAKER,
        reference_price=price,
        band=500_000,
        halt_ms=60_000,
    )
    for base, quote, tick_scale, lot, max_quantity, min_notional, price in (
        ("BTC", "USDT", 2, 10_000, 100_000_000, 5_000_000, 50_000_00),
        ("ETH", "USDT", 2, 100_000, 1_000_000_000, 5_000_000, 2_500_00),
        ("ETH", "BTC", 5, 1_000_000, 100_000_000, 10_000, 5_000),
    )
)
FUNDS: Final = {"BTC": 1_000 * 10**8, "ETH": 20_000 * 10**9, "USDT": 100_000_000 * 10**6}
TRADERS: Final = ((1, "alice"), (2, "bob"))
MARKET_MAKER: Final = MarketMakerConfig(
    quoter=3,
    taker=4,
    markets=tuple(
        Quoted(market.symbol, start_price=market.reference_price, spacing=spacing, quantity=quantity)
        for market, spacing, quantity in zip(MARKETS, (150, 20, 2), (50, 1_000, 100), strict=True)
    ),
)


@frozen
class DemoKey:
    """A demo account's key. The seed follows from the name: anyone has it, nothing is protected by it."""

    name: str
    seed: bytes

    @classmethod
    def of(cls, name: str) -> "DemoKey":
        """The key of this account, the same on every machine."""
        return cls(name, hashlib.sha256(f"tallystick demo key of {name}".encode()).digest())

    def public_hex(self) -> str:
        """The public half, 64 characters."""
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def definitions() -> tuple[Command, ...]:
    """All that the demo's log begins with: assets, markets, accounts, keys and test money under fixed ids."""
    commands: list[Command] = [DefineAsset(asset) for asset in ASSETS]
    commands += [DefineMarket(market) for market in MARKETS]
    for account, name in TRADERS:
        commands.append(DefineAccount(Account(account, name)))
        commands.append(DefineKey(Key(account, name, account, READ | TRADE | WITHDRAW, DemoKey.of(name).public_hex())))
        commands += _funds(account, name, 1)
    for account, name in ((MARKET_MAKER.quoter, "quoter"), (MARKET_MAKER.taker, "taker")):
        commands.append(DefineAccount(Account(account, name)))
        commands += _funds(account, name, 100)
    return tuple(commands)


def _funds(account: int, name: str, times: int) -> Sequence[Command]:
    return [CreditDeposit(f"demo|{name}|{asset}", account, asset, times * units) for asset, units in FUNDS.items()]
