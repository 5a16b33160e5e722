"""docs/chains-nodes.md is true: its keys and defaults are the program's, its example loads, wrong files are refused."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from book.definitions import Asset
from chains.bitcoin_coins import BitcoinFees
from chains.ethereum_fees import EthereumFees
from chains.wallet import SignerFailed
from persistence.sql_store import SqlStore
from tallystick import real_chains
from tallystick.config import ConfigError
from tallystick.real_chains import (
    BitcoinSection,
    EthereumSection,
    Followed,
    LimitsSection,
    NodeSection,
    TokenSection,
    WalletSection,
    load_chains,
    open_chains,
)
from tests.pages import blocks, read_page, sections, tables
from tests.stores import in_memory

PAGE = read_page("chains-nodes.md")
(EXAMPLE,) = ("\n".join(lines) for lines in blocks(PAGE, "toml"))
HEADER = ("key", "default", "meaning")
SECTIONS: dict[str, type] = {
    "Every asset on a chain": Followed,
    "[bitcoin]": BitcoinSection,
    "[ethereum]": EthereumSection,
    "[[ethereum.tokens]]": TokenSection,
    "[bitcoin.limits], [ethereum.limits]": LimitsSection,
    "[bitcoin.node], [ethereum.node]": NodeSection,
    "[bitcoin.wallet], [ethereum.wallet]": WalletSection,
    "[bitcoin.fees]": BitcoinFees,
    "[ethereum.fees]": EthereumFees,
}
ASSETS = {
    each.name: each for each in (Asset("BTC", 8, "bitcoin"), Asset("ETH", 9, "ethereum"), Asset("USDT", 6, "ethereum"))
}


def expected(section: type) -> Iterator[tuple[str, str]]:
    """Name and default of each key, but for those that are told for all assets together."""
    common = set() if section is Followed else {field.name for field in attrs.fields(Followed)}
    for field in attrs.fields(section):
        if field.name not in common:
            yield field.name, default(field)


def default(field: "attrs.Attribute[Any]") -> str:
    """As the page writes it."""
    value = field.default
    if value is attrs.NOTHING:
        return "required"
    if hasattr(value, "factory"):
        return "none" if field.name == "limits" else ""
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value) if isinstance(value, tuple) else value).lower()


@pytest.mark.parametrize("title", SECTIONS)
def test_the_page_has_every_key_and_no_other(title: str) -> None:
    """With its default."""
    titles = sections(PAGE, 3)
    assert list(titles) == list(SECTIONS)
    (rows,) = [rows for head, *rows in tables(titles[title]) if head == HEADER]
    assert {(name.strip("`"), default) for name, default, _ in rows} == set(expected(SECTIONS[title]))


def test_the_example_loads(tmp_path: Path) -> None:
    """As it stands."""
    path = tmp_path / "chains.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    file = load_chains(path)
    assert file.bitcoin is not None
    assert file.ethereum is not None
    assert file.ethereum.tokens[0].limits.automatic == "10000"


WRONG = [
    ("depth = 3", "depth = -1", "depth"),
    ("depth = 3", "", "depth"),
    ("depth = 3", "deepth = 3", "unknown key 'deepth', did you mean 'depth'"),
    ('network = "mainnet"', 'network = "moon"', "network"),
    ("max_fee = 100_000\n", "max_fee = 0\n", "max_fee is 0"),
    ('asset = "BTC"', 'asset = "XYZ"', "XYZ"),
    ('asset = "BTC"', 'asset = "ETH"', "has the asset 'ETH'"),
    ("[73c5da0a/84'", "[73c5da0a84'", "not of the form [fingerprint"),
    ("]xpub6Cat", "]xpub6Cbt", "checksum"),
    ('url = "http://127.0.0.1:8332"', 'url = "127.0.0.1:8332"', "not of the form http"),
    ('user = ""', 'user = "both"', "both given"),
    ('automatic = "0.5"', 'automatic = "0.123456789"', "automatic: '0.123456789' has more than 8 decimals"),
    ('hot_high = "50"', 'hot_high = "0.5"', "hot_high"),
    ("bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu", "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyv", "cold_addresses"),
    ("0xdAC17F958D2ee523a2206206994597C13D831ec7", "0xdAC17F958D2ee523a2206206994597C13D831ec8", "EIP-55"),
    ("decimals = 6", "decimals = 4", "6 decimals here, and 4 on its chain"),
    ("decimals = 6", "decimals = 99", "decimals is 99"),
]


@pytest.mark.parametrize(("right", "wrong", "why"), WRONG)
def test_a_wrong_file_is_refused_with_what_is_wrong(
    right: str, wrong: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names the key, before anything is opened."""
    monkeypatch.setattr(real_chains, "hot_address", lambda *_: "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu")
    path = tmp_path / "chains.toml"
    example = EXAMPLE.replace("/etc/tallystick/", f"{tmp_path}/")
    (tmp_path / "node-password").write_text("secret")
    assert example.count(right) >= 1
    path.write_text(example.replace(right, wrong, 1))
    tomllib.loads(path.read_text())
    with pytest.raises(ConfigError) as caught:
        open_chains(load_chains(path), ASSETS, (), store=SqlStore(in_memory()))
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_no_keystore_no_start(tmp_path: Path) -> None:
    """The signer's own words come through."""
    path = tmp_path / "chains.toml"
    path.write_text(EXAMPLE)
    with pytest.raises(SignerFailed, match="signer of bitcoin does not start"):
        open_chains(load_chains(path), ASSETS, ("/nowhere/tallystick",), store=SqlStore(in_memory()))
