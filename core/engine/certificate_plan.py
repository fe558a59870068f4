"""The Entry a Certificate comes to: a Statement of what was measured, signed by this Device.

* Figures on private data are left out, and the Level is what the rest allows.
* It is made from its salt, so that what was shown is signed again to the last bit.

Whether it is signed is decided by whoever was shown it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.attest.envelope import sign_envelope
from hanse.core.attest.statement import encode_statement, subjects_of
from hanse.core.attest.suites import bundled
from hanse.core.attest.verifying import cert_body
from hanse.core.engine.signing import PlannedEntry
from hanse.core.engine.tested import public_part
from hanse.core.model.certificate import Statement, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hanse.core.engine.certify_target import Target
    from hanse.core.engine.context import Context
    from hanse.core.engine.tested import Tested
    from hanse.core.ledger.kinds import Body
    from hanse.core.model.ids import EntryId

_NONCE_SIZE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class PlannedCertificate:
    """The Entry of a Certificate to come, and its Statement for a salt."""

    entry: PlannedEntry
    statement: Callable[[bytes, Sequence[EntryId]], Statement]


def plan_certificate(
    context: Context,
    target: Target,
    tested: Tested,
    release_of: Callable[[Sequence[EntryId]], EntryId | None],
    supersedes: EntryId | None = None,
    grant: bytes | None = None,
) -> PlannedCertificate:
    """Plan the Entry that states what was measured, all but what is private.

    ``release_of`` names the Release, which may come to be in the same transaction; ``grant`` the
    Trial that allowed it.
    """
    suite = bundled().by_sha256(tested.measured.suite_sha256)
    assert suite is not None, "only a bundled suite is run"
    measured = public_part(tested.measured, suite)

    def statement(salt: bytes, ids: Sequence[EntryId]) -> Statement:
        return Statement(
            subjects=subjects_of(
                target.artifact,
                [Subject(file.path, file.sha256) for file in target.manifest.files],
            ),
            artifact=target.artifact,
            files=len(target.manifest.files),
            size=target.manifest.size,
            made_from=target.made_from,
            role=target.role,
            release=release_of(ids),
            grant=grant,
            supersedes=supersedes,
            measured=measured,
            parity=target.parity,
            reproduces=tested.reproduces,
            # Drawn from the salt, so that what was shown is signed again to the last bit.
            nonce=sha256(b"nonce" + salt).digest()[:_NONCE_SIZE_BYTES],
        )

    def make(salt: bytes, ids: Sequence[EntryId]) -> Body:
        said = statement(salt, ids)
        signer = context.may_sign().device_signer
        return cert_body(sign_envelope(encode_statement(said), signer), said, salt)

    def refs(ids: Sequence[EntryId]) -> Sequence[bytes]:
        release = release_of(ids)
        named = (
            release,
            supersedes,
            None if tested.reproduces is None else tested.reproduces.entry,
        )
        return tuple(one for one in named if one is not None)

    return PlannedCertificate(PlannedEntry(make, refs), statement)
