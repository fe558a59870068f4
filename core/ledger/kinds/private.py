"""Sealed Bodies and what stands inside them: ``ledger.md`` section 3.2.

* Outside stand the commitment, the ciphertext and the readers' slots.
* Inside stands ``[1, author, seq, kind, body]``.  Which inner kind may stand
  under which kind of Header is in ``INNER_KINDS``; parts above the ledger add
  theirs with ``add_inner_kind``.

Sealing and opening is not done here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Self

import msgspec

from hanse.core.errors import BadShape, RejectedEntry
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.kinds.fields import (
    Body,
    Count,
    Hash,
    Id,
    InnerBody,
    Key,
    Number,
    PrivateBody,
    check_values,
)
from hanse.core.limits import (
    ENVELOPE_SLOTS_MAX,
    PRIVATE_PADDING_BYTES,
    PRIVATE_PLAINTEXT_SIZE_BYTES_MAX,
    PROOF_ANSWERS_MAX,
    SEEDS_PER_BODY_MAX,
    TRIAL_RUNTIME_CHARACTERS_MAX,
)
from hanse.core.model.blob import Blob
from hanse.core.model.trial import (
    TrialClose,
    TrialGrant,
    TrialRefusal,
    TrialRequest,
    TrialStep,
)

_BOX_OVERHEAD_BYTES: Final = 40  # nonce and authenticator
_SLOT_SIZE_BYTES: Final = 80
_SLOT_COUNTS: Final = (2, 4, 8)

assert _SLOT_COUNTS[-1] == ENVELOPE_SLOTS_MAX

INNER_VERSION: Final = 1

Seed = tuple[Count, Key, Key]  # key epoch, sale seed, buy seed


class Private1(PrivateBody, frozen=True, kw_only=True):
    """Any Private body that nobody else needs to count."""

    def check(self) -> None:
        """Refuse sizes that no sealing gives."""
        _check_sealed(self)


class Receipt1(PrivateBody, frozen=True, kw_only=True):
    """A final RECEIPT: everybody counts it, its readers alone read it."""

    licence: Hash | None

    def check(self) -> None:
        """Refuse sizes that no sealing gives."""
        _check_sealed(self)


class Ruling1(PrivateBody, frozen=True, kw_only=True):
    """A mediator's RULING."""

    def check(self) -> None:
        """Refuse sizes that no sealing gives."""
        _check_sealed(self)


def _check_sealed(body: PrivateBody) -> None:
    padded = len(body.ct) - _BOX_OVERHEAD_BYTES
    most = PRIVATE_PLAINTEXT_SIZE_BYTES_MAX + PRIVATE_PADDING_BYTES
    if not 0 < padded <= most or padded % PRIVATE_PADDING_BYTES:
        raise BadShape(f"{len(body.ct)} bytes are no sealed body - at `$.ct`")
    if len(body.to) not in _SLOT_COUNTS or any(len(slot) != _SLOT_SIZE_BYTES for slot in body.to):
        raise BadShape(f"not {_SLOT_COUNTS} slots of {_SLOT_SIZE_BYTES} bytes - at `$.to`")


class Inner(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What was sealed, and for which place; its text representation hides the content."""

    version: Annotated[int, msgspec.Meta(ge=0, le=255)]
    author: Key
    seq: Number
    kind: str
    body: dict[str, object]

    def __repr__(self) -> str:
        return f"Inner({self.kind} for seq {self.seq} of {self.author.hex()})"


class Message1(InnerBody, frozen=True, kw_only=True):
    """Words and files from one party to another, about an Order or not."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"text"})

    order: Id | None
    text: Annotated[str, msgspec.Meta(max_length=4000)]
    files: Annotated[tuple[Blob, ...], msgspec.Meta(max_length=4)]

    def check(self) -> None:
        """Refuse a Message that says nothing."""
        if not self.text and not self.files:
            raise BadShape("neither text nor files - at `$.text`")


class Seeds1(InnerBody, frozen=True, kw_only=True):
    """The secret seeds of key epochs, on their way to the Identity's other Devices."""

    seeds: Annotated[tuple[Seed, ...], msgspec.Meta(min_length=1, max_length=SEEDS_PER_BODY_MAX)]

    def check(self) -> None:
        """Refuse epochs out of order or given twice."""
        epochs = [epoch for epoch, _, _ in self.seeds]
        if any(left >= right for left, right in pairwise(epochs)):
            raise BadShape("epochs are not sorted and unique - at `$.seeds`")


class Trial1(InnerBody, frozen=True, kw_only=True):
    """One step of a Trial before purchase: exactly one field is not null."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"refuse"})

    request: TrialRequest | None
    grant: TrialGrant | None
    refuse: TrialRefusal | None
    close: TrialClose | None

    @classmethod
    def of(cls, step: TrialStep) -> Self:
        """Make the Body that holds ``step``."""
        return cls(
            request=step if isinstance(step, TrialRequest) else None,
            grant=step if isinstance(step, TrialGrant) else None,
            refuse=step if isinstance(step, TrialRefusal) else None,
            close=step if isinstance(step, TrialClose) else None,
        )

    @property
    def step(self) -> TrialStep:
        """Return the one step that stands in it."""
        found = self.request or self.grant or self.refuse or self.close
        assert found is not None
        return found

    def check(self) -> None:
        """Refuse more or less than one step, and a step whose fields do not fit."""
        steps = (self.request, self.grant, self.refuse, self.close)
        if sum(step is not None for step in steps) != 1:
            raise BadShape("not exactly one step - at `$`")
        for name, fault in (
            ("request", self.request and self.request.fault()),
            ("grant", self.grant and self.grant.fault()),
        ):
            if fault:
                raise BadShape(f"{fault} - at `$.{name}`")


class Warranty1(InnerBody, frozen=True, kw_only=True):
    """The Proof of a failed Replay: what was answered in the Trial, and what came after delivery.

    ``answers`` are the ids of failing answers; the signed queries and answers stand in
    ``inputs``, the outputs of the delivered model in ``outputs``, in the same order.
    """

    order: Id | None
    grant: Id
    seal_key: Key
    answers: Annotated[tuple[Hash, ...], msgspec.Meta(min_length=1, max_length=PROOF_ANSWERS_MAX)]
    inputs: Blob
    outputs: Blob
    n: Number
    failing: Number
    isolation: Annotated[str, msgspec.Meta(max_length=TRIAL_RUNTIME_CHARACTERS_MAX)]
    runtime: Annotated[str, msgspec.Meta(max_length=TRIAL_RUNTIME_CHARACTERS_MAX)]
    artifact: Hash

    SETS: ClassVar[frozenset[str]] = frozenset({"answers"})

    def check(self) -> None:
        """Refuse figures that are no mismatch, and Blobs that everybody could read."""
        if not self.failing <= self.n or len(self.answers) > self.failing:
            raise BadShape(f"{self.failing} failing of {self.n} - at `$.failing`")
        if self.inputs.key is None or self.outputs.key is None:
            raise BadShape("blobs of a trial are private - at `$.inputs`")


@dataclass(frozen=True, slots=True)
class InnerRule:
    """What an inner kind holds, and the kinds of Header it may stand under."""

    kind: str
    body: type[InnerBody]
    under: frozenset[str]


_INNER_KINDS: Final[dict[str, InnerRule]] = {
    "message/1": InnerRule("message/1", Message1, frozenset({"private/1"})),
    "seeds/1": InnerRule("seeds/1", Seeds1, frozenset({"private/1"})),
    "trial/1": InnerRule("trial/1", Trial1, frozenset({"private/1"})),
    "warranty/1": InnerRule("warranty/1", Warranty1, frozenset({"private/1"})),
}
INNER_KINDS: Final[Mapping[str, InnerRule]] = MappingProxyType(_INNER_KINDS)


def add_inner_kind(rule: InnerRule) -> None:
    """Let an inner kind of a higher part be read; two parts cannot own one."""
    assert rule.kind not in _INNER_KINDS
    _INNER_KINDS[rule.kind] = rule


def parse_inner_body(header_kind: str, inner: Inner) -> Body:
    """Read what was sealed under a Header of ``header_kind``, or raise ``RejectedEntry``.

    Author and seq are the caller's to compare.
    """
    rule = INNER_KINDS.get(inner.kind)
    if rule is None:
        raise RejectedEntry("unknown_kind", f"{inner.kind!r} inside {header_kind}")
    if header_kind not in rule.under:
        raise RejectedEntry("inner_kind", f"{inner.kind} inside {header_kind}")
    body = decode(encode(inner.body), rule.body)
    check_values(body)
    body.check()
    return body
