"""Golden vectors of the content of models, run against this program.

* The same kind of file as ``hanse.core.ledger.vectors`` reads, with other members.
* Long data is not written out: it is named by a seed and a size, and made here.
* The reason of what must be refused is the stable word of the refusal: of a Manifest its
  ``reason``, of a path its ``rule``, of a block or a Body likewise; else the error's code.
* A file is from anybody: what it makes us hash is bounded before anything is hashed.

Nothing here reads a file; the bytes are an argument.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from hanse.core.artifacts.manifest import (
    BadArtifactPath,
    BadManifest,
    FileEntry,
    Manifest,
    SealedManifest,
    file_record,
    is_below_seal_root,
    read_manifest,
    read_sealed_manifest,
    seal_root,
)
from hanse.core.artifacts.tree import BadBlock, PieceTree, check_block
from hanse.core.crypto.stream import content_key_commitment, piece_key, xor_piece
from hanse.core.errors import BadShape, HanseError, RejectedEntry
from hanse.core.ledger.codec import decode_any, encode
from hanse.core.ledger.vectors import (
    Check,
    Hex,
    Hex32,
    HexList,
    Vector,
    VectorsDamaged,
    each_vector,
    first_difference,
    run_checks,
)
from hanse.core.limits import (
    ARTIFACT_FILES_MAX,
    LEAF_SIZE_BYTES,
    PIECE_SIZE_BYTES,
    VECTOR_DATA_SIZE_BYTES_MAX,
    VECTOR_IDS_MAX,
)
from hanse.core.market.card_codec import encode_card, read_card
from hanse.core.model.licence import read_tier, tier_map

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATA_BLOCK: Final = 32  # bytes of one SHA-256
_KEY_STREAM_SHOWN: Final = 64

_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_File = Annotated[int, msgspec.Meta(ge=0, le=ARTIFACT_FILES_MAX)]
_Leaf = Annotated[int, msgspec.Meta(ge=0, lt=PIECE_SIZE_BYTES // LEAF_SIZE_BYTES)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a vector."""


class _Data(_Strict, frozen=True, kw_only=True):
    seed: Annotated[str, msgspec.Meta(max_length=200)]
    size: _Natural


class _FileTree(Vector, frozen=True, kw_only=True):
    data: _Data
    sha256: Hex32
    leaves: _Natural
    leaf_layer_sha256: Hex32
    piece_layer: Hex
    root: Hex32


class _Block(Vector, frozen=True, kw_only=True):
    """Block ``block`` of the data, said to be block ``index`` of a file of ``size`` bytes."""

    data: _Data
    block: _Natural
    index: _Natural
    size: _Natural
    root: Hex32
    path: HexList


class _FileRow(_Strict, frozen=True, kw_only=True):
    path: str
    size: _Natural
    root: Hex32
    sha256: Hex32


class _Manifest(Vector, frozen=True, kw_only=True):
    hex: Hex
    artifact: Hex32 | None = None
    files: list[_FileRow] = msgspec.field(default_factory=list)


class _SealedManifest(Vector, frozen=True, kw_only=True):
    manifest: Hex
    hex: Hex
    sealed: Hex32 | None = None
    salt: Hex32 | None = None
    ck_commit: Hex32 | None = None
    roots: HexList = msgspec.field(default_factory=list)


class _PieceKey(_Strict, frozen=True, kw_only=True):
    file: _File
    piece: _Natural
    key: Hex32


class _KeyStream(_Strict, frozen=True, kw_only=True):
    file: _File
    piece: _Natural
    leaf: _Leaf
    first: Hex


class _Seal(Vector, frozen=True, kw_only=True):
    """An Artifact of ``files`` at ``paths``, sealed, and all that follows from it."""

    content_key: Hex32
    salt: Hex32
    files: Annotated[list[_Data], msgspec.Meta(max_length=VECTOR_IDS_MAX)]
    paths: Annotated[list[str], msgspec.Meta(max_length=VECTOR_IDS_MAX)]
    ck_commit: Hex32
    piece_keys: list[_PieceKey]
    key_streams: list[_KeyStream]
    roots: HexList
    records: HexList
    seal_root: Hex32
    artifact: Hex32
    sealed: Hex32


class _FileProof(Vector, frozen=True, kw_only=True):
    file: _Natural
    files: _Natural
    record: Hex32
    path: HexList
    seal_root: Hex32
    holds: bool


class _Card(Vector, frozen=True, kw_only=True):
    hex: Hex
    sha256: Hex32 | None = None


class _Tier(Vector, frozen=True, kw_only=True):
    hex: Hex
    name: str | None = None
    adds: int | None = None


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    about: str
    files: list[_FileTree] = []
    blocks: list[_Block] = []
    manifests: list[_Manifest] = []
    sealed_manifests: list[_SealedManifest] = []
    seals: list[_Seal] = []
    file_proofs: list[_FileProof] = []
    cards: list[_Card] = []
    tiers: list[_Tier] = []


def is_content_vectors(raw: bytes) -> bool:
    """Say whether a file of vectors has members of this kind."""
    try:
        members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return not members.keys().isdisjoint(set(_Document.__struct_fields__) - {"about"})


def check_content_vectors(raw: bytes) -> tuple[int, list[tuple[str, str]]]:
    """Run every vector in ``raw``; return how many there are, and where which differ and how."""
    try:
        document = msgspec.json.decode(raw, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise VectorsDamaged(str(error)) from error
    size = sum(row.data.size for row in document.files)
    size += sum(data.size for row in document.seals for data in row.files)
    if size > VECTOR_DATA_SIZE_BYTES_MAX:
        raise VectorsDamaged(f"{size} bytes of data, limit {VECTOR_DATA_SIZE_BYTES_MAX}")
    return run_checks(_checks(document))


def _checks(document: _Document) -> Iterator[Check]:
    yield from each_vector("files", document.files, _check_file)
    yield from each_vector("blocks", document.blocks, _check_block, _word)
    yield from each_vector("manifests", document.manifests, _check_manifest, _word)
    yield from each_vector("sealed_manifests", document.sealed_manifests, _check_sealed, _word)
    yield from each_vector("seals", document.seals, _check_seal, _word)
    yield from each_vector("file_proofs", document.file_proofs, _check_file_proof)
    yield from each_vector("cards", document.cards, _check_card, _word)
    yield from each_vector("tiers", document.tiers, _check_tier, _word)


def _word(error: HanseError) -> str:
    match error:
        case BadManifest(reason=word) | RejectedEntry(reason=word) | BadArtifactPath(rule=word):
            return word
        case BadBlock():
            return str(error.values["reason"])
        case _:
            return error.code


def _b(text: str) -> bytes:
    return bytes.fromhex(text)


# --- data and trees -------------------------------------------------------------------------


def _part(data: _Data, start: int, most: int) -> bytes:
    """Make up to ``most`` bytes of ``data`` from ``start``, a multiple of 32."""
    assert start % _DATA_BLOCK == 0
    size = max(0, min(most, data.size - start))
    first = start // _DATA_BLOCK
    seed = data.seed.encode()
    count = -(-size // _DATA_BLOCK)
    blocks = (sha256(seed + (first + n).to_bytes(4, "big")).digest() for n in range(count))
    return b"".join(blocks)[:size]


def _pieces(data: _Data) -> Iterator[bytes]:
    for start in range(0, data.size, PIECE_SIZE_BYTES):
        yield _part(data, start, PIECE_SIZE_BYTES)


def _grow(tree: PieceTree, piece: bytes) -> None:
    for start in range(0, len(piece), LEAF_SIZE_BYTES):
        tree.add(piece[start : start + LEAF_SIZE_BYTES])


def _check_file(vector: _FileTree) -> str | None:
    tree, digest = PieceTree(), sha256()
    for piece in _pieces(vector.data):
        digest.update(piece)
        _grow(tree, piece)
    leaves = tree.leaves()
    return first_difference(
        [
            ("sha256", vector.sha256, digest.hexdigest()),
            ("leaves", vector.leaves, len(leaves) // _DATA_BLOCK),
            ("leaf layer", vector.leaf_layer_sha256, sha256(leaves).hexdigest()),
            ("piece layer", vector.piece_layer, tree.layer().hex()),
            ("root", vector.root, tree.root().hex()),
        ]
    )


def _check_block(vector: _Block) -> None:
    if vector.block > VECTOR_DATA_SIZE_BYTES_MAX // LEAF_SIZE_BYTES:
        raise VectorsDamaged(f"block {vector.block}")
    block = _part(vector.data, vector.block * LEAF_SIZE_BYTES, LEAF_SIZE_BYTES)
    path = [_b(it) for it in vector.path]
    check_block(vector.size, _b(vector.root), vector.index, block, path)


# --- Manifests and sealing ------------------------------------------------------------------


def _check_manifest(vector: _Manifest) -> str | None:
    raw = _b(vector.hex)
    found = read_manifest(raw)
    files = [
        _FileRow(path=it.path, size=it.size, root=it.root.hex(), sha256=it.sha256.hex())
        for it in found.files
    ]
    return first_difference(
        [
            ("artifact", vector.artifact, found.artifact_id.hex()),
            ("files", vector.files, files),
            ("bytes", vector.hex, found.encode().hex()),
        ]
    )


def _check_sealed(vector: _SealedManifest) -> str | None:
    found = read_sealed_manifest(_b(vector.hex), read_manifest(_b(vector.manifest)))
    return first_difference(
        [
            ("sealed", vector.sealed, found.sealed_id.hex()),
            ("salt", vector.salt, found.salt.hex()),
            ("ck_commit", vector.ck_commit, found.ck_commit.hex()),
            ("roots", vector.roots, [it.hex() for it in found.roots]),
            ("bytes", vector.hex, found.encode().hex()),
        ]
    )


def _check_seal(vector: _Seal) -> str | None:
    if len(vector.files) != len(vector.paths):
        return f"{len(vector.files)} files and {len(vector.paths)} paths"
    key = _b(vector.content_key)
    for it in vector.piece_keys:
        if (found := piece_key(key, it.file, it.piece).hex()) != it.key:
            return f"piece key {it.file}/{it.piece}: expected {it.key}, found {found}"
    for row in vector.key_streams:
        made = piece_key(key, row.file, row.piece)
        if (found := xor_piece(made, bytes(_KEY_STREAM_SHOWN), row.leaf).hex()) != row.first:
            where = f"{row.file}/{row.piece}/{row.leaf}"
            return f"key stream {where}: expected {row.first}, found {found}"
    files: list[FileEntry] = []
    roots: list[bytes] = []
    for number, (path, data) in enumerate(zip(vector.paths, vector.files, strict=True)):
        entry, root = _sealed_file(key, number, path, data)
        files.append(entry)
        roots.append(root)
    manifest = Manifest.of(files)
    if manifest.files != tuple(files):
        return "the files are out of order"
    commitment = content_key_commitment(key)
    sealed = SealedManifest(manifest.artifact_id, _b(vector.salt), commitment, tuple(roots))
    records = [
        file_record(number, file.size, file.root, root).hex()
        for number, (file, root) in enumerate(zip(files, roots, strict=True))
    ]
    return first_difference(
        [
            ("ck_commit", vector.ck_commit, commitment.hex()),
            ("roots", vector.roots, [it.hex() for it in roots]),
            ("artifact", vector.artifact, manifest.artifact_id.hex()),
            ("sealed", vector.sealed, sealed.sealed_id.hex()),
            ("records", vector.records, records),
            ("seal_root", vector.seal_root, seal_root(manifest, roots).hex()),
        ]
    )


def _sealed_file(key: bytes, number: int, path: str, data: _Data) -> tuple[FileEntry, bytes]:
    plain, cipher, digest = PieceTree(), PieceTree(), sha256()
    for piece, raw in enumerate(_pieces(data)):
        digest.update(raw)
        _grow(plain, raw)
        _grow(cipher, xor_piece(piece_key(key, number, piece), raw))
    return FileEntry(path, data.size, plain.root(), digest.digest()), cipher.root()


def _check_file_proof(vector: _FileProof) -> str | None:
    found = is_below_seal_root(
        _b(vector.seal_root),
        vector.files,
        vector.file,
        _b(vector.record),
        [_b(it) for it in vector.path],
    )
    return first_difference([("holds", vector.holds, found)])


# --- Model cards and tiers ------------------------------------------------------------------


def _check_card(vector: _Card) -> str | None:
    raw = _b(vector.hex)
    again = encode_card(read_card(raw))
    return first_difference(
        [
            ("bytes", vector.hex, again.hex()),
            ("sha256", vector.sha256, sha256(raw).hexdigest()),
        ]
    )


def _check_tier(vector: _Tier) -> str | None:
    held = decode_any(_b(vector.hex))
    if not isinstance(held, dict):
        raise BadShape("a tier is a map")
    tier = read_tier(held)
    return first_difference(
        [
            ("name", vector.name, tier.name),
            ("adds", vector.adds, tier.adds),
            ("bytes", vector.hex, encode(tier_map(tier.terms, tier.name, tier.adds)).hex()),
        ]
    )
