"""Healing: Pieces that rotted on disk, made again from what is still right.

* A damaged plain Piece is opened from its cipher Piece, a damaged cipher Piece is sealed
  from its plain one; the source Piece is checked first, the result before it is written.
* A sealed file that is not held at all is sealed again when the plain one is whole.
* Both ways need the Content key.  What cannot be healed is named, to be fetched.

From whom it could be fetched, and whether the file is still wanted, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanse.core.artifacts.lanes import Lanes
from hanse.core.artifacts.layers import LayerMissing
from hanse.core.artifacts.opening import check_content_key
from hanse.core.artifacts.parts import Progress
from hanse.core.artifacts.pieces import ObjectMissing, OtherContent, PieceDamaged
from hanse.core.artifacts.sealing import seal_file
from hanse.core.artifacts.tree import piece_count
from hanse.core.crypto.stream import piece_key, xor_piece

if TYPE_CHECKING:
    from hanse.core.artifacts.manifest import Manifest, SealedManifest
    from hanse.core.artifacts.pieces import PieceStore
    from hanse.core.model.control import Control

Place = tuple[int, int]  # number of the file, number of the Piece


@dataclass(frozen=True, slots=True)
class Healed:
    """What was damaged, by (file, Piece), and what of it is still so."""

    healed_plain: tuple[Place, ...]
    healed_sealed: tuple[Place, ...]
    lost_plain: tuple[Place, ...]
    lost_sealed: tuple[Place, ...]

    @property
    def is_whole(self) -> bool:
        """Say whether nothing has to be fetched."""
        return not (self.lost_plain or self.lost_sealed)


def reseal_pieces(
    manifest: Manifest,
    sealed: SealedManifest,
    content_key: bytes | None,
    store: PieceStore,
    control: Control,
) -> Healed:
    """Find damaged Pieces of both forms of an Artifact and make them again where possible.

    Without the Content key they are only found.  A plain file that is not held is nothing
    damaged: who only seeds holds none.
    """
    if content_key is not None:
        check_content_key(sealed, content_key)
    healed: tuple[list[Place], list[Place]] = ([], [])
    lost: tuple[list[Place], list[Place]] = ([], [])
    for number, (file, cipher_root) in enumerate(zip(manifest.files, sealed.roots, strict=True)):
        roots = (file.root, cipher_root)
        for form, (root, other) in enumerate((roots, roots[::-1])):
            try:
                damaged = store.verify(root, file.size, control)
            except ObjectMissing:
                if form == 1:
                    is_made = content_key is not None and _seal_again(
                        manifest, sealed, number, content_key, store, control
                    )
                    places = [(number, piece) for piece in range(piece_count(file.size))]
                    (healed if is_made else lost)[form].extend(places)
                continue
            for piece in damaged:
                is_made = content_key is not None and _make_piece(
                    store, root, other, file.size, piece, piece_key(content_key, number, piece)
                )
                (healed if is_made else lost)[form].append((number, piece))
    return Healed(tuple(healed[0]), tuple(healed[1]), tuple(lost[0]), tuple(lost[1]))


def _make_piece(
    store: PieceStore, root: bytes, other: bytes, size: int, piece: int, key: bytes
) -> bool:
    """Make one Piece of ``root`` from the same Piece of ``other``; say whether it was possible."""
    try:
        store.repair_piece(root, size, piece, xor_piece(key, store.read_piece(other, size, piece)))
    except (ObjectMissing, PieceDamaged, LayerMissing, OtherContent):
        return False
    return True


def _seal_again(
    manifest: Manifest,
    sealed: SealedManifest,
    number: int,
    content_key: bytes,
    store: PieceStore,
    control: Control,
) -> bool:
    file = manifest.files[number]
    progress = Progress(control, "seal", file.size)
    try:
        store.check_room(file.size)
        with Lanes() as lanes:
            seal_file(
                file,
                number,
                content_key,
                sealed.salt,
                store,
                lanes,
                progress,
                expected=sealed.roots[number],
            )
    except (ObjectMissing, PieceDamaged, LayerMissing, OtherContent):
        return False
    return True
