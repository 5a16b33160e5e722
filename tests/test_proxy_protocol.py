"""The PROXY protocol's headers: what they say, that they are taken in any pieces, and that nothing else is."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.proxy_protocol import MAX_BINARY_BYTES, MAX_LINE_BYTES, BadHeader, ProxyHeader, looks_like_header, parse
from actors.reading import Lines
from tests.counts import SOAK

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
ADDRESSES = st.ip_addresses()
PORTS = st.integers(0, 65_535)


def line(host: str, port: int, to: str = "") -> bytes:
    """A header of version 1."""
    family = "TCP6" if ":" in host else "TCP4"
    return f"PROXY {family} {host} {to or host} {port} 7700\r\n".encode()


def binary(host: str, port: int, more: bytes = b"", command: int = 0x21) -> bytes:
    """A header of version 2, with more behind the addresses."""
    packed = ip_address(host).packed
    body = packed + packed + struct.pack(">HH", port, 7700) + more
    return SIGNATURE + bytes([command, 0x11 if len(packed) == 4 else 0x21]) + struct.pack(">H", len(body)) + body


HEADERS = st.one_of(
    st.builds(lambda host, port: line(str(host), port), ADDRESSES, PORTS),
    st.builds(lambda host, port, more: binary(str(host), port, more), ADDRESSES, PORTS, st.binary(max_size=300)),
    st.sampled_from(
        [
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n",
            SIGNATURE + b"\x20\x00\x00\x00",
            SIGNATURE + b"\x21\x00\x00\x00",
            SIGNATURE + b"\x20\x11\x00\x0c" + bytes(12),
            SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
        ]
    ),
)


@given(ADDRESSES, PORTS, st.binary(max_size=50))
def test_both_versions_say_who_it_is(address: object, port: int, rest: bytes) -> None:
    """Host and port of the client, and where the client's own bytes begin."""
    host = str(address)
    for data in (line(host, port), binary(host, port), binary(host, port, b"\x04\x00\x01x")):
        assert parse(data + rest) == ProxyHeader((host, port), len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
        SIGNATURE + b"\x20\x00\x00\x00",
        SIGNATURE + b"\x20\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x20\xff\x00\x02ab",
        SIGNATURE + b"\x21\x00\x00\x00",
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
    ],
)
def test_a_balancer_may_speak_for_itself(data: bytes) -> None:
    """LOCAL and UNKNOWN name nobody, nor do unspecified and Unix addresses; what they carry is passed over."""
    assert parse(data + b"{}\n") == ProxyHeader(None, len(data))


@given(HEADERS, st.binary(max_size=20))
def test_a_header_may_come_in_any_pieces(data: bytes, rest: bytes) -> None:
    """While it is not whole it is not judged, and what follows it makes no difference."""
    header = parse(data)
    assert header is not None
    assert header.size == len(data)
    for size in range(len(data)):
        assert parse(data[:size]) is None
    assert parse(data + rest) == header


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "begins neither"),
        (b"PROXY\t", "begins neither"),
        (b"\r\n\r\n\x00\r\nQUIX", "begins neither"),
        (b"proxy TCP4", "begins neither"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", "not of the form"),
        (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "not of the form"),
        (b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", "not of the form"),
        (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "not of the form"),
        (b"PROXY UNKNOWNS\r\n", "not of the form"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 -2\r\n", "not of the form"),
        (b"PROXY TCP4 192.0.2.1\n192.0.2.2 1 2\r\n", "not of the form"),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 \u0661 2\r\n".encode(), "not of the form"),
        (b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", "'192.0.2.256' is no address of TCP4"),
        (b"PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n", "'2001:db8::1' is no address of TCP4"),
        (b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "'192.0.2.1' is no address of TCP6"),
        (b"PROXY TCP4 192.0.2.1 192.0.2 1 2\r\n", "'192.0.2' is no address of TCP4"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "'65536' is no port"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "'65536' is no port"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "'01' is no port"),
        (b"PROXY " + b"x" * MAX_LINE_BYTES, "longer than 107 bytes"),
        (b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n", "longer than 107 bytes"),
        (SIGNATURE + b"\x11\x11\x00\x0c", "version and command are 0x11"),
        (SIGNATURE + b"\x22\x11\x00\x0c", "version and command are 0x22"),
        (SIGNATURE + b"\x21\x12\x00\x0c", "family of its addresses is 0x12"),
        (SIGNATURE + b"\x21\x41\x00\x0c", "family of its addresses is 0x41"),
        (SIGNATURE + b"\x21\x11\x00\x0b", "11 bytes are no addresses"),
        (SIGNATURE + b"\x21\x21\x00\x23", "35 bytes are no addresses"),
        (SIGNATURE + b"\x21\x31\x00\xd7", "215 bytes are no addresses"),
        (SIGNATURE + b"\x20\x00\xff\xff", f"65551 bytes, and {MAX_BINARY_BYTES} are taken"),
    ],
)
def test_anything_else_is_refused(data: bytes, why: str) -> None:
    """As soon as it is clear, in words for the operator."""
    with pytest.raises(BadHeader, match=why):
        parse(data)


@settings(max_examples=20_000 if SOAK else 500)
@given(HEADERS, st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4), st.binary())
def test_no_bytes_break_the_parser(data: bytes, changes: list[tuple[int, int]], rest: bytes) -> None:
    """Whatever comes is a header with an address and a port, not one yet, or refused; never more than it looked at."""
    changed = bytearray(data + rest)
    for place, value in changes:
        changed[place % len(changed)] = value
    try:
        header = parse(bytes(changed))
    except BadHeader:
        return
    if header is None:
        assert len(changed) < MAX_BINARY_BYTES
        return
    assert 0 < header.size <= len(changed)
    assert parse(bytes(changed[: header.size])) == header
    if header.client is not None:
        host, port = header.client
        assert str(ip_address(host)) == host
        assert 0 <= port <= 65_535


@given(HEADERS, st.integers(1, 20))
def test_a_header_is_known_for_one_by_its_first_line(data: bytes, size: int) -> None:
    """Also by who reads lines, in pieces, and leaves out blank ones; no request begins so."""
    lines = Lines()
    first = next(line for start in range(0, len(data), size) for line in lines.feed(data[start : start + size]))
    assert looks_like_header(first)
    assert not looks_like_header(b'{"id":1,"method":"ping"}')
