"""What a node may answer: refusals, garbage, other answers, nothing; none of it gets further than its own error."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from chains import rpc as rpc_module
from chains.bitcoin import Bitcoin, BitcoinConfig, satoshi
from chains.erc20 import Erc20, Erc20Config
from chains.ethereum import Ethereum, EthereumConfig
from chains.node import InBlock, Node, NodeRefused, NodeUnavailable, WrongNode
from chains.rpc import Rpc, RpcConfig
from tallystick.private_nodes import free_port

HASH = "ab" * 32
OTHER = "cd" * 32
TOKEN = "0x" + "11" * 20
CONFIG = RpcConfig(url="http://127.0.0.1:1", user="us", password="very secret")  # noqa: S106 - of nobody

Answers = dict[str, Any]


def node_of(answers: Answers, seen: list[dict[str, Any]] | None = None) -> Rpc:
    """A node that answers each method with a result, or an error where that is an Exception's arguments."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        if seen is not None:
            seen.append(asked)
        found = answers[asked["method"]]
        if isinstance(found, NodeRefused):
            said: dict[str, Any] = {"error": {"code": found.code, "message": "no"}, "result": None}
        else:
            said = {"result": found}
        return httpx.Response(200, text=json.dumps({"jsonrpc": "2.0", "id": asked["id"], **said}))

    return Rpc(CONFIG, httpx.MockTransport(answer))


def raw(respond: Callable[[int], httpx.Response]) -> Rpc:
    """A node whose whole answer to the request of an id is given."""
    return Rpc(CONFIG, httpx.MockTransport(lambda request: respond(json.loads(request.content)["id"])))


GARBAGE = {
    "nothing": lambda _: httpx.Response(200, content=b""),
    "no JSON": lambda _: httpx.Response(200, content=b"<html>"),
    "cut off": lambda id_: httpx.Response(200, content=b'{"id":%d,"result":1' % id_),
    "a list": lambda _: httpx.Response(200, content=b"[]"),
    "deep": lambda _: httpx.Response(200, content=b"[" * 100_000),
    "not UTF-8": lambda id_: httpx.Response(200, content=b'{"id":%d,"result":"\xff"}' % id_),
    "another type": lambda id_: httpx.Response(200, content=b'{"id":%d,"result":"one"}' % id_),
    "another question's": lambda id_: httpx.Response(200, content=b'{"id":%d,"result":1}' % (id_ + 1)),
    "no id": lambda _: httpx.Response(200, content=b'{"result":1}'),
    "neither result nor error": lambda id_: httpx.Response(200, content=b'{"id":%d}' % id_),
    "null": lambda id_: httpx.Response(200, content=b'{"id":%d,"result":null}' % id_),
    "a redirect": lambda _: httpx.Response(302, headers={"location": "http://elsewhere/"}),
    "a proxy's page": lambda _: httpx.Response(502, content=b"Bad Gateway"),
    "too many requests": lambda _: httpx.Response(429),
    "not ready": lambda id_: httpx.Response(
        500, content=b'{"id":%d,"result":null,"error":{"code":-28,"message":"Loading"}}' % id_
    ),
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_an_answer_of_no_use_is_unavailable(kind: str) -> None:
    """Whatever it is, the same question may be asked again, and no secret is in the message."""
    async with raw(GARBAGE[kind]) as rpc:
        with pytest.raises(NodeUnavailable) as caught:
            await rpc.call("getblockcount", result=int)
        assert "very secret" not in str(caught.value)


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the limit is read."""
    monkeypatch.setattr(rpc_module, "MAX_BODY_BYTES", 1000)
    async with raw(lambda _: httpx.Response(200, content=b"x" * 1001)) as rpc:
        with pytest.raises(NodeUnavailable, match="longer than 1000 bytes"):
            await rpc.call("getblockcount", result=int)


async def test_nobody_listening_and_nobody_answering_are_unavailable() -> None:
    """A dead node's port, and one that accepts and says nothing."""
    async with Rpc(RpcConfig(url=f"http://127.0.0.1:{free_port()}")) as rpc:
        with pytest.raises(NodeUnavailable, match="no answer from http://127"):
            await rpc.call("getblockcount", result=int)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, Rpc(RpcConfig(url=f"http://127.0.0.1:{port_of(listener)}", timeout_seconds=0.05)) as rpc:
        with pytest.raises(NodeUnavailable, match="no answer"):
            await rpc.call("getblockcount", result=int)


def port_of(listener: trio.SocketListener) -> int:
    """Where it listens."""
    port: int = listener.socket.getsockname()[1]
    return port


async def test_refusals_keep_their_code_whatever_the_status() -> None:
    """An error of the node's own is NodeRefused; a wrong password says what to look at."""
    error = b'{"id":%d,"result":null,"error":{"code":-26,"message":"dust"}}'
    async with raw(lambda id_: httpx.Response(500, content=error % id_)) as rpc:
        with pytest.raises(NodeRefused, match=r"\(-26\): dust") as caught:
            await rpc.call("sendrawtransaction", result=str)
        assert caught.value.code == -26
    async with raw(lambda _: httpx.Response(401)) as rpc:
        with pytest.raises(NodeUnavailable, match="check user, password or cookie"):
            await rpc.call("getblockcount", result=int)


async def test_a_cookie_is_read_each_time(tmp_path: Path) -> None:
    """The node makes a new one at each start; one that is not there yet is asked for again."""
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={"id": json.loads(request.content)["id"], "result": 1})

    cookie = tmp_path / ".cookie"
    async with Rpc(RpcConfig(url="http://x", cookie_file=str(cookie)), httpx.MockTransport(answer)) as rpc:
        with pytest.raises(NodeUnavailable, match="cookie file"):
            await rpc.call("getblockcount", result=int)
        for content in ("__cookie__:one", "__cookie__:two"):
            cookie.write_text(content)
            assert await rpc.call("getblockcount", result=int) == 1
    assert len(set(seen)) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "127.0.0.1:8332"}, "url is '127.0.0.1:8332'"),
        ({"url": "ftp://x"}, "url is 'ftp://x'"),
        ({"url": "http://x", "user": "a", "cookie_file": "b"}, "both given"),
        ({"url": "http://x", "timeout_seconds": 0}, "timeout_seconds is 0"),
    ],
)
def test_a_bad_configuration_names_the_field(fields: dict[str, Any], message: str) -> None:
    """Its value, and what is wrong with it."""
    with pytest.raises(ValueError, match=message):
        RpcConfig(**fields)


def test_a_configuration_hides_its_password() -> None:
    """In logs and tracebacks."""
    assert "very secret" not in repr(CONFIG)


# Bitcoin -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "amount"), [("0", 0), ("0.00000001", 1), ("1e-8", 1), ("20999999.9769", 2_099_999_997_690_000)]
)
def test_amounts_are_exact(written: str, amount: int) -> None:
    """From the digits as they were sent."""
    assert satoshi(Decimal(written)) == amount


@pytest.mark.parametrize("written", ["-0.1", "0.000000001", "21000000.00000001", "NaN", "Infinity", "1E+999999"])
def test_what_is_no_amount_is_refused(written: str) -> None:
    """Negative, finer than a satoshi, more than there is."""
    with pytest.raises(NodeUnavailable, match="as an amount"):
        satoshi(Decimal(written))


def bitcoin(answers: Answers) -> Bitcoin:
    """Bitcoin on a node that answers so."""
    return Bitcoin(BitcoinConfig(network="regtest"), node_of(answers))


BLOCK = {
    "hash": HASH,
    "height": 5,
    "time": 7,
    "previousblockhash": OTHER,
    "tx": [{"txid": HASH, "vin": [{"coinbase": "00"}], "vout": [{"value": 0.1, "n": 0, "scriptPubKey": {}}]}],
}


@pytest.mark.parametrize(
    "change",
    [
        {"hash": OTHER},
        {"height": -1},
        {"height": 0},
        {"previousblockhash": None},
        {"tx": None},
        {"tx": [{"txid": "zz", "vin": [], "vout": []}]},
        {"tx": [{"txid": HASH, "vin": [], "vout": [{"value": -1, "n": 0, "scriptPubKey": {"address": "a"}}]}]},
        {"tx": [{"txid": HASH, "vin": [], "vout": [{"value": 1, "n": -1, "scriptPubKey": {"address": "a"}}]}]},
    ],
)
async def test_a_block_that_cannot_be_is_not_taken(change: dict[str, Any]) -> None:
    """Another block than was asked for, one without a parent, amounts and numbers that cannot be."""
    assert (await bitcoin({"getblock": BLOCK}).block(HASH)).payments == ()
    with pytest.raises(NodeUnavailable):
        await bitcoin({"getblock": {**BLOCK, **change}}).block(HASH)


async def test_a_node_without_an_index_is_the_wrong_one() -> None:
    """It could not find the transactions of others."""
    info = {"chain": "regtest", "blocks": 1, "bestblockhash": HASH}
    with pytest.raises(WrongNode, match="txindex=1"):
        await bitcoin({"getblockchaininfo": info, "getindexinfo": {}}).check()


async def test_a_transaction_taken_for_another_is_no_success() -> None:
    """The id that the node gives must be the one that was stored."""
    with pytest.raises(NodeUnavailable, match="took"):
        await bitcoin({"sendrawtransaction": OTHER}).broadcast(b"\1", HASH)


async def test_refused_but_known_is_a_success() -> None:
    """Whatever the refusal is called: the transaction is where it should be."""
    answers = {
        "sendrawtransaction": NodeRefused(-27, "no"),
        "getrawtransaction": {"txid": HASH, "blockhash": OTHER},
        "getblockheader": {"hash": OTHER, "height": 3, "confirmations": 2},
    }
    await bitcoin(answers).broadcast(b"\1", HASH)
    place = await bitcoin(answers).place_of(HASH)
    assert isinstance(place, InBlock)
    with pytest.raises(NodeRefused):
        await bitcoin({**answers, "getrawtransaction": NodeRefused(-5, "no")}).broadcast(b"\1", HASH)


# Ethereum ------------------------------------------------------------------------------------------------------------

H0, H1, H2 = "0x" + HASH, "0x" + OTHER, "0x" + "ef" * 32
ETHEREUM_BLOCK = {
    "hash": H0,
    "number": "0x5",
    "parentHash": H1,
    "timestamp": "0x7",
    "transactions": [{"hash": H2, "value": "0xde0b6b3a7640000", "to": TOKEN}],
}
RECEIPT = {
    "transactionHash": H2,
    "blockHash": H0,
    "blockNumber": "0x5",
    "status": "0x1",
    "from": TOKEN,
    "logs": [{"address": TOKEN, "topics": [], "data": "0x"}],
}


def ethereum(answers: Answers) -> Ethereum:
    """Ether on a node that answers so."""
    return Ethereum(EthereumConfig(chain_id=1), node_of(answers))


@pytest.mark.parametrize(
    ("block", "receipt"),
    [
        ({"hash": H1}, {}),
        ({"number": "5"}, {}),
        ({"parentHash": "0x12"}, {}),
        ({"transactions": []}, {}),
        ({"transactions": [{"hash": H2, "value": "1", "to": TOKEN}]}, {}),
        ({"transactions": [{"hash": H2, "value": "0x" + "f" * 65, "to": TOKEN}]}, {}),
        ({}, {"transactionHash": H0}),
        ({}, {"blockHash": H1}),
        ({}, {"status": None}),
        ({}, {"logs": [{"address": TOKEN, "topics": ["0x1"], "data": "0x"}]}),
    ],
)
async def test_an_ethereum_block_whose_parts_do_not_fit_is_not_taken(block: Answers, receipt: Answers) -> None:
    """Another block, receipts of other transactions or of another block, fields that cannot be."""
    good = {"eth_getBlockByHash": ETHEREUM_BLOCK, "eth_getBlockReceipts": [RECEIPT]}
    assert [each.amount for each in (await ethereum(good).block(H0)).payments] == [10**18]
    bad = {"eth_getBlockByHash": {**ETHEREUM_BLOCK, **block}, "eth_getBlockReceipts": [{**RECEIPT, **receipt}]}
    with pytest.raises(NodeUnavailable):
        await ethereum(bad).block(H0)


async def test_a_failed_transaction_with_logs_pays_nothing() -> None:
    """Neither Ether nor a token, though a node should not even show such logs."""
    topics = ["0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef", *["0x" + "0" * 24 + "22" * 20] * 2]
    log = {"address": TOKEN, "topics": topics, "data": "0x" + "0" * 63 + "5"}
    token = Erc20Config(contract=TOKEN, decimals=6)
    for status, amounts in (("0x1", [5]), ("0x0", [])):
        receipt = {**RECEIPT, "status": status, "logs": [log]}
        answers = {"eth_getBlockByHash": ETHEREUM_BLOCK, "eth_getBlockReceipts": [receipt]}
        block = await Erc20(EthereumConfig(), token, node_of(answers)).block(H0)
        assert [each.amount for each in block.payments] == amounts
        assert len((await ethereum(answers).block(H0)).payments) == len(amounts)


async def test_a_node_between_two_branches_is_asked_again() -> None:
    """It has the transaction in a block, and another block at that height."""
    answers = {"eth_getTransactionReceipt": RECEIPT, "eth_getBlockByNumber": {"hash": H1, "number": "0x5"}}
    with pytest.raises(NodeUnavailable, match="changing over"):
        await ethereum(answers).place_of(H2)


@pytest.mark.parametrize("answer", ["0x", "garbage", None, {}, "0x2", NodeRefused(-32601, "no")])
async def test_a_chain_id_that_is_none_or_another(answer: Any) -> None:
    """By way of web3, whose errors become ours."""
    with pytest.raises((NodeUnavailable, NodeRefused, WrongNode)):
        await ethereum({"eth_chainId": answer}).check()


async def test_questions_about_a_block_name_it_by_its_hash() -> None:
    """Never by its number: a reorg between two questions would mix two blocks."""
    seen: list[dict[str, Any]] = []
    answers = {
        "eth_getBlockByHash": ETHEREUM_BLOCK,
        "eth_getBlockReceipts": [RECEIPT],
        "eth_getBalance": "0x1",
        "eth_getTransactionCount": "0x1",
        "eth_call": "0x" + "0" * 63 + "1",
    }
    token = Erc20Config(contract=TOKEN, decimals=6)
    node: Node = Erc20(EthereumConfig(), token, node_of(answers, seen))
    block = await node.block(H0)
    await node.balance(TOKEN, block.id)
    await Ethereum(EthereumConfig(), node_of(answers, seen)).balance(TOKEN, block.id)
    await Ethereum(EthereumConfig(), node_of(answers, seen)).nonce(TOKEN, block.id)
    assert len(seen) == 5
    assert all(H0 in json.dumps(each["params"]) for each in seen)
