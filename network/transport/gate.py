"""Who may connect at all: counted by the place he comes from, before a byte of his is read.

* At most 8 connections of one IPv4 address or one IPv6 /64, 32 of one on our own network.
* An eighth of all connections is kept for Peers we choose ourselves: strangers who connect first
  do not decide alone whom we hear of.
* Whoever is denied, by address or by key, is neither let in nor dialled.

The gate counts sockets, also those on which nobody has said who he is yet.  Why somebody is
denied is not known here.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from hanse.core.limits import (
    CONNECTIONS_MAX,
    CONNECTIONS_PER_ADDRESS_MAX,
    CONNECTIONS_PER_LAN_ADDRESS_MAX,
)
from hanse.network.addresses import Reach, reach_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address

    from hanse.core.model.ids import AuthorKey


class Gate:
    """Counts who is connected, and says who may be."""

    def __init__(
        self,
        *,
        connections: int = CONNECTIONS_MAX,
        per_address: int = CONNECTIONS_PER_ADDRESS_MAX,
        per_lan_address: int = CONNECTIONS_PER_LAN_ADDRESS_MAX,
        is_denied_address: Callable[[str], bool] = lambda _: False,
        is_denied_device: Callable[[AuthorKey], bool] = lambda _: False,
    ) -> None:
        """Ask the two predicates for each connection; they get an IP or DNS name, and a key."""
        self.connections = connections
        self._per_address = per_address
        self._per_lan_address = per_lan_address
        self._is_denied_address = is_denied_address
        self._is_denied_device = is_denied_device
        self._inside: Counter[str] = Counter()
        self.refused = 0  # how many were turned away, for whoever asks

    def may_dial(self, host: str) -> bool:
        """Say whether an IP address or DNS name may be dialled."""
        return not self._is_denied_address(host)

    def may_speak(self, device: AuthorKey) -> bool:
        """Say whether a Device may be connected, whoever dialled."""
        return not self._is_denied_device(device)

    def enter(self, host: str) -> bool:
        """Count a connection that comes from an IP address, or say that it may not come in."""
        place, most = self._place(host)
        inbound = self.connections - self.connections // 8
        if (
            self._is_denied_address(host)
            or self._inside[place] >= most
            or self._inside.total() >= inbound
        ):
            self.refused += 1
            return False
        self._inside[place] += 1
        return True

    def leave(self, host: str) -> None:
        """Count a connection that ended, which ``enter`` had let in."""
        place, _ = self._place(host)
        self._inside[place] -= 1
        if not self._inside[place]:
            del self._inside[place]

    @property
    def inside(self) -> int:
        """Return how many connections that came to us are open."""
        return self._inside.total()

    def _place(self, host: str) -> tuple[str, int]:
        ip = _ip(host)
        if ip is None:
            return host, self._per_address
        is_near = reach_of(ip) in {Reach.LOOPBACK, Reach.LAN}
        most = self._per_lan_address if is_near else self._per_address
        if isinstance(ip, IPv6Address) and not is_near:
            return str(ip_network((ip, 64), strict=False)), most
        return str(ip), most


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


def is_near(host: str) -> bool:
    """Say whether an IP address is of this machine or of the network it stands in."""
    ip = _ip(host)
    return ip is not None and reach_of(ip) in {Reach.LOOPBACK, Reach.LAN}
