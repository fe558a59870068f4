"""What is given to whoever asks for it, what that cost, and what is fetched to give it on.

* Only what anybody may have is given (``hanse.core.engine.giving``); all else is as if not held.
* A Piece is hashed before it is given the first time, and again once its file has changed: what
  rotted is never sent.  What is still being fetched is given Piece by Piece.
* Bytes out are counted in memory and written by ``flush``; a file that is given moves to the end
  of what the quota drops.
* Seeding for sellers one follows fetches their newest Releases, the last of all transfers, and only
  into room that the quota has left; nothing is dropped for it.

Who asks, and how fast he is served, is the network's.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from hanse.core.artifacts.faults import read_faults
from hanse.core.artifacts.layers import LayerMissing
from hanse.core.artifacts.pieces import NotEnoughSpace, ObjectMissing
from hanse.core.artifacts.quota import QuotaFull, Whose
from hanse.core.artifacts.tree import (
    HASH_SIZE_BYTES,
    LEAVES_PER_PIECE,
    PIECE_LEAVES_SIZE_BYTES,
    hash_leaves,
    leaf_count,
    piece_count,
    piece_length,
)
from hanse.core.engine.giving import Giving
from hanse.core.engine.release_parts import small_here
from hanse.core.limits import (
    PIECE_SIZE_BYTES,
    SEEDED_ASKED_MAX,
    SEEDED_PROOFS_REMEMBERED_MAX,
    SEEDED_PROVIDED_MAX,
)
from hanse.core.model.ids import EntryId, IdentityId
from hanse.core.model.transfer import (
    PRIORITY_SEED,
    Bitmap,
    HashLayer,
    Have,
    Reason,
    SeededView,
    SeedingView,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.artifacts.gathering import Gathering
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.fetching import Fetching
    from hanse.core.engine.storing import Storing
    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import TransferView
    from hanse.core.store.listings import ReleaseRow
    from hanse.core.store.objects import ManifestRow, ObjectName
    from hanse.core.store.unit_of_work import Repositories

_FOLLOWED_NAME: Final = "seeding_followed"
_ON: Final = "1"
_OPEN: Final = "open"


@dataclass(slots=True)
class _Proved:
    """Which Pieces of a file, as it was written then, were found right or rotten."""

    inode: int
    changed_ns: int
    right: Bitmap
    rotten: Bitmap


class Seeding:
    """What one Account gives; safe to use from several threads, each of which may wait."""

    def __init__(
        self, context: Context, content: Content, storing: Storing, fetching: Fetching
    ) -> None:
        """Bind the Account, its files, its quota and what is on its way."""
        self._context = context
        self._content = content
        self._storing = storing
        self._fetching = fetching
        self._giving = Giving(context, content)
        self._lock = threading.Lock()
        self._proved: OrderedDict[ObjectName, _Proved] = OrderedDict()
        self._went: Counter[ObjectName] = Counter()

    # --- giving ------------------------------------------------------------------------------

    def small(self, device: AuthorKey, digest: bytes) -> bytes | None:
        """Return a Manifest or Blob that ``device`` may have; None when there is none to give."""
        del device  # nothing is for one Device alone
        if not self._content.small.has(digest) or not self._giving.may_give_small(digest):
            return None
        return small_here(self._content.small, digest)

    def have(self, root: bytes, size: int) -> Have | None:
        """Return which Pieces of a file can be given; None when there is none to give."""
        partial = self._coming(root, size)
        if not self._is_given(root, size, is_coming=partial is not None):
            return None
        if partial is not None:
            return Have(bytes(partial.have()))
        with self._lock:
            proved = self._proved.get((root, size))
            rotten = None if proved is None or not len(proved.rotten) else proved.rotten.copy()
        if rotten is None:
            return Have(None)
        found = Bitmap(piece_count(size))
        found.add_all(rotten.missing())
        return Have(bytes(found))

    def hashes(
        self, root: bytes, size: int, layer: HashLayer | int, first: int, count: int
    ) -> bytes | None:
        """Return ``count`` hashes of one layer, checked; None when there are none to give."""
        most = piece_count(size) if layer == HashLayer.PIECES else leaf_count(size)
        if not (first >= 0 and count > 0 and first + count <= most):
            return None
        is_coming = self._coming(root, size) is not None
        if not self._giving.may_give_hashes(root, size, is_coming=is_coming):
            return None
        layers = self._content.pieces.layers
        try:
            if layer == HashLayer.PIECES:
                whole = layers.layer(root, size)
                found = whole[first * HASH_SIZE_BYTES : (first + count) * HASH_SIZE_BYTES]
                return found or None  # a file of up to 1 MiB has no such layer
            pieces = range(first // LEAVES_PER_PIECE, (first + count - 1) // LEAVES_PER_PIECE + 1)
            leaves = b"".join(layers.piece_leaves(root, size, piece) for piece in pieces)
        except LayerMissing:
            return None
        start = first * HASH_SIZE_BYTES - pieces[0] * PIECE_LEAVES_SIZE_BYTES
        return leaves[start : start + count * HASH_SIZE_BYTES]

    def piece(self, root: bytes, size: int, piece: int, offset: int, length: int) -> bytes | None:
        """Return a part of one Piece as its root promises it; None when it is not to be had."""
        if not 0 <= piece < piece_count(size):
            return None
        whole = piece_length(size, piece)
        if not (offset >= 0 and length > 0 and offset + length <= whole):
            return None
        partial = self._coming(root, size)
        if not self._is_given(root, size, is_coming=partial is not None):
            return None
        if partial is not None:
            data = partial.read(piece)
            return None if data is None else data[offset : offset + length]
        try:
            path = self._content.pieces.path(root, size)
            with self._content.pieces.open(root, size) as file, read_faults(path):
                state = os.fstat(file.fileno())
                if self._is_proved((root, size), state, piece):
                    return _read(file, piece * PIECE_SIZE_BYTES + offset, length)
                data = _read(file, piece * PIECE_SIZE_BYTES, whole)
            checker = self._content.pieces.layers.checker(root, size)
        except (ObjectMissing, LayerMissing):
            return None
        is_right = data is not None and checker.is_piece(piece, hash_leaves(data))
        self._remember((root, size), state, piece, is_right=is_right)
        return data[offset : offset + length] if data is not None and is_right else None

    def _coming(self, root: bytes, size: int) -> Gathering | None:
        """Return what gathers a file right now."""
        return self._fetching.gatherings.live((root, size))

    def _is_given(self, root: bytes, size: int, *, is_coming: bool) -> bool:
        is_here = is_coming or self._content.pieces.path(root, size).is_file()
        return is_here and self._giving.may_give_object(root, size, is_coming=is_coming)

    def _is_proved(self, name: ObjectName, state: os.stat_result, piece: int) -> bool:
        with self._lock:
            known = self._proved.get(name)
            is_same = known is not None and (known.inode, known.changed_ns) == (
                state.st_ino,
                state.st_mtime_ns,
            )
            return known is not None and is_same and piece in known.right

    def _remember(
        self, name: ObjectName, state: os.stat_result, piece: int, *, is_right: bool
    ) -> None:
        with self._lock:
            known = self._proved.get(name)
            place = (state.st_ino, state.st_mtime_ns)
            if known is None or (known.inode, known.changed_ns) != place:
                count = piece_count(name[1])
                known = self._proved[name] = _Proved(*place, Bitmap(count), Bitmap(count))
            (known.right if is_right else known.rotten).add(piece)
            self._proved.move_to_end(name)
            while len(self._proved) > SEEDED_PROOFS_REMEMBERED_MAX:
                self._proved.popitem(last=False)

    # --- counting ----------------------------------------------------------------------------

    def served(self, root: bytes, size: int, count: int) -> None:
        """Count ``count`` bytes of a file that were sent; never waits."""
        with self._lock:
            self._went[root, size] += count

    def flush(self) -> None:
        """Write what was counted; it is counted on when that cannot be done."""
        with self._lock:
            went, self._went = self._went, Counter()
        if not went:
            return
        try:
            with self._context.store.unit_of_work() as uow:
                now_ms = self._context.clock.now_ms()
                uow.traffic.add({}, went, now_ms)
                for name in went:
                    uow.objects.seeded(name, now_ms)
                uow.commit()
        except BaseException:
            with self._lock:
                self._went.update(went)
            raise

    def view(self) -> SeedingView:
        """Return what is held, by Artifact, and what each cost and gave."""
        with self._lock:
            waiting = Counter(self._went)
        with self._context.store.reads() as reads:
            rows: dict[bytes, ManifestRow] = {}
            for row in reads.objects.all_manifests():
                if row.artifact not in rows or row.release is not None:
                    rows[row.artifact] = row
            found = tuple(self._seeded(reads, row, waiting) for row in rows.values())
            came, went = reads.traffic.totals()
            others = reads.objects.usage()[Whose.OTHERS]
        return SeedingView(
            rows=found,
            quota_bytes=self._storing.quota(),
            others_bytes=others,
            in_bytes=came,
            out_bytes=went + sum(waiting.values()),
            is_seeding_followed=self.is_seeding_followed,
        )

    def manifest_of(self, release: bytes) -> bytes | None:
        """Return the id under which the files of a Release are sought, where it is known."""
        with self._context.store.reads() as reads:
            row = reads.listings.release(EntryId(release))
        if row is None:
            return None
        return row.artifact if row.seal is None else row.seal.manifests[1]

    def manifests(self, most: int = SEEDED_PROVIDED_MAX) -> tuple[bytes, ...]:
        """Return the ids under which what is held here is sought: of the newest Releases first.

        The sealed Manifest, or the plain one of what is given in the clear.
        """
        with self._context.store.reads() as reads:
            rows = [row for row in reads.objects.all_manifests() if row.release is not None]
        rows.sort(key=lambda row: (-row.added_ms, row.artifact))
        return tuple(row.artifact if row.sealed is None else row.sealed for row in rows[:most])

    def _seeded(
        self, held: Repositories, row: ManifestRow, waiting: Counter[ObjectName]
    ) -> SeededView:
        uses = held.objects.of_artifact(row.artifact)
        names = list(dict.fromkeys((use.root, use.size) for use in uses))
        came = went = 0
        last_ms: int | None = None
        for name in names:
            bytes_in, bytes_out = held.traffic.of(name)
            came, went = came + bytes_in, went + bytes_out + waiting[name]
            if bytes_out and (seeded_ms := held.objects.seeded_ms(name)) is not None:
                last_ms = seeded_ms if last_ms is None else max(last_ms, seeded_ms)
        release = None if row.release is None else held.listings.release(row.release)
        return SeededView(
            artifact=row.artifact,
            release=row.release,
            title="" if row.release is None else held.transfers.title(row.release),
            version="" if release is None else release.version,
            whose=_strongest([use.whose for use in uses]).value,
            held_bytes=sum(name[1] for name in names if self._content.pieces.has(*name)),
            in_bytes=came,
            out_bytes=went,
            ratio_milli=1000 * went // came if came else None,
            last_seeded_ms=last_ms,
        )

    # --- fetching to give it on ----------------------------------------------------------------

    @property
    def is_seeding_followed(self) -> bool:
        """Say whether Releases of sellers one follows are fetched by themselves."""
        with self._context.store.reads() as reads:
            return reads.meta.get(_FOLLOWED_NAME) == _ON

    def set_seeding_followed(self, *, on: bool) -> None:
        """Fetch the newest Releases of sellers one follows from now on, or no longer."""
        with self._context.store.unit_of_work() as uow:
            uow.meta.put(_FOLLOWED_NAME, _ON if on else "0")
            uow.commit()

    def seed_followed(self) -> tuple[TransferView, ...]:
        """Ask for the newest Releases of sellers one follows, while the quota has room for them.

        What was asked for once is not asked for again: a person may have cancelled it.
        """
        if not self.is_seeding_followed:
            return ()
        asked: list[TransferView] = []
        with self._context.store.reads() as reads:
            wanted = list(self._not_asked(reads))
            room = self._storing.quota() - reads.objects.usage()[Whose.OTHERS]
            room -= sum(row.total_bytes for row in reads.transfers.live())
        for row in wanted:
            if row.size > room or len(asked) == SEEDED_ASKED_MAX:
                continue
            with suppress(QuotaFull, NotEnoughSpace):
                asked.append(
                    self._fetching.ask(row.release, reason=Reason.SEED, priority=PRIORITY_SEED)
                )
                room -= row.size
        return tuple(asked)

    def _not_asked(self, held: Repositories) -> Iterator[ReleaseRow]:
        """Yield the newest full Release of each open Listing of whoever one follows."""
        now_ms = self._context.clock.now_ms()
        for follow in held.projections.follows_of(self._context.identity):
            if not follow.weight:
                continue
            for listing in held.listings.of_identity(IdentityId(follow.target)):
                row = listing.newest_release
                is_offered = listing.state == _OPEN and listing.valid_until_ms > now_ms
                if row is not None and is_offered and held.transfers.get(row.release) is None:
                    yield row


def _strongest(reasons: list[Whose]) -> Whose:
    order = list(Whose)
    return min(reasons, key=order.index, default=Whose.OTHERS)


def _read(file: BinaryIO, offset: int, length: int) -> bytes | None:
    """Return bytes of a file; None when it ends before them."""
    file.seek(offset)
    data = file.read(length)
    while len(data) < length and (more := file.read(length - len(data))):
        data += more  # a raw file may give less than it has
    return data if len(data) == length else None
