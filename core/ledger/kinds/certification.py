"""Bodies of Certificates and human reviews: ``certification.md`` section 1.

The fields beside a Certificate's envelope repeat its statement; that they equal
it is checked where statements are read.
"""

from typing import Annotated, ClassVar, Literal

import msgspec

from hanse.core.errors import BadShape
from hanse.core.ledger.kinds.fields import Hash, Id, PublicBody
from hanse.core.limits import EVIDENCE_SIZE_BYTES_MAX
from hanse.core.model.blob import Blob


class Cert1(PublicBody, frozen=True, kw_only=True):
    """A Certificate in its DSSE envelope, and the index of it."""

    envelope: Annotated[bytes, msgspec.Meta(min_length=1, max_length=EVIDENCE_SIZE_BYTES_MAX)]
    artifact: Hash
    suite: Annotated[
        str, msgspec.Meta(max_length=40, pattern=r"^[a-z][a-z0-9-]*/[0-9]+\.[0-9]+\.[0-9]+\Z")
    ]
    suite_sha256: Hash
    level: Literal[0, 1, 2, 3]  # 0: not even well-formed, said as loudly as the rest
    golden: Blob | None
    reproduces: Id | None

    def check(self) -> None:
        """Refuse golden vectors that only some may read."""
        if self.golden is not None and self.golden.key is not None:
            raise BadShape("golden vectors are public - at `$.golden`")


class CertRevoke1(PublicBody, frozen=True, kw_only=True):
    """Its issuer takes a Certificate back."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"text"})

    cert: Id
    reason: Literal["wrong_file", "machine_fault", "suite_fault", "mistake", "key_compromise"]
    text: Annotated[str, msgspec.Meta(max_length=500)]


class ReviewPoint(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One of the eight answers of a human review."""

    answer: Literal["yes", "no", "na"]
    note: Annotated[str, msgspec.Meta(max_length=500)]


class HumanReview1(PublicBody, frozen=True, kw_only=True):
    """A person's judgement, beside the Level and never raising it."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"points", "notes"})
    SETS: ClassVar[frozenset[str]] = frozenset({"tried"})

    release: Id
    artifact: Hash
    points: Annotated[tuple[ReviewPoint, ...], msgspec.Meta(min_length=8, max_length=8)]
    verdict: Literal["approve", "object", "abstain"]
    notes: Annotated[str, msgspec.Meta(max_length=4000)]
    conflict: Literal["none", "customer", "colleague", "paid", "other"]
    paid_by: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None
    tried: Annotated[tuple[Id, ...], msgspec.Meta(max_length=16)]
    supersedes: Id | None

    def check(self) -> None:
        """Refuse a payer without the conflict, and the conflict without a payer."""
        if (self.conflict == "paid") != (self.paid_by is not None):
            raise BadShape(f"conflict {self.conflict} does not fit - at `$.paid_by`")
