"""Counters of one open Account, in plain values with stable names: for ``hanse doctor --json``.

Nothing here waits for the network, and nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.engine.engine import Engine
    from hanse.core.model.network import PeerView


def counters(engine: Engine, connected: Sequence[PeerView] = ()) -> Mapping[str, object]:
    """Count what is known, what moves, what waits and how old it is."""
    peers = engine.peering.views()
    places = engine.peering.own_places()
    last_ms, _ = engine.peering.last_heard(0)
    transfers = engine.fetching.views()
    seeding = engine.seeding.view()
    use = engine.posting.mailbox.use()
    may_leave = engine.replicating.confirmation()
    return {
        "peers": {
            "known": len(peers),
            "kept": sum(1 for one in peers if one.is_kept),
            "connected": len(connected),
            "by_relay": sum(1 for one in connected if one.relay is not None),
        },
        "reached_at": [{"address": one.address, "told": one.told} for one in places],
        "sync": {
            "last_ms": last_ms,
            "own_may_leave": may_leave.may_leave,
            "own_is_stale": may_leave.stale,
            "confirmed_by": may_leave.confirmed_by,
            "confirmations_needed": may_leave.needed,
        },
        "outbox": dict(Counter(one.state.value for one in engine.posting.views())),
        "transfers": dict(Counter(one.state.value for one in transfers)),
        "mailbox": asdict(use),
        "seeding": {
            "held": len(seeding.rows),
            "in_bytes": seeding.in_bytes,
            "out_bytes": seeding.out_bytes,
            "others_bytes": seeding.others_bytes,
            "quota_bytes": seeding.quota_bytes,
            "is_seeding_followed": seeding.is_seeding_followed,
        },
    }
