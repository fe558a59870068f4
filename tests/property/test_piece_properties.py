"""The content store against a dictionary, and the tree against its definition."""

from __future__ import annotations

import hashlib
import io
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hanse.core.artifacts.manifest import (
    BadArtifactPath,
    BadManifest,
    FileEntry,
    Manifest,
    read_manifest,
)
from hanse.core.artifacts.pieces import OtherContent, PieceDamaged, PieceStore
from hanse.core.artifacts.tree import (
    BadBlock,
    block_path,
    check_block,
    hash_leaves,
    leaf_count,
    path_length,
    root_of_leaves,
)
from hanse.core.crypto.stream import xor_piece
from hanse.core.model.control import Control
from tests.fakes.content import LEAF, MIB, damage, some_bytes

SIZES = (1, 20, LEAF, LEAF + 1, MIB, MIB + 1, 2 * MIB + LEAF)
FAR_MS = 10**15


class StoreAgainstDictionary(RuleBasedStateMachine):
    """The dictionary has the right bytes of every object and the numbers of its rotten Pieces."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = PieceStore(Path(self.folder.name))
        self.right: dict[tuple[bytes, int], bytes] = {}
        self.rotten: dict[tuple[bytes, int], set[int]] = {}

    @rule(size=st.sampled_from(SIZES), seed=st.sampled_from("ab"))
    def add(self, size, seed):
        data = some_bytes(size, seed)
        name = (root_of_leaves(hash_leaves(data)), size)
        self.store.add(*name, io.BytesIO(data))
        self.right.setdefault(name, data)
        self.rotten.setdefault(name, set())

    @rule(size=st.sampled_from(SIZES), spoil=st.sampled_from(["root", "short", "long"]))
    def add_something_else(self, size, spoil):
        data = some_bytes(size, "never")
        root = root_of_leaves(hash_leaves(data))
        wrong = {"root": bytes(size), "short": data[:-1], "long": data + b"x"}[spoil]
        try:
            self.store.add(root, size, io.BytesIO(wrong))
        except OtherContent:
            return
        raise AssertionError("other bytes were taken")

    @precondition(lambda self: self.right)
    @rule(data=st.data())
    def rot(self, data):
        name = data.draw(st.sampled_from(sorted(self.right)))
        at = data.draw(st.integers(0, name[1] - 1))
        if at // MIB not in self.rotten[name]:
            damage(self.store.path(*name), at, 1)
            self.rotten[name].add(at // MIB)

    @precondition(lambda self: any(self.rotten.values()))
    @rule(data=st.data())
    def repair(self, data):
        name = data.draw(st.sampled_from(sorted(it for it, bad in self.rotten.items() if bad)))
        piece = min(self.rotten[name])
        right = self.right[name][piece * MIB : (piece + 1) * MIB]
        self.store.repair_piece(*name, piece, right)
        self.rotten[name].discard(piece)

    @precondition(lambda self: self.right)
    @rule(data=st.data())
    def read(self, data):
        name = data.draw(st.sampled_from(sorted(self.right)))
        piece = data.draw(st.integers(0, (name[1] - 1) // MIB))
        try:
            found = self.store.read_piece(*name, piece)
        except PieceDamaged:
            assert piece in self.rotten[name]
        else:
            assert found == self.right[name][piece * MIB : (piece + 1) * MIB]
            assert piece not in self.rotten[name]

    @precondition(lambda self: self.right)
    @rule(data=st.data())
    def remove(self, data):
        name = data.draw(st.sampled_from(sorted(self.right)))
        self.store.remove(*name)
        del self.right[name], self.rotten[name]

    @rule(data=st.data())
    def sweep(self, data):
        kept = {name for name in sorted(self.right) if data.draw(st.booleans())}
        swept = self.store.sweep(lambda *name: name in kept, FAR_MS, 0)
        assert swept.objects == len(self.right) - len(kept)
        self.right = {name: it for name, it in self.right.items() if name in kept}
        self.rotten = {name: it for name, it in self.rotten.items() if name in kept}

    @rule()
    def reopen(self):
        self.store = PieceStore(Path(self.folder.name))

    @rule()
    def verify(self):
        for name, rotten in self.rotten.items():
            assert self.store.verify(*name, Control()) == tuple(sorted(rotten))

    @invariant()
    def the_same_objects_are_held(self):
        assert {(it.root, it.size) for it in self.store.objects()} == set(self.right)
        for name, data in self.right.items():
            assert self.store.has(*name)
            assert self.store.leaves(*name) == hash_leaves(data)
        parts = self.store.folder / "part"
        assert not parts.exists() or list(parts.iterdir()) == []

    def teardown(self):
        self.folder.cleanup()


def test_a_store_against_a_dictionary():
    case = StoreAgainstDictionary.TestCase
    case.settings = settings(
        max_examples=12,
        stateful_step_count=15,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case("runTest").runTest()


def node(leaves):
    """Return the root as BEP 52 defines it: a balanced tree over a power of two of leaves."""
    if len(leaves) == 1:
        return leaves[0]
    middle = len(leaves) // 2
    return hashlib.sha256(node(leaves[:middle]) + node(leaves[middle:])).digest()


hashes = st.integers(0, 2**64).map(lambda n: hashlib.sha256(str(n).encode()).digest())


@given(st.lists(hashes, min_size=1, max_size=200))
def test_a_root_is_that_of_the_definition(leaves):
    filled = leaves + [bytes(32)] * ((1 << (len(leaves) - 1).bit_length()) - len(leaves))
    assert root_of_leaves(b"".join(leaves)) == node(filled)


@settings(deadline=None)
@given(st.integers(1, 6 * LEAF), st.data())
def test_a_block_proves_itself_at_its_place_and_size_only(size, data):
    content = some_bytes(size)
    leaves = hash_leaves(content)
    root = root_of_leaves(leaves)
    index = data.draw(st.integers(0, leaf_count(size) - 1))
    path = block_path(leaves, index)
    block = content[index * LEAF : (index + 1) * LEAF]
    check_block(size, root, index, block, path)
    other_index = data.draw(st.integers(-1, leaf_count(size)))
    other_size = data.draw(st.integers(1, 200 * LEAF))
    is_same = other_index == index and (
        leaf_count(other_size) > index
        and path_length(other_size) == len(path)
        and min(LEAF, other_size - index * LEAF) == len(block)
    )
    try:
        check_block(other_size, root, other_index, block, path)
    except BadBlock:
        assert not is_same
    else:
        assert is_same


@settings(deadline=None)
@given(st.integers(0, 63), st.integers(1, LEAF), st.binary(min_size=32, max_size=32))
def test_a_leaf_sealed_alone_is_the_leaf_of_the_sealed_piece(leaf, size, key):
    plain = some_bytes(leaf * LEAF + size)
    assert xor_piece(key, plain[leaf * LEAF :], leaf) == xor_piece(key, plain)[leaf * LEAF :]


paths = st.text("aA/.é \\x0:", min_size=1, max_size=6)


@given(st.lists(st.tuples(paths, st.integers(0, 3)), min_size=1, max_size=5))
def test_whatever_may_be_an_artifact_is_read_as_it_was_written(rows):
    files = [
        FileEntry(
            path, size, hashlib.sha256(path.encode()).digest() if size else bytes(32), bytes(32)
        )
        for path, size in rows
    ]
    try:
        manifest = Manifest.of(files)
    except BadArtifactPath:
        return
    if not manifest.size:
        return
    assert read_manifest(manifest.encode()) == manifest


GOOD = Manifest.of(
    FileEntry(path, 5, hashlib.sha256(path.encode()).digest(), bytes(32)) for path in "abc"
).encode()


@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4), st.data()
)
def test_damaged_manifests_are_refused_or_are_exactly_what_they_say(changes, data):
    raw = bytearray(GOOD)
    for at, value in changes:
        raw[at] = value
    raw = (
        bytes(raw[: data.draw(st.integers(0, len(raw)))])
        if data.draw(st.booleans())
        else bytes(raw)
    )
    try:
        manifest = read_manifest(raw)
    except (BadManifest, BadArtifactPath):
        return
    assert manifest.encode() == raw


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(raw):
    try:
        read_manifest(raw)
    except (BadManifest, BadArtifactPath):
        return
    raise AssertionError("an accident became a manifest")
