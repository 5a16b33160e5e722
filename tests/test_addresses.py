"""Addresses: what the standards give as examples, what another library derives, and every way to be wrong."""

import os

import pytest
from eth_account import Account
from eth_account.hdaccount import key_from_seed
from hypothesis import given, settings
from hypothesis import strategies as st

from chains import base58, bech32
from chains.address_books import BitcoinAddresses, EthereumAddresses
from chains.bitcoin_address import NETWORKS, normal, script_of
from chains.ethereum_address import checksummed
from chains.extended_key import HARDENED, PUBLIC_MAIN, PUBLIC_TEST, TPUB, XPUB, PrivateBranch, read_xpub
from chains.keystore import account_path
from chains.wallet import MAX_INDEX, BadAddress, BadKey
from tests.counts import count

EXAMPLES = settings(max_examples=count(100, 20_000), deadline=None)
SEED = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
MAIN = NETWORKS["mainnet"]


def test_extended_keys_are_those_of_the_standard() -> None:
    """BIP-32, test vector 1: the master key, and m/0'/1/2'/2/1000000000 by both ways."""
    master = PrivateBranch.of_seed(SEED)
    assert master.public().write(XPUB) == (
        "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8"
    )
    branch = master.path((HARDENED, 1, 2 + HARDENED))
    last = (
        "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVq"
        "NTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodrTHy"
    )
    assert branch.path((2, 1_000_000_000)).public().write(XPUB) == last
    assert branch.public().child(2).child(1_000_000_000).write(XPUB) == last
    assert read_xpub(last, PUBLIC_MAIN) == branch.path((2, 1_000_000_000)).public()


def test_bitcoin_addresses_are_those_of_the_standard() -> None:
    """BIP-84's example, whose xpub is written as a zpub."""
    book = BitcoinAddresses(
        "mainnet",
        "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31mGDtKsAYz2oz2AGutZYs",
    )
    assert book.address(0) == "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
    assert book.address(1) == "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g"


def test_bitcoin_addresses_are_those_of_another_library(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of bitcoinlib, from the same seed."""
    os.environ.setdefault("BCL_DATA_DIR", str(tmp_path_factory.mktemp("bitcoinlib")))
    with pytest.warns() as _:  # what its own libraries are to mend
        from bitcoinlib.keys import HDKey  # type: ignore[import-untyped] # noqa: PLC0415 - it reads BCL_DATA_DIR
    theirs = HDKey.from_seed(SEED, network="regtest", witness_type="segwit")
    account = PrivateBranch.of_seed(SEED).path(account_path("bitcoin", "regtest"))
    ours = BitcoinAddresses("regtest", account.public().write(TPUB))
    for index in (0, 1, 2, 1000, MAX_INDEX):
        assert ours.address(index) == theirs.key_for_path(f"m/84'/1'/0'/0/{index}").address()


def test_ethereum_addresses_are_those_of_another_library() -> None:
    """Of eth-account, from the same seed."""
    ours = EthereumAddresses(PrivateBranch.of_seed(SEED).path(account_path("ethereum")).public().write(XPUB))
    for index in (0, 1, 2, 1000, MAX_INDEX):
        assert ours.address(index) == Account.from_key(key_from_seed(SEED, f"m/44'/60'/0'/0/{index}")).address


@pytest.mark.parametrize("index", [-1, MAX_INDEX + 1])
def test_an_index_out_of_range_has_no_address(index: int) -> None:
    """Those above are hardened: an xpub does not have them."""
    with pytest.raises(ValueError, match=f"index is {index}"):
        EthereumAddresses(PrivateBranch.of_seed(SEED).public().write(XPUB)).address(index)


def test_a_bad_xpub_says_why() -> None:
    """Of another network, mistyped, or a private key, of which nothing is repeated."""
    public = PrivateBranch.of_seed(SEED).public()
    main, test = public.write(XPUB), public.write(TPUB)
    secret = base58.encode(bytes.fromhex("0488ade4") + base58.decode(main)[4:45] + b"\0" + bytes(31) + b"\1")
    for text, network, why in (
        (test, "mainnet", "another network"),
        (main, "regtest", "another network"),
        (main[:-1] + ("a" if main[-1] != "a" else "b"), "mainnet", "checksum"),
        (secret, "mainnet", "private key"),
        (base58.encode(b"short"), "mainnet", "no xpub"),
        (base58.encode(base58.decode(main)[:45] + b"\5" * 33), "mainnet", "not a point"),
        ("", "mainnet", "no xpub"),
        ("x" * 1000, "mainnet", "longer than"),
    ):
        with pytest.raises(BadKey, match=why) as caught:
            BitcoinAddresses(network, text)
        assert not text or text not in str(caught.value)
    assert read_xpub(test, PUBLIC_TEST) == public


VALID = {
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4": "0014751e76e8199196d454941c45d1b3a323f1433bd6",
    "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3": (
        "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262"
    ),
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0": (
        "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    ),
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2": "76a91477bff20c60e522dfaa3350c39b030a5d004e839a88ac",
    "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy": "a914b472a266d0bd89c13706a4132ccfb16f7c3b9fcb87",
}


@pytest.mark.parametrize("text", VALID)
def test_every_kind_of_bitcoin_address_is_taken(text: str) -> None:
    """P2WPKH, P2WSH, taproot, P2PKH and P2SH, with the scripts of BIP-173 and BIP-350."""
    assert script_of(MAIN, text).hex() == VALID[text]
    assert normal(MAIN, text) == (text.lower() if text.lower().startswith("bc1") else text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "checksum"),
        ("hello", "character|checksum"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "checksum"),
        ("bc1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "mixes"),
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "begins with tb"),
        ("bcrt1q6z64a43mjgkcq0ul2znwneq3spghrlau9slefp", "begins with bcrt|checksum"),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", "checksum"),  # bech32 where bech32m belongs
        ("bc1qzyqyzqz", "checksum|program"),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "not of mainnet"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", "checksum"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN0", "character"),
        (" 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "character"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "character"),
        ("bc1\u00e4", "characters"),
        ("bc1" + "q" * 100_000, "longer"),
        (bech32.encode("bc", 16, b"\1\2"), "anybody"),
        (bech32.encode("bc", 1, b"\1" * 20), "taproot"),
        (base58.encode(b"\0" * 20), "20 bytes"),
    ],
)
def test_a_bad_bitcoin_address_says_why(text: str, why: str) -> None:
    """Mistyped, of another network, or one whose coins anybody could take."""
    with pytest.raises(BadAddress, match=why):
        normal(MAIN, text)


@EXAMPLES
@given(st.sampled_from(sorted(VALID)), st.data())
def test_one_wrong_character_is_always_seen(text: str, data: st.DataObject) -> None:
    """Bech32 promises it; base58 makes it all but certain."""
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("023456789acdefghjklmnpqrstuvwxyzABCDEFGHJKLMN"))
    if other.lower() != text[place].lower():
        with pytest.raises(BadAddress):
            normal(MAIN, text[:place] + other + text[place + 1 :])


@EXAMPLES
@given(st.sampled_from(["bc", "tb", "bcrt"]), st.integers(0, 16), st.binary(min_size=2, max_size=40))
def test_bech32_reads_what_it_writes(prefix: str, version: int, program: bytes) -> None:
    """Every program of a length that its version allows."""
    if version or len(program) in {20, 32}:
        assert bech32.decode(bech32.encode(prefix, version, program)) == (prefix, version, program)


@EXAMPLES
@given(st.binary(max_size=78))
def test_base58_reads_what_it_writes(data: bytes) -> None:
    """Leading zeros too."""
    assert base58.decode(base58.encode(data)) == data


@pytest.mark.parametrize(
    "address",
    [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
    ],
)
def test_ethereum_addresses_are_those_of_the_standard(address: str) -> None:
    """EIP-55's examples, which are also taken without their capitals."""
    book = EthereumAddresses(PrivateBranch.of_seed(SEED).public().write(XPUB))
    for text in (address, address.lower(), "0x" + address[2:].upper()):
        book.check_address(text)
        assert book.normal(text) == address == checksummed(address)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed", "EIP-55"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe", "40 hexadecimal"),
        ("5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "40 hexadecimal"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg", "40 hexadecimal"),
        ("0x" + "0" * 40, "lost"),
        ("0x" + "\u0661" * 40, "40 hexadecimal"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "40 hexadecimal"),
        ("", "40 hexadecimal"),
    ],
)
def test_a_bad_ethereum_address_says_why(text: str, why: str) -> None:
    """Mistyped, too short, of another chain, or nobody's."""
    with pytest.raises(BadAddress, match=why):
        EthereumAddresses(PrivateBranch.of_seed(SEED).public().write(XPUB)).check_address(text)
