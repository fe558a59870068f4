"""Where a Peer may be reached: peer ids and multiaddr texts, checked and written one way.

* A peer id is the Device key in libp2p's clothes: ``00 24 08 01 12 20`` and 32 bytes, in base58btc.
* Spoken is TCP on an IP or a DNS name, perhaps over one relay; any other multiaddr is refused.
* An address has a class: no Peer may send us to a place nearer to us than he is himself, so a
  stranger cannot point our dialler at this machine or at the network of this house.
* An address proves nothing; only the key that answers does.

Nothing is resolved or dialled here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import IntEnum, unique
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from hanse.core.errors import WrongUse
from hanse.core.limits import MULTIADDR_CHARACTERS_MAX
from hanse.core.model.ids import ID_SIZE_BYTES, AuthorKey, BadId

if TYPE_CHECKING:
    from ipaddress import IPv4Network

PEER_ID_PREFIX: Final = bytes.fromhex("002408011220")  # identity multihash of a protobuf: Ed25519
EXPECTED_PEER_ID: Final = "a peer id (12D3KooW...)"

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PEER_ID_CHARACTERS: Final = 52  # of 38 bytes that begin with one zero byte
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_PORT_LAST: Final = 65_535
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
_NAMES: Final = frozenset({"dns", "dns4", "dns6"})
_CIRCUIT: Final = "p2p-circuit"


class BadAddress(WrongUse):
    """A text is no address Hanse can dial; ``reason`` is a stable word.

    The words: ``too_long``, ``form``, ``transport``, ``host``, ``port``, ``key``, ``nowhere``.
    """

    code = "peer.bad_address"
    text = "{found} is no address of a peer: {reason}"
    fields = ("found", "reason")


@unique
class Reach(IntEnum):
    """How far a place is: the larger, the further."""

    LOOPBACK = 0
    LAN = 1  # private, link-local, shared by a provider
    PUBLIC = 2


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """One place to dial; ``kind`` is ip4, ip6, dns, dns4 or dns6.

    With ``relay`` it is the place of that relay, which passes on to ``device``.
    """

    kind: str
    host: str
    port: int
    device: AuthorKey | None = None
    relay: AuthorKey | None = None

    @property
    def place(self) -> str:
        """Return the multiaddr text without the key of whom it leads to."""
        place = f"/{self.kind}/{self.host}/tcp/{self.port}"
        if self.relay is None:
            return place
        return f"{place}/p2p/{peer_id_text(self.relay)}/{_CIRCUIT}"

    @property
    def text(self) -> str:
        """Return the whole multiaddr text."""
        return (
            self.place if self.device is None else f"{self.place}/p2p/{peer_id_text(self.device)}"
        )

    @property
    def is_name(self) -> bool:
        """Say whether a name must be looked up first."""
        return self.kind in _NAMES

    @property
    def reach(self) -> Reach | None:
        """Return how far the place is; ``None`` for a name, which may lead anywhere."""
        return None if self.is_name else reach_of(ip_address(self.host))

    def of(self, device: AuthorKey) -> PeerAddress:
        """Return the same place, leading to ``device``."""
        return replace(self, device=device)


def parse_address(text: str) -> PeerAddress:
    """Read a multiaddr text, or raise ``BadAddress``."""
    if len(text) > MULTIADDR_CHARACTERS_MAX:
        raise _bad(text, "too_long")
    empty, *parts = text.split("/")
    if empty or len(parts) < 4:
        raise _bad(text, "form")
    kind, host, transport, port, *rest = parts
    if transport != "tcp":
        raise _bad(text, "transport")
    if not _PORT.fullmatch(port) or int(port) > _PORT_LAST:
        raise _bad(text, "port")
    device, relay = _keys(text, rest)
    return PeerAddress(kind, _host(text, kind, host), int(port), device, relay)


def read_address(text: str) -> PeerAddress | None:
    """Read what a Peer says; ``None`` for what Hanse cannot dial."""
    try:
        return parse_address(text)
    except BadAddress:
        return None


def is_told_by(address: PeerAddress, teller: Reach) -> bool:
    """Say whether a Peer that is ``teller`` far away may send us to ``address``.

    A name may lead to this very machine, so none is taken from anybody but the person.
    """
    reach = address.reach
    return reach is not None and reach >= teller


def reach_of(ip: IPv4Address | IPv6Address) -> Reach | None:
    """Return how far an IP address is; ``None`` where nobody can be."""
    if isinstance(ip, IPv6Address) and (inner := _embedded(ip)) is not None:
        return reach_of(inner)
    if ip.is_unspecified or ip.is_multicast or any(ip in network for network in _NOWHERE):
        return None
    if ip.is_loopback:
        return Reach.LOOPBACK
    if any(ip in network for network in _LAN):
        return Reach.LAN
    return Reach.PUBLIC


def peer_id_text(device: AuthorKey) -> str:
    """Write a Device key as libp2p shows it: ``12D3KooW...``."""
    number, text = int.from_bytes(PEER_ID_PREFIX + device, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = _BASE58[rest] + text
    return "1" + text  # for the one zero byte in front


def parse_peer_id(text: str) -> AuthorKey:
    """Read ``12D3KooW...``, or raise ``BadId``."""
    number = 0
    if len(text) == _PEER_ID_CHARACTERS and all(letter in _BASE58 for letter in text):
        for letter in text:
            number = number * 58 + _BASE58.index(letter)
    size = len(PEER_ID_PREFIX) + ID_SIZE_BYTES
    raw = number.to_bytes(size, "big") if number.bit_length() <= 8 * size else b""
    device = AuthorKey(raw.removeprefix(PEER_ID_PREFIX))
    if len(device) != ID_SIZE_BYTES or peer_id_text(device) != text:
        raise BadId(found=text, expected=EXPECTED_PEER_ID)
    return device


_LAN: Final = tuple(
    ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("100.64.0.0/10", "198.18.0.0/15", "192.0.0.0/24", "fc00::/7", "fe80::/10", "fec0::/10"),
    )
)
_NOWHERE: Final[tuple[IPv4Network | IPv6Network, ...]] = (
    ip_network("0.0.0.0/8"),
    ip_network("240.0.0.0/4"),
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address a gateway would turn this one into."""
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


def _host(text: str, kind: str, host: str) -> str:
    if kind in _NAMES:
        name = host.lower()
        if not _NAME.fullmatch(name):
            raise _bad(text, "host")
        return name
    if kind not in {"ip4", "ip6"}:
        raise _bad(text, "form")
    try:
        ip = IPv4Address(host) if kind == "ip4" else IPv6Address(host)
    except ValueError as error:
        raise _bad(text, "host") from error
    if isinstance(ip, IPv6Address) and ip.scope_id is not None:  # another machine's own name
        raise _bad(text, "host")
    if reach_of(ip) is None:
        raise _bad(text, "nowhere")
    return str(ip)


def _keys(text: str, rest: list[str]) -> tuple[AuthorKey | None, AuthorKey | None]:
    """Read what follows the port: nothing, a key, or a relay and perhaps the key behind it."""
    match rest:
        case []:
            return None, None
        case ["p2p", device]:
            return _key(text, device), None
        case ["p2p", relay, circuit] if circuit == _CIRCUIT:
            return None, _key(text, relay)
        case ["p2p", relay, circuit, "p2p", device] if circuit == _CIRCUIT:
            behind, over = _key(text, device), _key(text, relay)
            if behind == over:
                raise _bad(text, "key")
            return behind, over
        case _:
            raise _bad(text, "transport")


def _key(text: str, peer_id: str) -> AuthorKey:
    try:
        return parse_peer_id(peer_id)
    except BadId as error:
        raise _bad(text, "key") from error


def _bad(text: str, reason: str) -> BadAddress:
    return BadAddress(found=text[:MULTIADDR_CHARACTERS_MAX], reason=reason)
