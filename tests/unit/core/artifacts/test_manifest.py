"""Manifests: one encoding, strict reading, and paths that are fit for every system."""

from __future__ import annotations

import hashlib
import time
import tracemalloc
import unicodedata

import pytest

from hanse.core.artifacts.manifest import (
    ArtifactTooLarge,
    BadArtifactPath,
    BadManifest,
    FileEntry,
    Manifest,
    SealedManifest,
    TooManyFiles,
    check_path,
    file_record,
    is_below_seal_root,
    read_manifest,
    read_sealed_manifest,
    seal_path,
    seal_root,
    shown_path,
)
from hanse.core.ledger.codec import encode
from hanse.core.limits import (
    ARTIFACT_FILE_SIZE_BYTES_MAX,
    ARTIFACT_FILES_MAX,
    MANIFEST_SIZE_BYTES_MAX,
)


def h(word):
    return hashlib.sha256(str(word).encode()).digest()


def entry(path, size=10):
    return FileEntry(path, size, h(path) if size else bytes(32), h("digest " + path))


def row(path="a", size=10, root=None, digest=None):
    return [path, size, h(1) if root is None else root, h(2) if digest is None else digest]


MANIFEST = Manifest.of([entry("b/ü.bin", 7), entry("a.onnx", 5), entry("b/empty", 0)])
ROOTS = tuple(h(f"cipher {n}") if file.size else bytes(32) for n, file in enumerate(MANIFEST.files))
SEALED = SealedManifest(MANIFEST.artifact_id, h("salt"), h("commit"), ROOTS)


def test_files_are_sorted_by_path_bytes_and_the_id_is_the_hash():
    assert [file.path for file in MANIFEST.files] == ["a.onnx", "b/empty", "b/ü.bin"]
    rows = [[file.path, file.size, file.root, file.sha256] for file in MANIFEST.files]
    assert MANIFEST.encode() == encode([1, rows])
    assert MANIFEST.artifact_id == hashlib.sha256(MANIFEST.encode()).digest()
    assert MANIFEST.size == 12


def test_path_bytes_order_differs_from_text_order_and_wins():
    names = ["\uffff", "\U00010000"]  # UTF-16 would turn them round
    assert [file.path for file in Manifest.of(map(entry, names)).files] == names


def test_what_is_written_is_read():
    assert read_manifest(MANIFEST.encode()) == MANIFEST
    assert read_sealed_manifest(SEALED.encode(), MANIFEST) == SEALED
    assert SEALED.sealed_id == hashlib.sha256(SEALED.encode()).digest()


def test_ten_thousand_files_are_read_at_once():
    many = Manifest.of(entry(f"layer/{n:05}.bin") for n in range(ARTIFACT_FILES_MAX))
    begin = time.perf_counter()
    assert read_manifest(many.encode()) == many
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "cut_short"),
        (b"\xa0", "bad_shape"),
        (b"\x82\x01", "cut_short"),
        (encode([2, [row()]]), "version"),
        (encode([1, []]), "empty"),
        (encode([1]), "bad_shape"),
        (encode([1, [row()], 0]), "bad_shape"),
        (encode([1, [row()]]) + b"\0", "trailing"),
        (encode([1, [row("b"), row("a")]]), "unsorted"),
        (encode([1, [row("a"), row("a")]]), "unsorted"),
        (encode([1, [[*row(), 0]]]), "bad_shape"),
        (encode([1, [row()[:3]]]), "bad_shape"),
        (encode([1, [row(b"a")]]), "bad_shape"),
        (encode([1, [row(size=-1)]]), "bad_shape"),
        (encode([1, [row(size="1")]]), "bad_shape"),
        (encode([1, [row(size=True)]]), "bad_shape"),
        (encode([1, [row(size=None)]]), "bad_shape"),
        (encode([1, [row(size=ARTIFACT_FILE_SIZE_BYTES_MAX + 1)]]), "too_big"),
        (encode([1, [row(root=h(1)[:31])]]), "bad_shape"),
        (encode([1, [row(digest=h(1) + b"x")]]), "bad_shape"),
        (encode([1, [row(size=0)]]), "empty_root"),
        (encode([1, [row(root=bytes(32))]]), "empty_root"),
        (encode([1, [row(size=0, root=bytes(32))]]), "empty"),
        (b"\x82\x01\x9a\xff\xff\xff\xff", "too_many_files"),
        (b"\x82\x01\x9b" + b"\xff" * 8, "too_many_files"),
        (b"\x82\x01\x19\x27\x11", "bad_shape"),
        (b"\x82\x01\x9f\xff", "bad_shape"),  # a list without a length
        (b"\x82\x18\x01\x80", "not_canonical"),
        (b"\x98\x02\x01\x80", "not_canonical"),
        (b"\x82\x01\x81\x84\x79\xff\xff", "too_big"),
        (b"\x82\x01\x81\x84\x62\xff\xfe" + encode(10) + encode(h(1)) * 2, "not_text"),
        (b"\x82" * 1_000_000, "bad_shape"),
        (bytes(MANIFEST_SIZE_BYTES_MAX + 1), "too_big"),
    ],
)
def test_a_hostile_manifest_is_refused(raw, reason):
    with pytest.raises(BadManifest) as caught:
        read_manifest(raw)
    assert caught.value.reason == reason


def test_the_sum_of_all_sizes_is_bounded():
    rows = [row(f"{n:02}", ARTIFACT_FILE_SIZE_BYTES_MAX) for n in range(17)]
    with pytest.raises(BadManifest) as caught:
        read_manifest(encode([1, rows]))
    assert caught.value.reason == "too_big"


@pytest.mark.parametrize("flip", range(0, len(MANIFEST.encode()), 7))
def test_no_changed_byte_leaves_the_same_manifest(flip):
    raw = bytearray(MANIFEST.encode())
    raw[flip] ^= 0x15
    try:
        found = read_manifest(bytes(raw))
    except (BadManifest, BadArtifactPath):
        return
    assert found != MANIFEST
    assert found.encode() == raw


def test_a_nest_of_lists_takes_no_memory():
    raw = b"\x82\x01\x81\x84" + b"\x81" * (MANIFEST_SIZE_BYTES_MAX - 4)
    tracemalloc.start()
    try:
        with pytest.raises(BadManifest):
            read_manifest(raw)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("", "empty_part"),
        ("/etc/passwd", "empty_part"),
        ("a//b", "empty_part"),
        ("a/", "empty_part"),
        (".", "dots"),
        ("../a", "dots"),
        ("a/./b", "dots"),
        ("a/..", "dots"),
        ("a\\b", "backslash"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x7f", "control"),
        ("a\u2028b", "control"),
        ("a:b", "not_on_windows"),
        ("C:/a", "not_on_windows"),
        ("a?", "not_on_windows"),
        ("con", "reserved"),
        ("a/NUL.txt", "reserved"),
        ("Com1.tar.gz", "reserved"),
        ("lpt¹", "reserved"),
        ("aux .txt", "reserved"),
        ("a.", "trailing"),
        ("a /b", "trailing"),
        (unicodedata.normalize("NFD", "ü"), "not_nfc"),
        ("x" * 1025, "too_long"),
        ("ü" * 513, "too_long"),
        ("\udcff", "not_text"),
    ],
)
def test_a_bad_path_is_refused_by_its_rule(path, rule):
    with pytest.raises(BadArtifactPath) as caught:
        check_path(path)
    assert caught.value.rule == rule
    str(caught.value).encode()
    assert caught.value.values["path"].isprintable()


@pytest.mark.parametrize(
    "path", ["a", "model.onnx", "模型/权重.bin", ".gitignore", "a b/c.d", "console.txt", "x" * 1024]
)
def test_an_ordinary_path_is_fine(path):
    check_path(path)


@pytest.mark.parametrize(
    ("paths", "rule"),
    [
        (["A.bin", "a.bin"], "twin"),
        (["straße", "STRASSE"], "twin"),
        (["a", "a/b"], "folder_and_file"),
        (["A", "a/b/c"], "folder_and_file"),
        (["x/y", "x/Y/z"], "folder_and_file"),
    ],
)
def test_two_paths_that_are_one_somewhere_are_refused(paths, rule):
    with pytest.raises(BadArtifactPath) as caught:
        Manifest.of(map(entry, paths))
    assert caught.value.rule == rule
    rows = [row(path) for path in sorted(paths, key=str.encode)]
    with pytest.raises(BadArtifactPath):
        read_manifest(encode([1, rows]))


def test_a_path_is_shown_cut_and_harmless():
    assert shown_path("a\x1b[2Jb") == "a\\x1b[2Jb"
    assert shown_path("模型") == "模型"
    assert len(shown_path("x" * 10_000)) < 300


def test_too_much_is_refused_before_it_is_an_artifact():
    with pytest.raises(TooManyFiles):
        Manifest.of(entry(f"{n}") for n in range(ARTIFACT_FILES_MAX + 1))
    with pytest.raises(ArtifactTooLarge):
        Manifest.of([entry("a", ARTIFACT_FILE_SIZE_BYTES_MAX + 1)])
    with pytest.raises(ArtifactTooLarge):
        Manifest.of(entry(f"{n}", ARTIFACT_FILE_SIZE_BYTES_MAX) for n in range(17))
    with pytest.raises(TooManyFiles):
        Manifest.of(entry(f"{n:05}" + "x" * 900) for n in range(5000))


def sealed_raw(**changed):
    fields = {"v": 1, "id": SEALED.artifact_id, "salt": SEALED.salt, "ck": SEALED.ck_commit}
    fields |= {"roots": list(ROOTS)} | changed
    return encode(list(fields.values()))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (sealed_raw(v=2), "version"),
        (sealed_raw(id=h("other")), "other_artifact"),
        (sealed_raw(salt=h(1)[:16]), "bad_shape"),
        (sealed_raw(roots=list(ROOTS[:2])), "other_files"),
        (sealed_raw(roots=[*ROOTS, h(1)]), "other_files"),
        (sealed_raw(roots=[ROOTS[1], ROOTS[0], ROOTS[2]]), "empty_root"),
        (sealed_raw(roots=[h(1)] * 3), "empty_root"),
        (sealed_raw(roots="abc"), "bad_shape"),
        (sealed_raw() + b"\0", "trailing"),
        (MANIFEST.encode(), "bad_shape"),
        (b"", "cut_short"),
    ],
)
def test_a_hostile_sealed_manifest_is_refused(raw, reason):
    with pytest.raises(BadManifest) as caught:
        read_sealed_manifest(raw, MANIFEST)
    assert caught.value.reason == reason


def test_the_seal_root_of_one_file_is_its_record():
    one = Manifest.of([entry("a", 5)])
    record = file_record(0, 5, one.files[0].root, h("c"))
    place = bytes(4) + (5).to_bytes(8, "big")
    expected = hashlib.sha256(b"hanse/file/v1\0" + place + one.files[0].root + h("c")).digest()
    assert seal_root(one, [h("c")]) == record == expected
    assert seal_path(one, [h("c")], 0) == []


def test_the_seal_root_of_three_files_is_filled_with_zeros():
    def node(left, right):
        return hashlib.sha256(left + right).digest()

    records = [
        file_record(n, file.size, file.root, root)
        for n, (file, root) in enumerate(zip(MANIFEST.files, ROOTS, strict=True))
    ]
    expected = node(node(records[0], records[1]), node(records[2], bytes(32)))
    assert seal_root(MANIFEST, ROOTS) == expected


@pytest.mark.parametrize("files", [1, 2, 3, 5, 8, 9])
def test_each_file_climbs_to_the_seal_root_as_itself_only(files):
    many = Manifest.of(entry(f"{n}", n + 1) for n in range(files))
    roots = [h(f"c{n}") for n in range(files)]
    root = seal_root(many, roots)
    for n, file in enumerate(many.files):
        record = file_record(n, file.size, file.root, roots[n])
        path = seal_path(many, roots, n)
        assert is_below_seal_root(root, files, n, record, path)
        assert not is_below_seal_root(root, files, n, file_record(n, 99, h(1), h(2)), path)
        assert not is_below_seal_root(root, 4 * files, n, record, path)
        assert not is_below_seal_root(root, files, files, record, path)
        assert not is_below_seal_root(root, files, n, record, [*path, h(1)])
        other = (n + 1) % files
        assert files == 1 or not is_below_seal_root(root, files, other, record, path)
