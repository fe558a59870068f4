"""Projections: tables that are computed from the Ledger alone.

What one is stands in ``fold``; later parts add theirs to ``PROJECTIONS``.
"""

from __future__ import annotations

from typing import Final

from hanse.core.store.projections.certification import (
    Certificates,
    CertRevocations,
    HumanReviews,
    Judged,
    judged_by,
)
from hanse.core.store.projections.fold import (
    FoldItem,
    Key,
    Projection,
    Values,
    read_list,
    write_list,
)
from hanse.core.store.projections.market import (
    NO_RELEASE,
    Listings,
    Prices,
    Releases,
    Renewals,
    listings_named,
    read_hashes,
)
from hanse.core.store.projections.people import Erasures, Follows, Profiles

__all__ = [
    "ERASURES",
    "NO_RELEASE",
    "PROJECTIONS",
    "FoldItem",
    "Judged",
    "Key",
    "Projection",
    "Values",
    "judged_by",
    "listings_named",
    "read_hashes",
    "read_list",
    "write_list",
]

ERASURES: Final = Erasures()
PROJECTIONS: Final[tuple[Projection, ...]] = (
    ERASURES,
    Profiles(),
    Listings(),
    Releases(),
    Prices(),
    Renewals(),
    Follows(),
    Certificates(),
    CertRevocations(),
    HumanReviews(),
)

assert len({projection.name for projection in PROJECTIONS}) == len(PROJECTIONS)
