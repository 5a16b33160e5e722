"""`tallystick wallet`, as an operator types it: keys made, deposits found, swept, signed, and mined by real nodes."""

import base64
import json
import stat
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner

from chains import keystore, psbt
from chains.bitcoin import COIN
from chains.bitcoin_transaction import BadTransaction
from chains.node import InBlock
from chains.signing import BITCOIN
from chains.wallet import Output
from persistence.exits import Exit
from tallystick.private_chains import HONEST
from tallystick.private_nodes import CHAIN_ID
from tallystick.wallet import wallet
from tests import real_nodes
from tests.real_nodes import QUICK_SCRYPT_N, BitcoinNet, EthereumNet, bitcoin_net, ethereum_net, hot_wallet

ENVIRONMENT = {"WALLET": "a passphrase for tests"}
ASK = ("--passphrase", "env:WALLET")
COLD = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def run(*words: str | Path, typed: str | None = None) -> str:
    """What the command prints; it must succeed."""
    done = CliRunner().invoke(wallet, [str(word) for word in words], env=ENVIRONMENT, input=typed)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*words: str | Path) -> str:
    """Why the command does nothing: one line, exit code 2, no traceback."""
    done = CliRunner().invoke(wallet, [str(word) for word in words], env=ENVIRONMENT)
    assert done.exit_code == Exit.USAGE, done.output
    assert done.stderr.startswith("tallystick: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


async def ran(*words: str | Path) -> str:
    """The same while nodes are served."""
    return await trio.to_thread.run_sync(partial(run, *words))


def xpub_of(file: Path, *options: str) -> str:
    """The key with its origin."""
    return run("xpub", file, *options, *ASK).split()[1]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keystores that open fast, and so would be of no use for anything of worth."""
    monkeypatch.setattr(keystore, "seal", partial(keystore.seal, n=QUICK_SCRYPT_N))


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """A cold wallet's keystore."""
    file = tmp_path / "cold.keystore"
    run("new", file, *ASK)
    return file


def test_a_keystore_is_made_once_and_shows_its_words_to_its_owner(tmp_path: Path) -> None:
    """The passphrase is asked for twice where none is named; a second wallet never replaces the first."""
    file = tmp_path / "keystore"
    typed = "long enough for this\n"
    run("new", file, typed=typed * 2)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(run("words", file, typed=typed).split()) == 24
    assert "never written over" in refused("new", file, *ASK)
    assert "passphrase is wrong" in refused("words", file, *ASK)
    assert "OTHER is not set" in refused("words", file, "--passphrase", "env:OTHER")
    assert "cannot be read" in refused("words", tmp_path / "none", *ASK)


def test_what_the_configuration_takes_is_shown(cold: Path) -> None:
    """The xpub with its origin; no private key; a chain or network that there is not is named."""
    shown = run("xpub", cold, "--chain", "bitcoin", *ASK)
    assert "/84'/0'/0']xpub" in shown
    assert shown.count("bc1q") == 2
    assert "/84'/1'/0']tpub" in run("xpub", cold, "--chain", "bitcoin", "--network", "regtest", *ASK)
    assert "/44'/60'/0']xpub" in run("xpub", cold, "--chain", "ethereum", *ASK)
    assert "prv" not in shown
    assert "--chain is 'dogecoin'" in refused("xpub", cold, "--chain", "dogecoin", *ASK)
    assert "--network is 'moon'" in refused("xpub", cold, "--chain", "bitcoin", "--network", "moon", *ASK)


def holdings(chain: str, xpub: str, **changes: object) -> dict[str, object]:
    """A file of holdings, as the online machine writes it."""
    if chain == BITCOIN:
        coins = [{"txid": "ab" * 32, "n": 0, "amount": "100000", "index": 3}]
        return {"chain": chain, "network": "regtest", "xpub": xpub, "height": 1, "coins": coins} | changes
    accounts = [{"index": 3, "nonce": 0, "ether": str(10**18), "tokens": "5"}]
    facts: dict[str, object] = {"chain": chain, "chain_id": 1, "xpub": xpub, "height": 1, "max_fee": "1000", "tip": "1"}
    return facts | {"accounts": accounts} | changes


def test_a_sweep_is_refused_for_what_is_wrong_with_it(cold: Path, tmp_path: Path) -> None:
    """An address of another chain, fees above the cap, nothing worth it, files of another form, files that exist."""
    key = xpub_of(cold, "--chain", "bitcoin", "--network", "regtest")
    to = "bcrt1qr7dcfav6p7zsj09cg2hcv34zcwmcr8n4wpt05c"
    file, out = tmp_path / "holdings", tmp_path / "out"

    def why(facts: object, *options: str, address: str = to) -> str:
        file.write_text(json.dumps(facts))
        return refused("sweep", file, "--to", address, "--out", out, *options)

    good = holdings(BITCOIN, key)
    assert "checksum" in why(good, address=to[:-1] + "d")
    assert "begins with bc" in why(good, address="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
    assert "--max-fee is 10" in why(good, "--max-fee", "10")
    assert "nothing that is worth its fee" in why(holdings(BITCOIN, key, coins=[]))
    assert "nothing that is worth its fee" in why(good, "--rate", "900000")
    assert "without its origin" in why(holdings(BITCOIN, key.partition("]")[2]))
    assert "not of the form [fingerprint" in why(holdings(BITCOIN, "[xyz]" + key))
    assert "not in the form" in why({})
    assert "not in the form" in why(holdings(BITCOIN, key, more=1))
    ether = holdings("ethereum", xpub_of(cold, "--chain", "ethereum"))
    assert "40 hexadecimal" in why(ether)
    assert "--max-fee is 999" in why(ether, "--max-fee", "999", address=COLD)
    assert "nothing that is worth" in why(ether | {"accounts": []}, address=COLD)
    out.touch()
    assert "exists already" in why(ether, address=COLD)


def test_another_wallet_cannot_sign(cold: Path, tmp_path: Path) -> None:
    """And says so, for both chains; what is no unsigned file is told apart."""
    other = tmp_path / "other.keystore"
    run("new", other, *ASK)
    found, unsigned, signed = tmp_path / "found", tmp_path / "unsigned", tmp_path / "signed"
    for chain, to in (("bitcoin", "bcrt1qr7dcfav6p7zsj09cg2hcv34zcwmcr8n4wpt05c"), ("ethereum", COLD)):
        key = xpub_of(cold, "--chain", chain, "--network", "regtest")
        found.write_text(json.dumps(holdings(chain, key)))
        run("sweep", found, "--to", to, "--out", unsigned)
        assert "belongs to another wallet" in refused("sign", unsigned, other, "--out", signed, *ASK)
        run("sign", unsigned, cold, "--out", signed, *ASK)
        for each in (unsigned, signed):
            each.unlink()
    for content in (b"", b"psbt\xff", b"psbt\xff\x01", b"{}", b"psbt" + b"\xff" * 100):
        unsigned.write_bytes(content)
        refused("sign", unsigned, cold, "--out", signed, *ASK)


def test_a_psbt_is_read_as_it_was_written(cold: Path, tmp_path: Path) -> None:
    """And every shorter one is refused, not misread."""
    key = xpub_of(cold, "--chain", "bitcoin", "--network", "regtest")
    found, unsigned = tmp_path / "found", tmp_path / "unsigned"
    found.write_text(json.dumps(holdings(BITCOIN, key)))
    run("sweep", found, "--to", "bcrt1qr7dcfav6p7zsj09cg2hcv34zcwmcr8n4wpt05c", "--out", unsigned)
    content = unsigned.read_bytes()
    assert psbt.write(psbt.read(content)) == content
    for length in range(len(content)):
        with pytest.raises(BadTransaction):
            psbt.read(content[:length])


@pytest.mark.process
async def test_bitcoin_deposits_are_swept_to_the_cold_wallet(cold: Path, tmp_path: Path) -> None:
    """Found by the node, written as a PSBT that the node reads, signed offline, mined; nothing is left."""
    async with bitcoin_net(tmp_path / "node") as net:
        key = await trio.to_thread.run_sync(xpub_of, cold, "--chain", "bitcoin", "--network", "regtest")
        book = type(net.addresses)("regtest", key.partition("]")[2])
        for index in (0, 7):
            await net.chain.pay(Output(book.address(index), (index + 1) * COIN))
        await net.chain.mine()
        asked = ("holdings", "--chain", "bitcoin", "--network", "regtest", "--xpub", key, "--count", "10")
        at = ("--node", net.config.url, "--cookie-file", net.config.cookie_file)
        shown = await ran(*asked, *at, "--out", tmp_path / "found")
        assert "9.00000000" in shown.splitlines()[-1]
        to = await net.rpc.call("getnewaddress", result=str)
        swept = await ran("sweep", tmp_path / "found", "--to", to, "--out", tmp_path / "psbt", "--rate", "2000")
        assert "of 2 outputs" in swept
        await check_psbt(net, (tmp_path / "psbt").read_bytes())
        await ran("sign", tmp_path / "psbt", cold, "--out", tmp_path / "signed", *ASK)
        raw = bytes.fromhex((tmp_path / "signed").read_text())
        txid = await net.rpc.call("sendrawtransaction", raw.hex(), result=str)
        await net.chain.mine()
        assert isinstance(await net.node.place_of(txid), InBlock)
        assert (await ran(*asked, *at)).split()[:2] == ["total", "0.00000000"]


async def check_psbt(net: BitcoinNet, content: bytes) -> None:
    """The node reads it, agrees on the fee, and misses nothing but signatures."""
    text = base64.b64encode(content).decode()
    found = await net.rpc.call("analyzepsbt", text, result=dict[str, object])
    assert found["next"] == "signer"
    decoded = await net.rpc.call("decodepsbt", text, result=dict[str, object])
    assert round(float(str(decoded["fee"])) * COIN) == psbt.read(content).fee()


@pytest.mark.process
async def test_ether_and_tokens_are_swept_to_the_cold_wallet(cold: Path, tmp_path: Path) -> None:
    """Each address sends what it has; one without Ether for its fee is named, and can be swept when it has some."""
    async with ethereum_net(tmp_path / "node") as net:
        key = await trio.to_thread.run_sync(xpub_of, cold, "--chain", "ethereum")
        book = type(net.addresses)(key.partition("]")[2])
        token = await net.token(HONEST)
        for index in (1, 4):
            await net.chain.pay(Output(book.address(index), 5_000_000), token.contract)
        await net.chain.pay(Output(book.address(1), 10**18))
        await net.chain.mine()
        told = await swept(net, cold, tmp_path / "tokens", key, "--token", token.contract, "--decimals", "6")
        assert "1 transfers" in told
        assert f"{book.address(4)} lacks the Ether" in told
        head = await net.node.head()
        assert await token.balance(COLD, head) == 5_000_000
        assert await token.balance(book.address(4), head) == 5_000_000
        assert "1 transfers" in await swept(net, cold, tmp_path / "ether", key)
        head = await net.node.head()
        assert 0.99 * 10**18 < await net.node.balance(COLD, head) < 10**18


async def swept(net: EthereumNet, cold: Path, folder: Path, key: str, *options: str) -> str:
    """What the sweep tells; what it made is signed, sent and mined."""
    await trio.Path(folder).mkdir()
    found, unsigned, signed = folder / "found", folder / "unsigned", folder / "signed"
    asked = ("holdings", "--chain", "ethereum", "--chain-id", str(CHAIN_ID), "--xpub", key, "--count", "6")
    await ran(*asked, "--node", net.config.url, "--out", found, *options)
    told = await ran("sweep", found, "--to", COLD, "--out", unsigned)
    await ran("sign", unsigned, cold, "--out", signed, *ASK)
    for raw in signed.read_text().split():
        await net.rpc.call("eth_sendRawTransaction", raw, result=str)
    await net.chain.mine()
    return told


@pytest.mark.process
async def test_the_real_command_serves_as_the_signer(tmp_path: Path) -> None:
    """`tallystick signer` is what a running exchange starts: the same process under the program's own name."""
    program = (sys.executable, "-m", "tallystick", "signer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real_nodes, "SIGNER", program)
        async with hot_wallet(BITCOIN, tmp_path) as signer:
            assert signer.address.startswith("bcrt1q")
