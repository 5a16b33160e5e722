"""The PROXY protocol, versions 1 and 2: how a balancer says whose connection it passes on. Pure.

Before anything else a balancer sends one header: a line of text (`PROXY TCP4 203.0.113.7 192.0.2.1 50000 7700`), or a
binary one. Source: the specification of HAProxy, 'The PROXY protocol, versions 1 & 2', sections 2.1 and 2.2.
"""

import re
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from attrs import frozen

# Version 1: the longest line there may be, with its end.
MAX_LINE_BYTES: Final = 107
# Version 2 has room for more behind the addresses (names, certificates): a page of that is enough.
MAX_BINARY_BYTES: Final = 4_096

_WORD: Final = b"PROXY "
_LINE: Final = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]{2,39}) ([0-9A-Fa-f.:]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})")

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FRONT: Final = struct.Struct(">12sBBH")
_IPV4: Final = struct.Struct(">4s4sHH")
_IPV6: Final = struct.Struct(">16s16sHH")
_UNIX_BYTES: Final = 216
# The first byte behind the signature: version 2, and what the header is for.
_LOCAL, _PROXY = 0x20, 0x21
# The second one: of which family the addresses are, over a stream.
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31

# What the lines of a header look like to whoever reads lines and leaves out blank ones.
_FIRST_LINES: Final = (_WORD, b"\0\r")


class BadHeader(ValueError):  # noqa: N818 - the sender's mistake, told in a sentence
    """These bytes do not begin with a header; the message says what is wrong with them."""


@frozen
class ProxyHeader:
    """What a header says."""

    client: tuple[str, int] | None
    """Host and port of whoever the balancer passes on; None where it speaks for itself, or does not know."""
    size: int
    """Its bytes: what follows is the client's."""


def parse(data: bytes) -> ProxyHeader | None:
    """The header that the data begins with; None while it may be one that has not come in whole.

    Raises:
        BadHeader: it is none, whatever follows.
    """
    if data.startswith(_SIGNATURE[: len(data)]):
        return _parse_binary(data) if len(data) >= _FRONT.size else None
    if data.startswith(_WORD[: len(data)]):
        return _parse_line(data)
    raise BadHeader("it begins neither as version 1 nor as version 2 of the PROXY protocol does")


def looks_like_header(first_line: bytes) -> bool:
    """Whether the first line of a connection that is not blank is a header's."""
    return first_line.startswith(_FIRST_LINES)


# Version 1 ------------------------------------------------------------------------------------------------------------


def _parse_line(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:MAX_LINE_BYTES].partition(b"\r\n")
    if not end:
        if len(data) >= MAX_LINE_BYTES:
            raise BadHeader(f"its line is longer than {MAX_LINE_BYTES} bytes")
        return None
    size = len(line) + len(end)
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader(None, size)
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadHeader("its line is not of the form PROXY TCP4|TCP6 FROM TO PORT PORT")
    family, *hosts, port, to_port = (part.decode() for part in found.groups())
    host, _ = (_host(text, family) for text in hosts)
    _port(to_port)
    return ProxyHeader((host, _port(port)), size)


def _host(text: str, family: str) -> str:
    try:
        return str(IPv4Address(text) if family == "TCP4" else IPv6Address(text))
    except ValueError:
        raise BadHeader(f"{text!r} is no address of {family}") from None


def _port(text: str) -> int:
    port = int(text)
    if port > 65_535 or text != str(port):
        raise BadHeader(f"{text!r} is no port")
    return port


# Version 2 ------------------------------------------------------------------------------------------------------------


def _parse_binary(data: bytes) -> ProxyHeader | None:
    _, command, family, length = _FRONT.unpack_from(data)
    size = _FRONT.size + length
    if command not in (_LOCAL, _PROXY):
        raise BadHeader(f"version and command are 0x{command:02x}, and known are 0x{_LOCAL:x} and 0x{_PROXY:x}")
    if size > MAX_BINARY_BYTES:
        raise BadHeader(f"it has {size} bytes, and {MAX_BINARY_BYTES} are taken")
    if command == _PROXY:
        _check_length(family, length)
    if len(data) < size:
        return None
    return ProxyHeader(_client(data, family) if command == _PROXY else None, size)


def _check_length(family: int, length: int) -> None:
    least = {_UNSPECIFIED: 0, _TCP4: _IPV4.size, _TCP6: _IPV6.size, _UNIX: _UNIX_BYTES}.get(family)
    if least is None:
        raise BadHeader(f"the family of its addresses is 0x{family:02x}, which is none of a stream")
    if length < least:
        raise BadHeader(f"{length} bytes are no addresses of family 0x{family:02x}, which take {least}")


def _client(data: bytes, family: int) -> tuple[str, int] | None:
    if family == _TCP4:
        host, _, port, _ = _IPV4.unpack_from(data, _FRONT.size)
        return str(IPv4Address(host)), port
    if family == _TCP6:
        host, _, port, _ = _IPV6.unpack_from(data, _FRONT.size)
        return str(IPv6Address(host)), port
    return None
