"""The table of kinds: what a Body of each holds, who signs it, and whether it can be erased.

* A kind is a name and a version.  New meaning is a new version; a version never
  gets or loses a field.
* A Body that does not fit its kind is void, its Header is not.
* An unknown kind is not an error of its Author: it is kept and passed on.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hanse.core.errors import BadShape, RejectedEntry
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.kinds import certification, market, people, private
from hanse.core.ledger.kinds.fields import Body, PrivateBody, PublicBody, check_values
from hanse.core.limits import BODY_SIZE_BYTES_MAX

_KIND: Final = re.compile(r"[a-z][a-z-]{1,30}/[1-9][0-9]{0,2}")


class UnknownKind(RejectedEntry):
    """No kind of this name and version is known here."""

    code = "entry.unknown_kind"

    def __init__(self, kind: str) -> None:
        """Name it."""
        super().__init__("unknown_kind", f"{kind!r} is no kind of this program")


@dataclass(frozen=True, slots=True)
class KindRule:
    """What a Body of one kind holds and who may sign it.

    ``root``: signed by a Root key in a root feed, all others by a Device.
    ``erasable``: an ``erase/1`` may name it; what others count by may not go.
    """

    kind: str
    body: type[Body]
    root: bool = False
    erasable: bool = True

    @property
    def private(self) -> bool:
        """Say whether the Body is sealed."""
        return issubclass(self.body, PrivateBody)


_RULES: Final = (
    KindRule("identity/1", people.Identity1, root=True, erasable=False),
    KindRule("revoke/1", people.Revoke1, root=True, erasable=False),
    KindRule("rotate/1", people.Rotate1, root=True, erasable=False),
    KindRule("device/1", people.Device1, erasable=False),
    KindRule("profile/1", people.Profile1),
    KindRule("listing/1", market.Listing1),
    KindRule("release/1", market.Release1),
    KindRule("price/1", market.Price1),
    KindRule("epoch/1", market.Epoch1),
    KindRule("sale/1", market.Sale1, erasable=False),
    KindRule("cert/1", certification.Cert1),
    KindRule("cert-revoke/1", certification.CertRevoke1, erasable=False),
    KindRule("human-review/1", certification.HumanReview1),
    KindRule("demand/1", market.Demand1),
    KindRule("offer/1", market.Offer1),
    KindRule("review/1", market.Review1),
    KindRule("reply/1", market.Reply1),
    KindRule("label/1", people.Label1),
    KindRule("follow/1", people.Follow1),
    KindRule("renew/1", market.Renew1),
    KindRule("licence-revoke/1", market.LicenceRevoke1, erasable=False),
    KindRule("mediator/1", market.Mediator1),
    KindRule("erase/1", people.Erase1, erasable=False),
    KindRule("witness/1", people.Witness1),
    KindRule("fork/1", people.Fork1, erasable=False),
    KindRule("fault/1", people.Fault1, erasable=False),
    KindRule("disclose/1", people.Disclose1),
    KindRule("private/1", private.Private1),
    KindRule("receipt/1", private.Receipt1, erasable=False),
    KindRule("ruling/1", private.Ruling1, erasable=False),
)

KINDS: Final[Mapping[str, KindRule]] = MappingProxyType({rule.kind: rule for rule in _RULES})
_KIND_OF: Final[Mapping[type[Body], str]] = MappingProxyType(
    {rule.body: rule.kind for rule in _RULES}
)

assert len(KINDS) == len(_KIND_OF) == len(_RULES)
assert all(_KIND.fullmatch(kind) for kind in KINDS)
assert all(issubclass(rule.body, PublicBody | PrivateBody) for rule in _RULES)


def is_kind_text(text: str) -> bool:
    """Say whether ``text`` has the form of a kind, known or not."""
    return _KIND.fullmatch(text) is not None


def parse_body(kind: str, raw: bytes) -> Body:
    """Read a Body of ``kind``; raise ``UnknownKind``, ``NotCanonical`` or ``BadShape``."""
    rule = KINDS.get(kind)
    if rule is None:
        raise UnknownKind(kind)
    if len(raw) > BODY_SIZE_BYTES_MAX:
        raise BadShape(f"body of {len(raw)} bytes, limit {BODY_SIZE_BYTES_MAX}")
    body = decode(raw, rule.body)
    check_values(body)
    body.check()
    return body


def encode_body(body: Body) -> bytes:
    """Return the bytes of ``body``, or raise ``BadShape`` for one no peer would take.

    What we write passes the gate that every stranger's Body passes.
    """
    raw = encode(body)
    parse_body(kind_of(body), raw)
    return raw


def kind_of(body: Body) -> str:
    """Return the kind whose Bodies have the type of ``body``."""
    return _KIND_OF[type(body)]
