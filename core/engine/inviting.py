"""An invitation: how one person tells another where his Device is, as link, QR code or file.

    hanse:peer/PEER_ID?a=ADDRESS&a=ADDRESS&i=IDENTITY&n=NAME

* ``PEER_ID`` is the Device key as libp2p writes it; ``a`` a multiaddr without that key, one to
  eight times, the best first; ``i`` the Identity (base32, as in ``hanse:id:``) and ``n`` a name,
  both at most once.  Values are percent-encoded where the link would read otherwise.
* At most 1 KiB, so that it fits a QR code and a line of a message.  A ``.hanse-peer`` file is the
  link and a line end; a plain multiaddr that ends in ``/p2p/PEER_ID`` is an invitation too.
* Reading is strict: an unknown or repeated part is an error, nothing is guessed.
* Nothing in it is signed and nothing is believed: the key must answer, and the Identity must be
  borne out by its Delegation.

Whether anybody answers there is not known here.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from hanse.core.durable import write_durably
from hanse.core.errors import FileTooLarge, FileUnreadable, WrongUse
from hanse.core.ledger.codec import is_text
from hanse.core.limits import (
    INVITATION_SIZE_BYTES_MAX,
    PEER_ADDRESSES_MAX,
    PEER_NAME_CHARACTERS_MAX,
)
from hanse.core.model.addresses import (
    BadAddress,
    PeerAddress,
    parse_address,
    parse_peer_id,
    peer_id_text,
)
from hanse.core.model.ids import BadId, identity_text, parse_identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import segno

    from hanse.core.model.ids import AuthorKey, IdentityId

LINK_PREFIX: Final = "hanse:peer/"
FILE_SUFFIX: Final = ".hanse-peer"

_SHOWN: Final = 80  # characters of a wrong text that an error repeats
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ID_PREFIX: Final = identity_text(b"")
_PLAIN_IN_ADDRESS: Final = "/:"


class BadInvitation(WrongUse):
    """A text is no invitation; ``reason`` is a stable word.

    The words: ``too_long``, ``form``, ``key``, ``no_key``, ``address``, ``no_address``,
    ``addresses``, ``part``, ``twice``, ``identity``, ``name``.
    """

    code = "peer.bad_invitation"
    text = "no invitation of a peer, {reason}: {found}"
    fields = ("found", "reason")


@dataclass(frozen=True, slots=True)
class Invitation:
    """Whom to dial, where, and who he says he is; ``addresses`` lead to ``device``."""

    device: AuthorKey
    addresses: tuple[PeerAddress, ...]
    identity: IdentityId | None = None
    name: str = ""

    @property
    def link(self) -> str:
        """Return it as a link; longer than 1 KiB is our own bug."""
        parts = [f"a={quote(place.place, safe=_PLAIN_IN_ADDRESS)}" for place in self.addresses]
        if self.identity is not None:
            parts.append(f"i={identity_text(self.identity).removeprefix(_ID_PREFIX)}")
        if self.name:
            parts.append(f"n={quote(self.name, safe='')}")
        link = f"{LINK_PREFIX}{peer_id_text(self.device)}?{'&'.join(parts)}"
        assert len(link) <= INVITATION_SIZE_BYTES_MAX
        return link


def read_invitation(text: str) -> Invitation:
    """Read a link, the text of a file, or a multiaddr with its key.

    Raises ``BadInvitation``, or ``BadAddress`` for a plain multiaddr.
    """
    stripped = text.strip()
    if len(stripped.encode("utf-8", "surrogatepass")) > INVITATION_SIZE_BYTES_MAX:
        raise _bad(stripped, "too_long")
    if stripped.startswith("/"):
        address = parse_address(stripped)
        if address.device is None:
            raise _bad(stripped, "no_key")
        return Invitation(address.device, (address,))
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise _bad(stripped, "form")
    peer_id, mark, query = stripped.removeprefix(LINK_PREFIX).partition("?")
    if not stripped.startswith(LINK_PREFIX) or not mark or "#" in query:
        raise _bad(stripped, "form")
    try:
        device = parse_peer_id(peer_id)
    except BadId as error:
        raise _bad(stripped, "key") from error
    return _with_parts(device, query, stripped)


def make_invitation(
    device: AuthorKey,
    addresses: Sequence[PeerAddress],
    identity: IdentityId | None = None,
    name: str = "",
) -> Invitation:
    """Make an invitation of the best addresses, as many as fit into 1 KiB."""
    fitting = [address.of(device) for address in addresses[:PEER_ADDRESSES_MAX]]
    while len(fitting) > 1 and _size(device, fitting, identity, name) > INVITATION_SIZE_BYTES_MAX:
        fitting.pop()
    return Invitation(device, tuple(fitting), identity, name)


def read_invitation_file(path: Path) -> Invitation:
    """Read a ``.hanse-peer`` file.

    Raises ``FileUnreadable``, ``FileTooLarge`` or ``BadInvitation``.
    """
    most = INVITATION_SIZE_BYTES_MAX + len("\r\n")
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
            if len(raw) > most:
                raise FileTooLarge(path=path, found=path.stat().st_size, most=most)
    except OSError as error:
        raise FileUnreadable(path=path, detail=error.strerror or str(error)) from error
    try:
        return read_invitation(raw.decode("ascii"))
    except UnicodeDecodeError as error:
        raise _bad(path.name, "form") from error


def write_invitation_file(path: Path, invitation: Invitation) -> None:
    """Write a ``.hanse-peer`` file in place of what was there."""
    write_durably(path, f"{invitation.link}\n".encode())


def qr_text(invitation: Invitation) -> str:
    """Return the QR code of the link for a terminal, two modules to a character."""
    drawn = io.StringIO()
    _qr(invitation).terminal(drawn, compact=True)
    return drawn.getvalue()


def qr_svg(invitation: Invitation) -> bytes:
    """Return the QR code of the link as a standalone SVG picture."""
    return _drawn(invitation, "svg", scale=4)


def qr_png(invitation: Invitation) -> bytes:
    """Return the QR code of the link as a PNG picture, four pixels to a module."""
    return _drawn(invitation, "png", scale=4)


def _with_parts(device: AuthorKey, query: str, whole: str) -> Invitation:
    addresses: list[PeerAddress] = []
    identity: IdentityId | None = None
    name: str | None = None
    for part in query.split("&"):
        key, mark, value = part.partition("=")
        if not mark or key not in {"a", "i", "n"}:
            raise _bad(whole, "part")
        text = _plain(value, whole)
        if key == "a":
            addresses.append(_address(device, text, whole))
        elif key == "i":
            if identity is not None:
                raise _bad(whole, "twice")
            identity = _identity(text, whole)
        else:
            if name is not None:
                raise _bad(whole, "twice")
            name = _name(text, whole)
    if not addresses:
        raise _bad(whole, "no_address")
    if len(addresses) > PEER_ADDRESSES_MAX:
        raise _bad(whole, "addresses")
    if len(set(addresses)) < len(addresses):
        raise _bad(whole, "twice")
    return Invitation(device, tuple(addresses), identity, name or "")


def _plain(value: str, whole: str) -> str:
    if _BROKEN_ESCAPE.search(value):
        raise _bad(whole, "form")
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError as error:
        raise _bad(whole, "form") from error


def _address(device: AuthorKey, text: str, whole: str) -> PeerAddress:
    try:
        address = parse_address(text)
    except BadAddress as error:
        raise _bad(whole, "address") from error
    if address.device not in {None, device} or address.relay == device:
        raise _bad(whole, "address")
    return address.of(device)


def _identity(text: str, whole: str) -> IdentityId:
    try:
        return parse_identity(_ID_PREFIX + text)
    except BadId as error:
        raise _bad(whole, "identity") from error


def _name(text: str, whole: str) -> str:
    is_fitting = 0 < len(text) <= PEER_NAME_CHARACTERS_MAX and text == text.strip()
    if not is_fitting or not is_text(text, multiline=False):
        raise _bad(whole, "name")
    return text


def _size(
    device: AuthorKey, addresses: Sequence[PeerAddress], identity: IdentityId | None, name: str
) -> int:
    places = sum(len("&a=") + len(quote(it.place, safe=_PLAIN_IN_ADDRESS)) for it in addresses)
    rest = (0 if identity is None else len("&i=") + 52) + len("&n=") + len(quote(name, safe=""))
    return len(LINK_PREFIX) + len(peer_id_text(device)) + places + rest


def _qr(invitation: Invitation) -> segno.QRCode:
    import segno  # noqa: PLC0415  few commands draw, and none should wait for it

    return segno.make_qr(invitation.link, error="l")


def _drawn(invitation: Invitation, kind: str, *, scale: int) -> bytes:
    drawn = io.BytesIO()
    _qr(invitation).save(drawn, kind=kind, scale=scale)
    return drawn.getvalue()


def _bad(found: str, reason: str) -> BadInvitation:
    return BadInvitation(found=found[:_SHOWN], reason=reason)
