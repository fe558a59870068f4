"""Whether others found the same: counting Certificates of one Artifact by who signed them.

* Outputs agree when no input fails, from 100 compared on when at most 1 % do.
* The newest Certificate of an Identity counts, and none other of it.
* A verdict counts when it is about a Certificate given here, by somebody else: a comparison
  with oneself, or with what was taken back, says nothing.
* The seller is not an other.
* Level 4 needs ``k`` others that agree, one unit of trust among them, and those that differ to
  weigh under a quarter of that.  Without anybody one trusts each counts as one, and it is said.
* A Certificate that failed gives no Level: without one that passed the model is only declared.
* Level 4 is computed by whoever looks, from what he holds and whom he trusts; it is not signed.

The caller leaves out what was revoked, what is under an unknown suite, and other Artifacts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.model.certificate import Reproduction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.model.certificate import Certificate, Verdict
    from hanse.core.model.ids import EntryId, IdentityId

OTHERS_LEAST: Final = 3
MANY: Final = 100  # from here on a few failing inputs are noise
_PERCENT: Final = 100
_ONE_MILLI: Final = 1000
_DIFFER_SHARE: Final = 4  # differ weighs less than agree divided by this
_SIGNED_MOST: Final = 3


def reproduction_verdict(n: int, failing: int) -> Verdict:
    """Judge a comparison of ``n`` inputs of which ``failing`` were not met within tolerance."""
    assert 0 <= failing <= n
    if n == 0:
        return "not_comparable"
    if failing == 0 or (n >= MANY and failing * _PERCENT <= n):
        return "agree"
    return "differ"


def is_reproduced(heads: int, agree_milli: int, differ_milli: int, k: int = OTHERS_LEAST) -> bool:
    """Say whether enough others agree: ``k`` heads, one unit of trust, and few that differ."""
    is_trusted = agree_milli >= _ONE_MILLI and differ_milli * _DIFFER_SHARE < agree_milli
    return heads >= k and is_trusted


def reproduction(
    certs: Sequence[Certificate],
    *,
    seller: IdentityId,
    weights: Mapping[IdentityId, int] | None,
    k: int = OTHERS_LEAST,
) -> Reproduction:
    """Count who reproduced; ``weights`` in thousandths, ``None`` when nobody is trusted.

    Somebody who is missing in ``weights`` weighs nothing, but counts as a head.
    """
    counted = newest_certificates(certs)
    signers = {one.entry: one.identity for one in certs if one.entry is not None}
    heads: dict[Verdict, int] = {"agree": 0, "differ": 0, "not_comparable": 0}
    weighs: dict[Verdict, int] = {"agree": 0, "differ": 0, "not_comparable": 0}
    for one in counted:
        found = one.statement.reproduces
        if one.identity is None or one.identity == seller or found is None:
            continue
        verdict = _as_seen_here(found.entry, found.verdict, one.identity, signers)
        if verdict is None:
            continue
        heads[verdict] += 1
        weighs[verdict] += _ONE_MILLI if weights is None else weights.get(one.identity, 0)
    enough = is_reproduced(heads["agree"], weighs["agree"], weighs["differ"], k)
    passing = [one.statement for one in counted if one.statement.measured.outcome != "FAILED"]
    best = max((min(one.level, _SIGNED_MOST) for one in passing), default=0)
    return Reproduction(
        level=_SIGNED_MOST + 1 if enough and best else best,
        agree=heads["agree"],
        differ=heads["differ"],
        not_comparable=heads["not_comparable"],
        agree_milli=weighs["agree"],
        differ_milli=weighs["differ"],
        is_weighted=weights is not None,
    )


def newest_certificates(certs: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Return the newest Certificate of each Identity, the newest of all first.

    Newer is what says it was finished later; nobody but its own signer is hurt by a wrong time.
    """
    newest: dict[IdentityId | None, Certificate] = {}
    ordered = sorted(certs, key=_age)
    for one in ordered:
        newest[one.identity] = one
    return tuple(sorted(newest.values(), key=_age, reverse=True))


def _age(one: Certificate) -> tuple[int, bytes]:
    return one.statement.measured.finished_ms, one.entry or b""


def _as_seen_here(
    reference: EntryId,
    verdict: Verdict,
    signer: IdentityId,
    signers: Mapping[EntryId, IdentityId | None],
) -> Verdict | None:
    """Return what a verdict counts as; ``None`` for one about oneself."""
    if reference not in signers:
        return "not_comparable"
    return None if signers[reference] == signer else verdict
