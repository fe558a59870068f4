"""Which of this machine's addresses others may try, where we listen at all of them.

``0.0.0.0`` and ``::`` are addresses to listen at, not to be found at.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import psutil

from hanse.network.addresses import Reach, reach_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_EVERYWHERE: Final = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}  # noqa: S104  read only


def reachable(bound: Sequence[str]) -> tuple[str, ...]:
    """Return multiaddr texts that can be dialled, for those that sockets are bound to.

    The machine's own loopback stands for it only where it has no other address.
    """
    found: dict[str, None] = {}
    for text in bound:
        _, kind, host, transport, port, *rest = text.split("/")
        hosts = _hosts(_EVERYWHERE[host]) if host in _EVERYWHERE else [host]
        for each in hosts:
            found["/".join(["", kind, each, transport, port, *rest])] = None
    return tuple(found)


def has_ipv6() -> bool:
    """Say whether this machine can listen at IPv6 addresses at all."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


def _hosts(family: int) -> list[str]:
    near, far = [], []
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family != family or "%" in address.address:
                continue  # a scope is this machine's own name for a wire
            reach = reach_of(ip_address(address.address))
            if reach is Reach.LOOPBACK:
                near.append(address.address)
            elif reach is not None:
                far.append(address.address)
    return far or near
