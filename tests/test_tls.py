"""TLS for clients: what can be used, what is said of what cannot, and how a certificate is replaced under way."""

# ruff: noqa: ARG001 - to ask for the fixture is to run on virtual time

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve
from cryptography.x509 import load_der_x509_certificate
from structlog.testing import capture_logs
from trio.abc import HalfCloseableStream
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from actors import gateway_counts
from actors.tls import FAREWELL_SECONDS, BadCertificate, Hangups, Tls, hangups, load_certificate
from book import codes
from tests import certificates
from tests.certificates import LONG_AGO, NAME, Pair
from tests.clients import Client, code, place
from tests.clients import codes as codes_of
from tests.simulation.disk import SimulatedDisk
from tests.simulation.world import Inline, VirtualClock
from tests.test_gateway import CONFIG, House


@contextmanager
def never() -> Iterator[AsyncIterator[int]]:
    """No signal ever."""
    _, receive = trio.open_memory_channel[int](0)
    yield receive


def tls_of(pair: Pair, *, hangups: Hangups = never) -> Tls:
    """The certificate in use."""
    return Tls(
        *pair.paths,
        load=load_certificate,
        hangups=hangups,
        blocking=Inline(SimulatedDisk()),
        clock=VirtualClock(),
    )


async def secured(house: House, pair: Pair, host: str = "192.0.2.1") -> Client:
    """A client who trusts this certificate, greeted."""
    raw = house.memory.connect(house.addresses[-1], host)
    stream = trio.SSLStream(raw, pair.trusted(), server_hostname=NAME)
    await stream.do_handshake()
    client = Client(_Half(stream))
    assert (await client.receive())["event"] == "hello"
    return client


class _Half(HalfCloseableStream):
    """A client's TLS as a stream like any other: its half ends with the whole."""

    def __init__(self, tls: "trio.SSLStream[HalfCloseableStream]") -> None:
        self.tls = tls

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.tls.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.tls.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.tls.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self.tls.unwrap()

    async def aclose(self) -> None:
        await self.tls.aclose()


def serial_of(client: Client) -> int:
    """Of the certificate that the client was shown."""
    stream = client.stream
    assert isinstance(stream, _Half)
    return load_der_x509_certificate(stream.tls.getpeercert(binary_form=True)).serial_number


# ---------------------------------------------------------------------------------------------------- what can be used


def test_a_pair_is_loaded(tmp_path: Path) -> None:
    """It knows when it expires."""
    loaded = load_certificate(*certificates.make(tmp_path, expires=LONG_AGO).paths)
    assert loaded.expires_ns == round(LONG_AGO.timestamp()) * 10**9


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("no certificate", r"tls_certificate: cannot read .*server\.pem: No such file or directory"),
        ("no key", r"tls_key: cannot read .*server\.key: No such file or directory"),
        ("a folder", r"tls_certificate: cannot read .*server\.pem: Is a directory"),
        ("rubbish", r"tls_certificate: .*server\.pem is no PEM certificate"),
        ("empty", r"tls_certificate: .*server\.pem is no PEM certificate"),
        ("the key in both", r"tls_certificate: .*server\.pem is no PEM certificate"),
        ("the certificate in both", r"tls_key: .*server\.key does not go with .*server\.pem"),
        ("another's key", r"tls_key: .*server\.key does not go with .*server\.pem: the key is another certificate's"),
        ("a passphrase", r"tls_key: .*server\.key has a passphrase, and nobody is there to type it"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(spoil: str, why: str, tmp_path: Path) -> None:
    """Which of the two keys of the configuration, which file, and why."""
    pair = certificates.make(tmp_path, passphrase=b"secret" if spoil == "a passphrase" else None)
    if spoil == "no certificate":
        pair.certificate.unlink()
    elif spoil == "no key":
        pair.key.unlink()
    elif spoil == "a folder":
        pair.certificate.unlink()
        pair.certificate.mkdir()
    elif spoil in {"rubbish", "empty"}:
        pair.certificate.write_bytes(b"\0\xff rubbish" if spoil == "rubbish" else b"")
    elif spoil == "the key in both":
        pair.certificate.write_bytes(pair.key.read_bytes())
    elif spoil == "the certificate in both":
        pair.key.write_bytes(pair.certificate.read_bytes())
    elif spoil == "another's key":
        pair.key.write_bytes(certificates.make(tmp_path, "other").key.read_bytes())
    with pytest.raises(BadCertificate, match=why) as caught:
        load_certificate(*pair.paths)
    assert "\n" not in str(caught.value)


def test_an_expired_certificate_is_complained_about(tmp_path: Path) -> None:
    """It is the clients who refuse it, so the operator has to be told."""
    with capture_logs() as logs:
        trio.run(_open, certificates.make(tmp_path, expires=LONG_AGO))
    assert [entry["event"] for entry in logs] == ["the certificate has expired: clients will not connect"]


async def _open(pair: Pair) -> None:
    tls_of(pair)
    await trio.lowlevel.checkpoint()


# ----------------------------------------------------------------------------------------------------------- sessions


async def test_clients_trade_over_tls(autojump_clock: MockClock, tmp_path: Path) -> None:
    """As they do without it; operators see from where."""
    pair = certificates.make(tmp_path)
    house = House(tls=tls_of(pair))
    async with house.open():
        client = await secured(house, pair, "198.51.100.7")
        assert code(await client.ask("session.logon", apiKey="alice")) == 0
        await client.send(*(place(number) for number in range(2_000)))
        assert codes_of(await client.replies(2_000)) == [0] * 2_000
        (session,) = house.sessions.list()
        assert session.peer.startswith("198.51.100.7:")


async def test_what_ends_a_session_is_read_before_its_end(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A client that is shown out reads why, then the end, though it sent what nobody read."""
    pair = certificates.make(tmp_path)
    house = House(tls=tls_of(pair))
    async with house.open():
        client = await secured(house, pair)
        await client.send({"id": 1, "method": "ping"}, b"x" * 200_000)
        assert codes_of(await client.rest()) == [0, codes.INVALID_JSON]
        assert house.sessions.counts.closed_connections[gateway_counts.LONG_LINE] == 1


async def test_a_stop_answers_what_is_in_flight(autojump_clock: MockClock, tmp_path: Path) -> None:
    """And says that it is over."""
    pair = certificates.make(tmp_path)
    house = House(tls=tls_of(pair))
    async with house.open(serve=False) as stop:
        client = await secured(house, pair)
        await client.send({"id": 1, "method": "depth", "params": {"symbol": "BTC-USDT"}})
        batch = await house.exchange.mailbox.receive()
        stop.set()
        await wait_all_tasks_blocked()
        house.exchange.answer(batch)
        assert codes_of(await client.rest()) == [0]


@pytest.mark.parametrize("start", [b"", b"\x16\x03\x01", b'{"id":1,"method":"ping"}\n', bytes(range(256)) * 300])
async def test_who_does_not_shake_hands_is_hung_up_on(start: bytes, autojump_clock: MockClock, tmp_path: Path) -> None:
    """At once when it is no TLS, and when its time is out; its place is free again, and the others notice nothing."""
    pair = certificates.make(tmp_path)
    patient = evolve(CONFIG.session, idle_seconds=3600.0, first_line_seconds=3600.0)
    house = House(evolve(CONFIG, max_connections=2, arrival_seconds=7, session=patient), tls=tls_of(pair))
    async with house.open():
        client = await secured(house, pair)
        for _ in range(3):
            began = trio.current_time()
            stranger = await house.client(greeted=False)
            await stranger.stream.send_all(start)
            while await stranger.stream.receive_some():
                pass
            assert trio.current_time() - began == (7 if len(start) < 5 else 0)
        assert house.sessions.counts.refused_connections[gateway_counts.HANDSHAKE] == 3
        assert code(await client.ask("ping")) == 0
        assert len(house.sessions) == 1
        await secured(house, pair)


async def test_one_too_many_is_closed_without_a_word(autojump_clock: MockClock, tmp_path: Path) -> None:
    """To say it would take a handshake."""
    pair = certificates.make(tmp_path)
    house = House(evolve(CONFIG, max_connections=1), tls=tls_of(pair))
    async with house.open():
        await secured(house, pair)
        assert await (await house.client(greeted=False)).rest() == []
        assert house.sessions.counts.refused_connections[gateway_counts.TOO_MANY] == 1


async def test_a_stop_does_not_wait_for_handshakes(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Who has not said anything yet is not owed an answer."""
    house = House(tls=tls_of(certificates.make(tmp_path)))
    async with house.open():
        stranger = await house.client(greeted=False)
        await wait_all_tasks_blocked()
        began = trio.current_time()
    assert trio.current_time() == began
    assert await stranger.rest() == []


async def test_a_client_that_does_not_read_does_not_hold_up_the_end(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The last word of TLS has a deadline too."""
    raw, theirs = memory_stream_pair()
    pair = certificates.make(tmp_path)
    stream = trio.SSLStream(raw, pair.trusted(), server_hostname=NAME)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.do_handshake)
        secured = await tls_of(pair).secure(theirs)
    theirs.send_stream.send_all_hook = trio.sleep_forever
    await secured.aclose()
    assert trio.current_time() == FAREWELL_SECONDS
    while await raw.receive_some():
        pass


# -------------------------------------------------------------------------------------------------------- replacing it


@asynccontextmanager
async def opened(pair: Pair) -> AsyncIterator[tuple[House, "trio.MemorySendChannel[int]"]]:
    """A house, and what asks for its certificate to be read again."""
    send, receive = trio.open_memory_channel[int](8)

    @contextmanager
    def asked() -> Iterator[AsyncIterator[int]]:
        yield receive

    tls, stop = tls_of(pair, hangups=asked), trio.Event()
    house = House(tls=tls)
    async with house.open(), trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: tls.run(stop, task_status=task_status))
        yield house, send
        stop.set()


async def test_a_new_certificate_is_for_new_connections(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Those that stand go on with the one before."""
    before = certificates.make(tmp_path, serial=1)
    async with opened(before) as (house, asked):
        old = await secured(house, before)
        after = certificates.make(tmp_path, serial=2)
        asked.send_nowait(signal.SIGHUP)
        await wait_all_tasks_blocked()
        new = await secured(house, after)
        assert (serial_of(old), serial_of(new)) == (1, 2)
        assert code(await old.ask("ping")) == code(await new.ask("ping")) == 0


async def test_a_bad_new_certificate_changes_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It is said and counted; the next good one is taken."""
    before = certificates.make(tmp_path, serial=1)
    trusted = before.trusted()
    async with opened(before) as (house, asked):
        good = before.key.read_bytes()
        before.key.write_bytes(b"rubbish")
        with capture_logs() as logs:
            asked.send_nowait(signal.SIGHUP)
            await wait_all_tasks_blocked()
        assert [entry["event"] for entry in logs] == ["the new certificate cannot be used; the one before stays in use"]
        assert str(before.key) in logs[0]["reason"]
        raw = house.memory.connect(house.addresses[-1])
        await trio.SSLStream(raw, trusted, server_hostname=NAME).do_handshake()
        before.key.write_bytes(good)
        asked.send_nowait(signal.SIGHUP)
        await wait_all_tasks_blocked()
        tls = house.tls
        assert tls is not None
        assert (tls.reloads, tls.failed_reloads) == (1, 1)


async def test_a_hangup_is_the_processs_own_signal(tmp_path: Path) -> None:
    """SIGHUP, for as long as the block lasts."""
    with hangups() as asked:
        os.kill(os.getpid(), signal.SIGHUP)
        with trio.fail_after(10):
            assert await anext(aiter(asked)) == signal.SIGHUP
