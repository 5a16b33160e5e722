"""Addresses and networks of addresses: who is meant by them. Pure."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

# The keys that log on again and again; networks are not parsed anew for each of their logons.
KEYS_REMEMBERED = 1_000


def address_of(host: str) -> IpAddress:
    """The address that a host's text stands for: without the zone, and an IPv4 one where IPv6 only wraps it.

    Raises:
        ValueError: it is no address.
    """
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def network_of(text: str) -> IpNetwork:
    """A network, or the one of a single address.

    Raises:
        ValueError: it is none, has bits behind its prefix, or is one of IPv4 addresses that IPv6 wraps.
    """
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError(f"{text!r} wraps IPv4 addresses: write them as such")
    return network


@lru_cache(KEYS_REMEMBERED)
def networks_of(text: str) -> tuple[IpNetwork, ...]:
    """Networks with commas between."""
    return tuple(network_of(part) for part in text.split(",")) if text else ()


def is_in(host: str, networks: Iterable[IpNetwork]) -> bool:
    """Whether a host is in one of these networks; what is no address is in none."""
    try:
        address = address_of(host)
    except ValueError:
        return False
    return any(address in network for network in networks)
