"""Writes ``content.json``: trees, Manifests, sealing, cards and tiers, whole and broken.

Run as ``python -m tests.vectors.make_content``.  Nothing of the program is called: trees
are BEP 52 level by level, the key stream is RFC 8439 word for word and the ciphertext
libsodium's, DAG-CBOR is ``dag-cbor``'s.  Data is long, so it is not written out: see ``data``.
"""

from __future__ import annotations

import json
import struct
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import dag_cbor
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt

FILE = Path(__file__).with_name("content.json")

LEAF = 16 * 1024
PIECE = 1024 * 1024
ZERO = bytes(32)
CONTENT_KEY = sha256(b"content key").digest()
SALT = sha256(b"seal salt").digest()
# Names and sizes of one Artifact's files, in the order of their paths.
FILES = (("README.md", 0), ("model.onnx", PIECE + LEAF + 5), ("标签/labels.txt", 3))


@cache
def data(seed: str, size: int) -> bytes:
    """SHA-256 of the seed and a count from 0 as u32, one after the other, cut to ``size``."""
    blocks = (sha256(seed.encode() + struct.pack(">I", n)).digest() for n in range(-(-size // 32)))
    return b"".join(blocks)[:size]


def said(seed: str, size: int) -> dict[str, Any]:
    return {"seed": seed, "size": size}


# --- BEP 52 ---------------------------------------------------------------------------------


def leaves_of(raw: bytes) -> list[bytes]:
    return [sha256(raw[at : at + LEAF]).digest() for at in range(0, len(raw), LEAF)]


def levels(nodes: list[bytes]) -> list[list[bytes]]:
    """Every level of the tree over ``nodes``, filled to a power of two with zero hashes."""
    width = 1
    while width < len(nodes):
        width *= 2
    rows = [nodes + [ZERO] * (width - len(nodes))]
    while len(rows[-1]) > 1:
        below = rows[-1]
        rows.append([sha256(below[n] + below[n + 1]).digest() for n in range(0, len(below), 2)])
    return rows


def root_of(raw: bytes) -> bytes:
    return levels(leaves_of(raw))[-1][0] if raw else ZERO


def layer_of(raw: bytes) -> bytes:
    """The nodes that stand over 64 leaves each, without those over filling alone."""
    if len(raw) <= PIECE:
        return b""
    return b"".join(levels(leaves_of(raw))[6][: -(-len(raw) // PIECE)])


def path_to(index: int, nodes: list[bytes]) -> list[bytes]:
    rows = levels(nodes)[:-1]
    return [row[(index >> height) ^ 1] for height, row in enumerate(rows)]


# --- RFC 8439 -------------------------------------------------------------------------------


def key_stream_block(key: bytes, counter: int) -> bytes:
    """Section 2.3, word for word; the nonce is zero."""
    words = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)
    start = [*words, *struct.unpack("<8I", key), counter, 0, 0, 0]
    at = list(start)
    columns = [(n, 4 + n, 8 + n, 12 + n) for n in range(4)]
    diagonals = [(n, 4 + (n + 1) % 4, 8 + (n + 2) % 4, 12 + (n + 3) % 4) for n in range(4)]
    for a, b, c, d in (columns + diagonals) * 10:
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            at[x] = (at[x] + at[y]) & 0xFFFFFFFF
            mixed = at[z] ^ at[x]
            at[z] = (mixed << turn | mixed >> (32 - turn)) & 0xFFFFFFFF
    return struct.pack("<16I", *((n + m) & 0xFFFFFFFF for n, m in zip(at, start, strict=True)))


def piece_key(content_key: bytes, file: int, piece: int) -> bytes:
    place = struct.pack(">IQ", file, piece)
    return sha256(b"hanse/piece/v1\0" + content_key + place).digest()


def sealed_bytes(content_key: bytes, file: int, raw: bytes) -> bytes:
    """Seal with libsodium's AEAD, which begins at block 1, and leave its tag away."""
    pieces = []
    for number, at in enumerate(range(0, len(raw), PIECE)):
        key = piece_key(content_key, file, number)
        plain = raw[at : at + PIECE]
        cipher = crypto_aead_chacha20poly1305_ietf_encrypt(plain, None, bytes(12), key)
        first = bytes(a ^ b for a, b in zip(plain[:64], key_stream_block(key, 1), strict=False))
        assert cipher.startswith(first)
        pieces.append(cipher[: len(plain)])
    return b"".join(pieces)


# --- the Artifact of three files ------------------------------------------------------------


def plain_files() -> list[bytes]:
    return [data(path, size) for path, size in FILES]


def rows() -> list[list[Any]]:
    return [
        [path, len(raw), root_of(raw), sha256(raw).digest()]
        for (path, _), raw in zip(FILES, plain_files(), strict=True)
    ]


@cache
def cipher_roots() -> tuple[bytes, ...]:
    return tuple(
        root_of(sealed_bytes(CONTENT_KEY, number, raw)) for number, raw in enumerate(plain_files())
    )


def manifest() -> bytes:
    return dag_cbor.encode([1, rows()])


def ck_commit() -> bytes:
    return sha256(b"hanse/ck/v1\0" + CONTENT_KEY).digest()


def sealed_manifest(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "version": 1,
        "artifact": sha256(manifest()).digest(),
        "salt": SALT,
        "ck_commit": ck_commit(),
        "roots": list(cipher_roots()),
    }
    assert set(changes) <= set(fields)
    return dag_cbor.encode(list((fields | changes).values()))


def file_records() -> list[bytes]:
    return [
        sha256(b"hanse/file/v1\0" + struct.pack(">IQ", number, size) + root + cipher_root).digest()
        for number, ((_, size, root, _), cipher_root) in enumerate(
            zip(rows(), cipher_roots(), strict=True)
        )
    ]


# --- the vectors ----------------------------------------------------------------------------


def file_row(size: int) -> dict[str, Any]:
    raw = data("tree", size)
    return {
        "note": f"{size:,} bytes",
        "data": said("tree", size),
        "sha256": sha256(raw).hexdigest(),
        "leaves": -(-size // LEAF),
        "leaf_layer_sha256": sha256(b"".join(leaves_of(raw))).hexdigest(),
        "piece_layer": layer_of(raw).hex(),
        "root": root_of(raw).hex(),
    }


def block_row(note: str, length: int, at: int, reason: str = "", **changes: Any) -> dict[str, Any]:
    raw = data("tree", length)
    row = {
        "note": note,
        "data": said("tree", length),
        "block": at,
        "index": at,
        "size": length,
        "root": root_of(raw).hex(),
        "path": [it.hex() for it in path_to(at, leaves_of(raw))],
    } | changes
    return row | ({"reason": reason} if reason else {})


def blocks() -> list[dict[str, Any]]:
    long, middle = 3 * PIECE + 5, 130
    good = block_row("", long, middle)["path"]
    return [
        block_row("the only block of a short file", 5, 0),
        block_row("the shorter last block", LEAF + 1, 1),
        block_row("a block in the third Piece", long, middle),
        block_row("the last block, beside filling", long, 192),
        block_row("another place", long, middle, "other_root", index=131),
        block_row("another root", long, middle, "other_root", root=sha256(b"x").hexdigest()),
        block_row("no such block", long, middle, "index", index=193),
        block_row("a size that makes it the last block", long, middle, "block_length",
                  size=130 * LEAF + 5),
        block_row("a size of another height", long, middle, "path_length", size=5 * PIECE),
        block_row("a hash too few", long, middle, "path_length", path=good[:-1]),
        block_row("a hash of 31 bytes", long, middle, "hash_length", path=[good[0][2:], *good[1:]]),
    ]  # fmt: skip


def manifest_row(note: str, raw: bytes, reason: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {"note": note, "hex": raw.hex()}
    if reason:
        return row | {"reason": reason}
    _, files = dag_cbor.decode(raw)  # type: ignore[misc]  # a list of two
    shown = [
        {"path": path, "size": size, "root": root.hex(), "sha256": digest.hex()}
        for path, size, root, digest in files  # type: ignore[misc, union-attr]
    ]
    return row | {"artifact": sha256(raw).hexdigest(), "files": shown}


def one_file(path: str, *, size: int = 3, root: bytes | None = None) -> list[Any]:
    raw = data("one", size)
    return [path, size, root_of(raw) if root is None else root, sha256(raw).digest()]


def manifests() -> list[dict[str, Any]]:
    good, three = manifest(), rows()
    paths = {
        "../model.onnx": "dots",
        "/model.onnx": "empty_part",
        "a//b": "empty_part",
        "a\\b": "backslash",
        "a:b": "not_on_windows",
        "a\nb": "control",
        "a ": "trailing",
        "a./b": "trailing",
        "LPT1.txt": "reserved",
        "e\u0301": "not_nfc",
    }
    return [
        manifest_row("three files", good),
        manifest_row("one file of one byte", dag_cbor.encode([1, [one_file("a", size=1)]])),
        manifest_row("files out of order", dag_cbor.encode([1, three[::-1]]), "unsorted"),
        manifest_row("one path twice", dag_cbor.encode([1, [three[1], three[1]]]), "unsorted"),
        manifest_row(
            "two paths that are one without case",
            dag_cbor.encode([1, [one_file("Model"), one_file("model")]]),
            "twin",
        ),
        manifest_row(
            "a file named as a folder",
            dag_cbor.encode([1, [one_file("a"), one_file("a/b")]]),
            "folder_and_file",
        ),
        *(
            manifest_row(f"path {path!r}", dag_cbor.encode([1, [one_file(path)]]), rule)
            for path, rule in paths.items()
        ),
        manifest_row("a longer head than needed", b"\x82\x18\x01" + good[2:], "not_canonical"),
        manifest_row("a byte behind the end", good + b"\0", "trailing"),
        manifest_row("the end missing", good[:-1], "cut_short"),
        manifest_row("version 2", dag_cbor.encode([2, three]), "version"),
        manifest_row("a map", dag_cbor.encode({"v": 1, "files": three}), "bad_shape"),
        manifest_row("no files", dag_cbor.encode([1, []]), "empty"),
        manifest_row("no bytes", dag_cbor.encode([1, [three[0]]]), "empty"),
        manifest_row(
            "a root of an empty file",
            dag_cbor.encode([1, [one_file("a"), one_file("b", size=0, root=CONTENT_KEY)]]),
            "empty_root",
        ),
        manifest_row(
            "no root of a file with bytes",
            dag_cbor.encode([1, [one_file("a", root=ZERO)]]),
            "empty_root",
        ),
    ]


def sealed_row(note: str, raw: bytes, reason: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {"note": note, "manifest": manifest().hex(), "hex": raw.hex()}
    if reason:
        return row | {"reason": reason}
    return row | {
        "sealed": sha256(raw).hexdigest(),
        "salt": SALT.hex(),
        "ck_commit": ck_commit().hex(),
        "roots": [it.hex() for it in cipher_roots()],
    }


def sealed_manifests() -> list[dict[str, Any]]:
    roots = list(cipher_roots())
    return [
        sealed_row("three files", sealed_manifest()),
        sealed_row("another Artifact's", sealed_manifest(artifact=SALT), "other_artifact"),
        sealed_row("a root too few", sealed_manifest(roots=roots[:-1]), "other_files"),
        sealed_row(
            "a root of the empty file",
            sealed_manifest(roots=[SALT, *roots[1:]]),
            "empty_root",
        ),
        sealed_row("a salt of 16 bytes", sealed_manifest(salt=SALT[:16]), "bad_shape"),
        sealed_row("version 2", sealed_manifest(version=2), "version"),
        sealed_row("a byte behind the end", sealed_manifest() + b"\0", "trailing"),
    ]


def seal_row() -> dict[str, Any]:
    places = [(1, 0), (1, 1), (2, 0)]
    streams = []
    for file, piece, leaf in ((1, 0, 0), (1, 0, 63), (1, 1, 1), (2, 0, 0)):
        key = piece_key(CONTENT_KEY, file, piece)
        streams.append(
            {
                "file": file,
                "piece": piece,
                "leaf": leaf,
                "first": key_stream_block(key, 1 + 256 * leaf).hex(),
            }
        )
    return {
        "note": "three files",
        "content_key": CONTENT_KEY.hex(),
        "salt": SALT.hex(),
        "files": [said(path, size) for path, size in FILES],
        "paths": [path for path, _ in FILES],
        "ck_commit": ck_commit().hex(),
        "piece_keys": [
            {"file": file, "piece": piece, "key": piece_key(CONTENT_KEY, file, piece).hex()}
            for file, piece in places
        ],
        "key_streams": streams,
        "roots": [it.hex() for it in cipher_roots()],
        "records": [it.hex() for it in file_records()],
        "seal_root": levels(file_records())[-1][0].hex(),
        "artifact": sha256(manifest()).hexdigest(),
        "sealed": sha256(sealed_manifest()).hexdigest(),
    }


def record_row(note: str, at: int, *, holds: bool = True, **changes: Any) -> dict[str, Any]:
    records = file_records()
    return {
        "note": note,
        "file": at,
        "files": len(records),
        "record": records[at].hex(),
        "path": [it.hex() for it in path_to(at, records)],
        "seal_root": levels(records)[-1][0].hex(),
        "holds": holds,
    } | changes


def file_proofs() -> list[dict[str, Any]]:
    path = record_row("", 1)["path"]
    return [
        record_row("the first file", 0),
        record_row("the second file", 1),
        record_row("the last file, beside filling", 2),
        record_row("as another file", 1, holds=False, file=0),
        record_row("the filling as a fourth file", 2, holds=False, file=3, record=ZERO.hex()),
        record_row("another number of files", 1, holds=False, files=5),
        record_row("a hash too few", 1, holds=False, path=path[:1]),
        record_row("another record", 1, holds=False, record=SALT.hex()),
    ]


# --- Model cards and tiers ------------------------------------------------------------------


def card() -> dict[str, Any]:
    """A Model card that states little: every field is there all the same."""
    tensor: dict[str, Any] = {
        "name": "X", "dtype": "float32", "shape": ["N", 30, None], "semantics": "", "unit": "",
        "low_micro": None, "high_micro": None, "categories": [], "media_type": "",
        "size_bytes_most": None,
    }  # fmt: skip
    claim: dict[str, Any] = {
        "dataset": "held out", "sha256": None, "split": "test", "metric": "accuracy",
        "value_micro": 874_000, "ci_low_micro": None, "ci_high_micro": None, "slice": "",
        "threshold_micro": None,
    }  # fmt: skip
    return {
        "v": 1,
        "lang": "zh-CN",
        "modality_in": ["tabular"],
        "modality_out": [],
        "variants": [
            {
                "file": "model.onnx", "format": "onnx", "framework": "sklearn", "opset": 18,
                "quantisation": "",
            }
        ],
        "made_from": None,
        "parity": None,
        "signature": {
            "inputs": [tensor], "outputs": [], "states": [], "context": 0, "vocabulary": 0
        },
        "recipe": {"pre": [], "post": [], "labels": ["良性", "恶性"], "samples": None},
        "architecture": {"family": "", "parameters": None, "context": None, "objective": ""},
        "lineage": {"base_models": [], "is_original": True, "method": ""},
        "training": {"datasets": [], "opt_out_respected": "not_stated", "cannot_disclose": ""},
        "claims": [claim],
        "use": {
            "users": "", "uses": "", "out_of_scope": "", "limitations": "第一行\n第二行",
            "trade_offs": "", "acceptable_use": None,
        },
        "risk": {
            "ethics": [], "fairness": [], "explainability": "", "safety_risk": "",
            "human_oversight": "",
        },
        "ai_act": {
            "role": None, "is_gpai": None, "systemic": None, "annex_iii_area": "",
            "no_prohibited_use": None, "training_summary_url": "", "training_summary_sha256": None,
            "copyright_policy": "", "eu_contact": "",
        },
        "energy": {"training_wh": None, "co2e_g": None, "hardware": "", "region": ""},
        "trial": {"open": None, "sealed_local": None, "signed_answers": None},
        "checklist": ["yes", *["not_stated"] * 7],
        "references": [],
    }  # fmt: skip


def without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: one for name, one in value.items() if name not in names}


def hashed_row(note: str, value: object, reason: str = "") -> dict[str, Any]:
    raw = dag_cbor.encode(value)  # type: ignore[arg-type]
    row: dict[str, Any] = {"note": note, "hex": raw.hex()}
    return row | ({"reason": reason} if reason else {"sha256": sha256(raw).hexdigest()})


def cards() -> list[dict[str, Any]]:
    good = card()
    claim, words = good["claims"][0], good["use"]
    return [
        hashed_row("a card that states little", good),
        hashed_row("a field left out", without(good, "references"), "not_canonical"),
        hashed_row(
            "a field of a part left out",
            good | {"claims": [without(claim, "slice")]},
            "not_canonical",
        ),
        hashed_row("a field nobody knows", good | {"colour": "red"}, "bad_shape"),
        hashed_row("version 2", good | {"v": 2}, "bad_shape"),
        hashed_row(
            "a figure with a point", good | {"claims": [claim | {"value_micro": 0.5}]}, "bad_shape"
        ),
        hashed_row(
            "text that is not NFC", good | {"use": words | {"users": "e\u0301"}}, "bad_shape"
        ),
        hashed_row("seven points of eight", good | {"checklist": ["not_stated"] * 7}, "bad_shape"),
    ]


def terms(**changes: Any) -> dict[str, Any]:
    granted = {
        "spdx": "LicenseRef-0123456789abcdef",
        "text_hash": sha256("A text. 一段文字。".encode()).digest(),
        "commercial": 1, "internal": 1, "research": 1, "saas": 2,
        "redistribute_weights": 0, "derivatives": 2, "fine_tune": 1, "distil": 0, "resale": 0,
        "clauses": {"saas": 4, "derivatives": 7},
        "outputs": "licensee", "attribution": False, "fields_denied": ["military"],
        "territories": ["DE", "CN"], "seats": 5, "devices": 0, "term_days": 365,
        "upgrades": "minor", "upgrades_until": None, "support_days": 90, "warranty_days": 30,
        "liability_cap_pct": 100, "transfer": "none", "law": "DE", "export_note": "",
    }  # fmt: skip
    return granted | changes


def tier_row(note: str, reason: str = "", **changes: Any) -> dict[str, Any]:
    tier: dict[str, Any] = {"v": 1, "name": "team", "terms": terms(), "adds": -2000} | changes
    row: dict[str, Any] = {"note": note, "hex": dag_cbor.encode(tier).hex()}
    return row | ({"reason": reason} if reason else {"name": tier["name"], "adds": tier["adds"]})


def tiers() -> list[dict[str, Any]]:
    bad = "bad_shape"
    return [
        tier_row("a tier that costs less"),
        tier_row("a condition without its clause", bad, terms=terms(clauses={"saas": 4})),
        tier_row("a clause without a condition", bad, terms=terms(research=0, clauses={
            "saas": 4, "derivatives": 7, "research": 2})),
        tier_row("a right that is neither no, yes nor a condition", bad, terms=terms(resale=3)),
        tier_row("a field nobody knows", bad, discount=1),
        tier_row("version 2", bad, v=2),
        tier_row("without a name", bad, name=""),
        tier_row("a country in small letters", bad, terms=terms(law="de")),
    ]  # fmt: skip


def document() -> str:
    """Return the text of ``content.json``."""
    sizes = (0, 1, LEAF - 1, LEAF, LEAF + 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5)
    about = (
        "Content of models. Data is not written out: it is SHA-256(seed in UTF-8 + u32 n) for "
        "n = 0, 1, 2 ... one after the other, cut to size bytes."
    )
    content = {
        "about": about,
        "files": [file_row(size) for size in sizes],
        "blocks": blocks(),
        "manifests": manifests(),
        "sealed_manifests": sealed_manifests(),
        "seals": [seal_row()],
        "file_proofs": file_proofs(),
        "cards": cards(),
        "tiers": tiers(),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
