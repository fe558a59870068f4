"""One Release on its way here: what is wanted next, and what came of it.

* Manifests first: until both are here and fit what was signed, nothing else can be known.  Then
  Piece layers, folded to their roots; then Pieces in any order, and the leaf layers of the plain
  files, which a buyer must hold before he pays.
* Whatever comes is verified before it is kept.  Wrong bytes of a Peer are told by False; what the
  seller signed and does not fit fails the transfer by his name, whoever carried it.
* Everything is on the disk: after a kill it goes on from what was durable, at most so many bytes
  come again as were written since the last ``checkpoint``, which also notes whole files as held.
* A disk that is full or broken fails the transfer and loses nothing that was durable.

Whom to ask, and in which order, is the network's.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

from hanse.core.artifacts.layers import LayerMissing
from hanse.core.artifacts.manifest import BadArtifactPath, BadManifest
from hanse.core.artifacts.parts import Progress
from hanse.core.artifacts.quota import Whose
from hanse.core.artifacts.sealing import SealDiffers
from hanse.core.artifacts.tree import (
    HASH_SIZE_BYTES,
    LEAVES_PER_PIECE,
    leaf_count,
    piece_count,
    piece_length,
)
from hanse.core.engine.release_parts import (
    Parts,
    licence_texts,
    named_by_card,
    note_held,
    note_uses,
    parts_here,
    read_parts,
    small_here,
    small_needed,
    unwanted_bytes,
)
from hanse.core.errors import HanseError, Refused, VerificationFailed
from hanse.core.limits import (
    BLOB_SIZE_BYTES_MAX,
    FETCHED_SMALL_BYTES_MAX,
    HASHES_LISTED_MAX,
    PIECE_HASHES_MAX,
    PIECE_SIZE_BYTES,
    RELEASE_FILE_CERTIFICATES_MAX,
    RELEASE_FILE_SMALL_MAX,
)
from hanse.core.model.control import Control
from hanse.core.model.network import TransferState, TransferView
from hanse.core.model.transfer import (
    Bitmap,
    HashesWanted,
    HashLayer,
    ObjectWanted,
    Reason,
    SmallWanted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.gatherings import Gatherings
    from hanse.core.engine.storing import Storing
    from hanse.core.store.listings import ReleaseRow
    from hanse.core.store.objects import ObjectName
    from hanse.core.store.transfers import TransferRow
    from hanse.core.store.unit_of_work import Repositories

_PIECES_PER_RANGE: Final = PIECE_HASHES_MAX // LEAVES_PER_PIECE
_STAGE: Final = "fetch"


class BadRelease(VerificationFailed):
    """What a seller signed does not fit together; ``reason`` is a stable word.

    Nobody who carried it is to blame.
    """

    code = "transfer.bad_release"
    text = "release {release} of {seller} is not sound: {reason}"
    fields = ("release", "seller", "reason")


class TransferNotUnderWay(Refused):
    """A transfer was paused, cancelled, or has ended."""

    code = "transfer.not_under_way"
    text = "the transfer of release {release} is {state}"
    fields = ("release", "state")


def transfer_view(held: Repositories, row: TransferRow) -> TransferView:
    """Return a transfer as a person sees it."""
    is_paused = row.is_paused and not row.is_ended
    return TransferView(
        transfer=row.transfer,
        release=row.release,
        artifact=row.artifact,
        title=held.transfers.title(row.release),
        reason=row.reason.value,
        state=TransferState.PAUSED if is_paused else row.state,
        priority=row.priority,
        done_bytes=row.done_bytes,
        total_bytes=row.total_bytes,
        error=row.error,
    )


def whose_for(reason: Reason) -> Whose:
    """Say why the files of a transfer are held once they are here."""
    return Whose.ORDER if reason is Reason.ORDER else Whose.OTHERS


class Fetch:
    """One transfer under way; made by ``Fetching.open``, and left as a context manager.

    Its methods may be called on any thread that may wait for the disk.  What goes wrong here is
    noted in the transfer before it is raised.
    """

    def __init__(
        self,
        context: Context,
        content: Content,
        storing: Storing,
        gatherings: Gatherings,
        row: ReleaseRow,
        transfer: TransferRow,
        on_close: Callable[[Fetch], None],
    ) -> None:
        """Bind one Release; ``begin`` looks at what is here."""
        self._context = context
        self._content = content
        self._storing = storing
        self._gatherings = gatherings
        self._row = row
        self._on_close = on_close
        self._is_closed = False
        self._whose = whose_for(transfer.reason)
        self._state = transfer.state
        self.release = row.release
        self.artifact = row.artifact
        self.seller = row.identity
        self.is_sealed = row.seal is not None
        self._lock = threading.RLock()
        self._parts: Parts | None = None
        self._small: dict[bytes, SmallWanted] = {}
        self._small_room = FETCHED_SMALL_BYTES_MAX
        self._missing: dict[ObjectName, None] = {}  # objects not here yet, in file order
        self._leafless: dict[ObjectName, None] = {}  # plain files whose leaf layer is not here
        self._layerless: dict[ObjectName, dict[int, bytes]] = {}  # ranges of Piece layers so far
        self._installed: set[ObjectName] = set()  # since the last checkpoint
        self._came: Counter[ObjectName] = Counter()
        self._total_bytes, self._held_bytes = row.size, 0

    # --- begin and end ------------------------------------------------------------------------

    def begin(self) -> None:
        """Look at what is here; raises ``BadRelease``, or that there is no room for the rest."""
        with self._guarded():
            self._list_small()
            if all(not one.is_needed for one in self._small.values()):
                self._learn()

    def close(self) -> None:
        """Let go of the transfer; harmless when repeated."""
        if self._is_closed:
            return
        self._is_closed = True
        self._gatherings.leave(self)
        self._on_close(self)

    def __enter__(self) -> Self:
        """Return this transfer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of it, whatever happened."""
        self.close()

    def note(self, *, is_searching: bool) -> None:
        """Show that nobody who has it is connected, or that it runs."""
        state = TransferState.SEARCHING if is_searching else TransferState.RUNNING
        if state is self._state:
            return
        with self._context.store.unit_of_work() as uow:
            row = uow.transfers.get(self.release)
            if row is not None and row.is_due:
                uow.transfers.move(self.release, state, self._context.clock.now_ms())
                uow.commit()
                self._state = state

    # --- small objects -----------------------------------------------------------------------

    def small_wanted(self) -> tuple[SmallWanted, ...]:
        """Return the small objects not here yet: what is needed first, the rest once that is."""
        with self._lock:
            found = tuple(self._small.values())
        return tuple(one for one in found if one.is_needed) or found

    def put_small(self, digest: bytes, raw: bytes) -> bool:
        """Take a small object; False when it was not asked for, or these are not its bytes.

        Raises ``BadRelease`` when the last Manifest shows that the Release is not sound.
        """
        with self._lock:
            wanted = self._small.get(digest)
            is_right = wanted is not None and len(raw) <= wanted.bytes_max
        if wanted is None or not is_right or sha256(raw).digest() != digest:
            return False
        if not wanted.is_needed and len(raw) > self._small_room:
            self.skip_small(digest)  # right, and more than is taken beside what is needed
            return True
        with self._guarded():
            self._content.small.put(raw)
            with self._lock:
                self._small.pop(digest, None)
                if not wanted.is_needed:
                    self._small_room -= len(raw)
                if digest == self._row.card:
                    self._list_named(raw)
                is_last = self._parts is None and not any(
                    one.is_needed for one in self._small.values()
                )
            if is_last:
                self._learn()
        return True

    def skip_small(self, digest: bytes) -> None:
        """Do without a small object that nobody has; one that is needed stays wanted."""
        with self._lock:
            wanted = self._small.get(digest)
            if wanted is not None and not wanted.is_needed:
                del self._small[digest]

    def _list_small(self) -> None:
        small = self._content.small
        for digest, most in small_needed(self._row).items():
            raw = small_here(small, digest)
            if raw is None:
                self._small[digest] = SmallWanted(digest, most, is_needed=True)
            elif digest == self._row.card:
                self._list_named(raw)

    def _list_named(self, card: bytes) -> None:
        """List what the Release, its card, its Listing and its Certificates name beside."""
        row = self._row
        named = dict.fromkeys([*sorted(licence_texts(row)), *sorted(named_by_card(card))])
        with self._context.store.reads() as reads:
            listing = reads.listings.get(row.listing)
            named.update(dict.fromkeys(() if listing is None else listing.media))
            own = reads.certificates.newest_by(row.identity, row.artifact)
            newest = reads.certificates.of_artifact(
                row.artifact, limit=RELEASE_FILE_CERTIFICATES_MAX
            )
        certificates = [*(() if own is None else (own,)), *newest]
        named.update(dict.fromkeys(one.golden for one in certificates if one.golden is not None))
        for digest in list(named)[:RELEASE_FILE_SMALL_MAX]:
            if small_here(self._content.small, digest) is None and digest not in self._small:
                self._small[digest] = SmallWanted(digest, BLOB_SIZE_BYTES_MAX, is_needed=False)

    # --- what there is to fetch -----------------------------------------------------------------

    @property
    def is_known(self) -> bool:
        """Say whether the Manifests are here and fit what was signed."""
        return self._parts is not None

    def objects(self) -> tuple[ObjectWanted, ...]:
        """Return the objects of which Pieces are wanted, in file order; none until it is known."""
        self._settle()
        with self._lock:
            missing = list(self._missing)
        return tuple(ObjectWanted(*name) for name in missing if not self._is_full(name))

    def can_take(self, root: bytes, size: int) -> bool:
        """Say whether the Piece layer of an object is here, so that its Pieces can be judged."""
        with self._lock:
            return (root, size) not in self._layerless

    def have(self, root: bytes, size: int) -> Bitmap:
        """Return which Pieces of an object are verified and written."""
        name = (root, size)
        self._settle()
        with self._lock:
            is_missing, is_judged = name in self._missing, name not in self._layerless
        if not is_missing:
            return Bitmap.full(piece_count(size))
        if not is_judged:
            return Bitmap(piece_count(size))
        return self._gatherings.of(self, name).have()

    def _settle(self) -> None:
        """Count what another transfer of the same files has brought to its end."""
        with self._lock:
            for name in [one for one in self._missing if self._gatherings.is_installed(one)]:
                del self._missing[name]
                self._installed.add(name)
                self._held_bytes += name[1]
            for name in [one for one in self._leafless if self._gatherings.has_leaves(one)]:
                del self._leafless[name]

    def _is_full(self, name: ObjectName) -> bool:
        with self._lock:
            if name in self._layerless:
                return False
        return self._gatherings.of(self, name).is_full

    def _learn(self) -> None:
        """Find out, from the Manifests, what is wanted and whether there is room for it."""
        parts = self._read_parts()
        pieces = self._content.pieces
        with self._context.store.reads() as reads:
            # A file that no row names is perhaps on its way out, or none of anybody's business.
            held = {
                one for one in parts.travelling() if reads.objects.uses_of(one) and pieces.has(*one)
            }
            coming = unwanted_bytes(reads, parts)
        with self._lock:
            self._missing = dict.fromkeys(one for one in parts.travelling() if one not in held)
            plain = [(file.root, file.size) for file in parts.leaf_files()]
            self._leafless = dict.fromkeys(one for one in plain if not pieces.layers.has(*one))
            for name in (*self._missing, *self._leafless):
                if not self._has_layer(name):
                    self._layerless[name] = {}
            self._total_bytes = sum(size for _, size in parts.travelling())
            self._held_bytes = sum(size for _, size in held)
            self._parts = parts
        if self._whose is Whose.OTHERS:
            self._storing.check_quota(coming)
        pieces.check_room(self._total_bytes - self._done_bytes())

    def _read_parts(self) -> Parts:
        try:
            parts = read_parts(self._row, self._content.object)
        except BadManifest as error:
            raise self._bad("manifest") from error
        except BadArtifactPath as error:
            raise self._bad("path") from error
        except SealDiffers as error:
            raise self._bad("seal") from error
        if not parts.is_right_count:
            raise self._bad("files")
        if parts.plain.size != self._row.size:
            raise self._bad("size")
        return parts

    def _bad(self, reason: str) -> BadRelease:
        return BadRelease(release=self.release, seller=self.seller, reason=reason)

    def _has_layer(self, name: ObjectName) -> bool:
        try:
            self._content.pieces.layers.checker(*name)
        except LayerMissing:
            return False
        return True

    # --- hashes ------------------------------------------------------------------------------

    def hashes_wanted(self) -> tuple[HashesWanted, ...]:
        """Return ranges of hashes to ask for: Piece layers first, then leaf layers.

        A leaf range is named once the Piece layer that it is judged by is here.  Only the whole
        Piece layer can be judged: all its ranges are best asked of one Peer.
        """
        found: list[HashesWanted] = []
        self._settle()
        with self._lock:
            layerless = {name: set(ranges) for name, ranges in self._layerless.items()}
            leafless = [name for name in self._leafless if name not in layerless]
        for (root, size), known in layerless.items():
            count = piece_count(size)
            for first in range(0, count, PIECE_HASHES_MAX):
                if first not in known:
                    length = min(PIECE_HASHES_MAX, count - first)
                    found.append(HashesWanted(root, size, HashLayer.PIECES, first, length))
            if len(found) >= HASHES_LISTED_MAX:
                return tuple(found[:HASHES_LISTED_MAX])
        for root, size in leafless:
            have = self._gatherings.leaves_of(self, (root, size)).have()
            found.extend(_leaf_ranges(root, size, have))
            if len(found) >= HASHES_LISTED_MAX:
                break
        return tuple(found[:HASHES_LISTED_MAX])

    def put_hashes(self, root: bytes, size: int, layer: HashLayer, first: int, raw: bytes) -> bool:
        """Take a range of hashes; False when it is wrong, and nothing of it is kept.

        Of a Piece layer that does not fold to its root, all is wanted again.
        """
        with self._guarded():
            if layer is HashLayer.PIECES:
                return self._put_layer((root, size), first, raw)
            return self._put_leaves((root, size), first, raw)

    def _put_layer(self, name: ObjectName, first: int, raw: bytes) -> bool:
        count = piece_count(name[1])
        length = min(PIECE_HASHES_MAX, count - first) * HASH_SIZE_BYTES
        with self._lock:
            known = self._layerless.get(name)
            if known is None:
                return self._is_of_release(name)  # it came from somebody else meanwhile
            if first % PIECE_HASHES_MAX or not 0 <= first < count or len(raw) != length:
                return False
            known[first] = bytes(raw)
            if len(known) < -(-count // PIECE_HASHES_MAX):
                return True
            whole = b"".join(known[one] for one in sorted(known))
            known.clear()
            if not self._content.pieces.layers.keep_pieces(*name, whole):
                return False
            del self._layerless[name]
            return True

    def _put_leaves(self, name: ObjectName, first: int, raw: bytes) -> bool:
        with self._lock:
            if name in self._layerless:
                return False
            if name not in self._leafless:
                return self._is_of_release(name)
        if first % LEAVES_PER_PIECE or not raw:
            return False
        gathering = self._gatherings.leaves_of(self, name)
        if not gathering.put(first // LEAVES_PER_PIECE, bytes(raw)):
            return False
        if gathering.is_full:
            self._install_leaves(name)
        return True

    def _is_of_release(self, name: ObjectName) -> bool:
        parts = self._parts
        return parts is not None and (
            name in parts.travelling()
            or any(name == (file.root, file.size) for file in parts.leaf_files())
        )

    def _install_leaves(self, name: ObjectName) -> None:
        if self._gatherings.install_leaves(self, name):
            self._settle()

    # --- Pieces ------------------------------------------------------------------------------

    def put_piece(self, root: bytes, size: int, piece: int, data: bytes | memoryview) -> bool:
        """Take one Piece; False when these are not its bytes, and nothing was written then."""
        name = (root, size)
        with self._lock:
            if name in self._missing and self._gatherings.is_installed(name):
                self._settle()
            is_wanted, is_judged = name in self._missing, name not in self._layerless
        if not is_wanted:
            return self._is_of_release(name)  # the end game brought it twice
        if not is_judged:
            return False
        with self._guarded():
            gathering = self._gatherings.of(self, name)
            if not gathering.put(piece, data):
                return False
            with self._lock:
                self._came[name] += len(data)
            if gathering.is_full and gathering.is_proved:
                self._install(name, Control())
        return True

    def _install(self, name: ObjectName, control: Control) -> None:
        if piece_count(name[1]) > 1:
            # First the row: killed in between, the part is still there and is gone on with; a file
            # that no row names would have to come again as a whole.
            self._note_installed({name})
        if self._gatherings.install(self, name, Progress(control, _STAGE, name[1])):
            self._settle()

    def _note_installed(self, names: set[ObjectName]) -> None:
        assert self._parts is not None
        with self._context.store.unit_of_work() as uow:
            now_ms = self._context.clock.now_ms()
            note_uses(uow, self._parts, sorted(names), now_ms, self._whose)
            uow.commit()

    def checkpoint(self) -> TransferView:
        """Make durable what came since the last one; best every ``UNSYNCED_BYTES_MAX``.

        Raises ``TransferNotUnderWay`` when somebody paused or cancelled the transfer.
        """
        with self._guarded():
            self._gatherings.sync(self)
            view, row = self._note_progress()
            if not row.is_due:
                raise TransferNotUnderWay(release=self.release, state=view.state.value)
        return view

    def finish(self, control: Control | None = None) -> TransferView:
        """End the transfer if everything is here; else say how far it is.

        What an earlier run left is hashed again first; what rotted meanwhile is wanted again.
        """
        control = control or Control()
        with self._guarded():
            self._settle()
            with self._lock:
                is_known, missing, leafless = self.is_known, [*self._missing], [*self._leafless]
            for name in missing:
                if self._is_full(name):
                    self._install(name, control)
            for name in leafless:
                if self.can_take(*name) and self._gatherings.leaves_of(self, name).is_full:
                    self._install_leaves(name)
            with self._lock:
                is_whole = is_known and not self._missing and not self._leafless
            if is_whole and not self._is_here():
                self._learn()  # a long transfer may outlive what it found here
                is_whole = False
            if not is_whole:
                self._gatherings.sync(self)
                return self._note_progress()[0]
            return self._end()

    def _is_here(self) -> bool:
        """Say whether all that came still lies here; the empty file is made."""
        pieces, parts = self._content.pieces, self._parts
        assert parts is not None
        leaves = [(file.root, file.size) for file in parts.leaf_files()]
        gone = {name for name in parts.wanted() if not pieces.has(*name)}
        gone |= {name for name in leaves if not pieces.layers.has(*name)}
        self._gatherings.forget(gone)
        return not gone

    def _end(self) -> TransferView:
        parts, context = self._parts, self._context
        assert parts is not None
        now_ms = context.clock.now_ms()
        with context.store.unit_of_work() as uow:
            for name in parts.wanted():
                uow.objects.seeded(name, now_ms)  # the first files may have come days ago
            if self._whose is Whose.OTHERS:
                self._storing.make_room(uow, unwanted_bytes(uow, parts))
            note_held(uow, parts, now_ms, self._whose)
            self._count_traffic(uow, now_ms)
            uow.transfers.progress(self.release, self._total_bytes, self._total_bytes, now_ms)
            row = uow.transfers.move(self.release, TransferState.DONE, now_ms)
            view = transfer_view(uow, row)
            uow.commit()
        self._state = TransferState.DONE
        return view

    def _note_progress(self) -> tuple[TransferView, TransferRow]:
        now_ms = self._context.clock.now_ms()
        done = self._done_bytes()
        with self._lock:
            installed = set(self._installed)
        with self._context.store.unit_of_work() as uow:
            if self._parts is not None:
                note_uses(uow, self._parts, sorted(installed), now_ms, self._whose)
            uow.transfers.progress(self.release, done, self._total_bytes, now_ms)
            self._count_traffic(uow, now_ms)
            row = uow.transfers.get(self.release)
            assert row is not None
            view = transfer_view(uow, row)
            uow.commit()
        with self._lock:
            self._installed -= installed
        return view, row

    def _count_traffic(self, uow: Repositories, now_ms: int) -> None:
        with self._lock:
            came, self._came = self._came, Counter()
        uow.traffic.add(came, {}, now_ms)

    def _done_bytes(self) -> int:
        self._settle()
        with self._lock:
            done, missing = self._held_bytes, list(self._missing)
        for root, size in missing:
            if not self.can_take(root, size):
                continue
            have = self._gatherings.of(self, (root, size)).have()
            last = piece_count(size) - 1
            done += len(have) * PIECE_SIZE_BYTES
            if last in have:
                done -= PIECE_SIZE_BYTES - piece_length(size, last)
        return done

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Note in the transfer what went wrong, and keep what was durable."""
        try:
            yield
        except TransferNotUnderWay:
            raise
        except HanseError as error:
            with suppress(HanseError):
                self._gatherings.sync(self)
            with suppress(HanseError):
                self._note_progress()
            with suppress(HanseError), self._context.store.unit_of_work() as uow:
                row = uow.transfers.get(self.release)
                if row is not None and not row.is_ended:
                    now_ms = self._context.clock.now_ms()
                    uow.transfers.move(self.release, TransferState.FAILED, now_ms, error)
                    uow.commit()
                    self._state = TransferState.FAILED
            raise


def _leaf_ranges(root: bytes, size: int, have: Bitmap) -> Iterator[HashesWanted]:
    """Yield the leaf hashes not here, in ranges of whole Pieces."""
    leaves, start = leaf_count(size), None
    for piece in range(piece_count(size) + 1):
        is_missing = piece < piece_count(size) and piece not in have
        if start is not None and (not is_missing or piece - start == _PIECES_PER_RANGE):
            first = start * LEAVES_PER_PIECE
            count = min(piece * LEAVES_PER_PIECE, leaves) - first
            yield HashesWanted(root, size, HashLayer.LEAVES, first, count)
            start = None
        if is_missing and start is None:
            start = piece


def parts_held(row: ReleaseRow, content: Content, held: Repositories) -> Parts | None:
    """Return the parts of a Release of which everything is here already, else None."""
    small, pieces = content.small, content.pieces
    parts = parts_here(row, small)
    if parts is None or small_here(small, row.card) is None:
        return None
    is_whole = all(
        pieces.has(*name) and held.objects.uses_of(name) for name in parts.travelling()
    ) and all(pieces.layers.has(file.root, file.size) for file in parts.leaf_files())
    return parts if is_whole else None
