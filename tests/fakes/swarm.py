"""Content moved from one engine to another without a network: who is asked answers, or lies."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from sqlalchemy import delete

from hanse.core.artifacts.pieces import disk_free
from hanse.core.artifacts.tree import piece_count, piece_length
from hanse.core.limits import OTHERS_CONTENT_BYTES_MAX, PIECE_SIZE_BYTES
from hanse.core.store.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.core.engine.engine import Engine
    from hanse.core.engine.fetch import Fetch
    from hanse.core.engine.seeding import Seeding
    from hanse.core.model.network import TransferView

DEVICE = bytes(32)


def empty(engine: Engine) -> None:
    """Have an engine hold no content and no transfer, as if it had just been set up."""
    content = engine.content
    engine.seeding.flush()
    with engine.context.store.unit_of_work() as uow:
        assert uow._connection is not None
        for name in ("transfers", "traffic", "object_uses", "objects", "manifests"):
            uow._connection.execute(delete(metadata.tables[name]))
        uow.commit()
    engine.storing.set_quota(OTHERS_CONTENT_BYTES_MAX)
    engine.seeding.set_seeding_followed(on=False)
    shutil.rmtree(engine.context.home.folder / "store", ignore_errors=True)
    content.pieces.layers._remembered.clear()
    content.pieces._free = disk_free


def bring_small(fetch: Fetch, seeding: Seeding) -> None:
    """Bring all small objects; what nobody gives is done without."""
    while wanted := fetch.small_wanted():
        for one in wanted:
            raw = seeding.small(DEVICE, one.sha256)
            if raw is None:
                assert not one.is_needed, one
                fetch.skip_small(one.sha256)
            else:
                assert len(raw) <= one.bytes_max
                assert fetch.put_small(one.sha256, raw)


def bring_hashes(fetch: Fetch, seeding: Seeding) -> None:
    """Bring all Piece layers and leaf layers."""
    while wanted := fetch.hashes_wanted():
        for one in wanted:
            raw = seeding.hashes(one.root, one.size, one.layer, one.first, one.count)
            assert raw is not None, one
            assert fetch.put_hashes(one.root, one.size, one.layer, one.first, raw)


def bring_pieces(fetch: Fetch, seeding: Seeding, most: int | None = None) -> int:
    """Bring up to ``most`` Pieces, the last of each file first; return how many came."""
    came = 0
    for one in fetch.objects():
        for piece in reversed(list(fetch.have(one.root, one.size).missing())):
            if came == most:
                return came
            length = piece_length(one.size, piece)
            data = seeding.piece(one.root, one.size, piece, 0, length)
            assert data is not None, (one, piece)
            assert fetch.put_piece(one.root, one.size, piece, data)
            seeding.served(one.root, one.size, length)
            came += 1
    return came


def bring_all(fetch: Fetch, seeding: Seeding) -> TransferView:
    """Bring everything and end the transfer."""
    bring_small(fetch, seeding)
    bring_hashes(fetch, seeding)
    bring_pieces(fetch, seeding)
    return fetch.finish()


def fetched(taker: Engine, giver: Engine, release: bytes) -> TransferView:
    """Ask for a Release and bring all of it."""
    taker.fetching.ask(release)
    with taker.fetching.open(release) as fetch:
        return bring_all(fetch, giver.seeding)


def all_pieces(seeding: Seeding, root: bytes, size: int) -> bytes | None:
    """Return a whole file as it is given, or None when some of it is not."""
    parts = [
        seeding.piece(root, size, piece, 0, piece_length(size, piece))
        for piece in range(piece_count(size))
    ]
    return None if not all(parts) else b"".join(part or b"" for part in parts)


def pieces_of(raw: bytes) -> Iterable[bytes]:
    """Cut bytes into Pieces."""
    return (raw[start : start + PIECE_SIZE_BYTES] for start in range(0, len(raw), PIECE_SIZE_BYTES))
