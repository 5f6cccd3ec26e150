"""Which addresses a recording may be fetched from: the public internet, and what the operator named."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_NOT_PUBLIC = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
"""IPv4 that is not global unicast, as IANA registers it. Written out, because `is_global` differs between versions of
Python and takes multicast and the relays of 6to4 for global."""
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that is given out. Site-local, IPv4-compatible and local NAT64 addresses lie outside."""
_NOT_PUBLIC_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""What lies inside and is something else: Teredo and other special purposes, documentation, 6to4, documentation."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 as networks without IPv4 see it; its last 32 bits are the address that is meant."""


def plain(address: Address) -> Address:
    """The IPv4 address that an IPv4-mapped one is; any other as it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def may_reach(address: Address, networks: Collection[Network]) -> bool:
    """Whether `address` is public or in one of `networks`. One with a zone (fe80::1%eth0) never is."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    meant = plain(address)
    return _is_public(meant) or any(meant in network for network in networks)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _NOT_PUBLIC)
    if address in _NAT64:
        return _is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    inside = address in _GLOBAL_UNICAST and address.is_global
    return inside and not any(address in network for network in _NOT_PUBLIC_6)
