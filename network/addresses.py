"""What the network asks of an address: whose it is, how far it is, and who counts as one place.

Texts are read and written by ``hanse.core.model.addresses``, which works without a network too;
here stand the groups in which addresses are counted.  Many Peers at one place may be one person:
a bound for each place is what a stranger with many keys runs into.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

from hanse.core.model.addresses import (
    BadAddress,
    PeerAddress,
    Reach,
    is_told_by,
    parse_address,
    parse_peer_id,
    peer_id_text,
    reach_of,
    read_address,
)

__all__ = [
    "BadAddress",
    "PeerAddress",
    "Reach",
    "is_told_by",
    "network_key",
    "parse_address",
    "parse_peer_id",
    "peer_id_text",
    "reach_of",
    "read_address",
    "region_key",
]


def network_key(address: PeerAddress) -> str:
    """Name what is counted as one place: an IPv4 address, the /64 of an IPv6 one, a name."""
    return _prefix(address, 32, 64)


def region_key(address: PeerAddress) -> str:
    """Name what one owner could easily have all of: an IPv4 /16, an IPv6 /32, a name."""
    return _prefix(address, 16, 32)


def _prefix(address: PeerAddress, ip4_bits: int, ip6_bits: int) -> str:
    if address.is_name:
        return address.host
    ip = ip_address(address.host)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    bits = ip6_bits if isinstance(ip, IPv6Address) else ip4_bits
    return str(ip_network((ip, bits), strict=False))
