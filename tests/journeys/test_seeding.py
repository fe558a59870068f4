"""What is given to whoever asks: only what anybody may have, as its root promises, counted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
import pytest

from hanse.core.artifacts.manifest import FileEntry, Manifest, SealedManifest, seal_root
from hanse.core.artifacts.quota import Whose
from hanse.core.artifacts.tree import leaf_count, piece_length
from hanse.core.ledger.kinds import Erase1
from hanse.core.model.card import SealedTrial, Trials
from hanse.core.model.control import Control
from hanse.core.model.ids import EntryId
from hanse.core.model.network import TransferState
from hanse.core.model.transfer import HashLayer
from hanse.core.store.objects import ObjectUse, Part
from tests.fakes.content import LEAF, MIB, damage, some_bytes, write_files
from tests.fakes.people import Person
from tests.fakes.shop import AS_IS, body_of, free_tiers, manifests, publish, seller
from tests.fakes.swarm import DEVICE, all_pieces, bring_all, empty, fetched
from tests.fakes.trial_shop import offer_sample

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from hanse.core.ledger.kinds import Release1

DAY_MS = 24 * 60 * 60 * 1000
SAMPLE = "fraud-detection"


@dataclass
class Shop:
    """A seller with everything in her folder that a seller has."""

    anna: Person
    engine: Engine
    sealed: Release1
    sealed_id: bytes
    clear: Release1
    clear_id: bytes
    draft: bytes  # an Artifact that is imported, sealed and not published
    golden: bytes
    base: Path


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    base = tmp_path_factory.mktemp("shop")
    anna = seller(base)
    with anna.open() as engine:
        ways = Trials(sealed_local=SealedTrial(runs=3, days=5))
        sealed = offer_sample(engine, base, SAMPLE, ways).release
        (row,) = engine.certificates.of_release(EntryId(sealed)).rows
        files = write_files(base / "clear", {"a.bin": some_bytes(2 * MIB + 3, "clear")})
        clear = publish(
            engine, files, preparation=AS_IS, title="Open", price="0", tiers=free_tiers()
        ).release
        control = Control()
        files = write_files(base / "draft", {"d.bin": some_bytes(MIB + 9, "draft")})
        draft = engine.publishing.begin(files, control, preparation=AS_IS).draft
        engine.content.seal(draft.artifact, control)
        engine.content.small.put(b"an input of somebody's trial")
        engine.ledger.export(base / "anna.hanse-feed")
        yield Shop(
            anna,
            engine,
            body_of(engine, sealed),
            sealed,
            body_of(engine, clear),
            clear,
            draft.artifact,
            row.golden,
            base,
        )


@pytest.fixture(scope="module")
def buyer(tmp_path_factory, shop):
    person = Person.make(tmp_path_factory.mktemp("buyer"), "bo", shop.anna.clock)
    with person.open() as engine:
        engine.ledger.import_file(shop.base / "anna.hanse-feed")
        yield engine


@pytest.fixture
def bo(buyer, shop):
    """Give a buyer who holds nothing; no decision about an earlier file still stands."""
    empty(buyer)
    shop.anna.clock.advance(60_000)
    return buyer


@pytest.fixture(scope="module")
def cheat(tmp_path_factory):
    """Give a stranger who signs whatever serves him."""
    with seller(tmp_path_factory.mktemp("cheat"), "cheat").open() as engine:
        folder = tmp_path_factory.mktemp("bait")
        files = write_files(folder, {"bait.bin": some_bytes(3000, "bait")})
        bait = publish(engine, files, preparation=AS_IS).release
        yield engine, body_of(engine, bait)


def sign(engine: Engine, body: object) -> bytes:
    with engine.context.store.unit_of_work() as uow:
        entry = engine.context.append_own(uow, body)
        uow.commit()
    return entry.entry_id


def tell(giver: Engine, taker: Engine, folder: Path) -> None:
    """Carry all Entries of one engine to another."""
    path = folder / f"{giver.context.identity.hex()[:8]}.hanse-feed"
    path.unlink(missing_ok=True)
    giver.ledger.export(path)
    taker.ledger.import_file(path)


def is_given(engine: Engine, root: bytes, size: int) -> bool:
    """Say whether any byte of a file is given, and that all ways of asking agree."""
    length = piece_length(size, 0)
    piece = engine.seeding.piece(root, size, 0, 0, length)
    have = engine.seeding.have(root, size)
    assert (piece is None) == (have is None)
    return piece is not None


def gives_leaves(engine: Engine, root: bytes, size: int) -> bool:
    return engine.seeding.hashes(root, size, HashLayer.LEAVES, 0, leaf_count(size)) is not None


# --- what is given, and what never is ----------------------------------------------------------


def test_of_everything_in_a_sellers_folder_only_what_anybody_may_have_is_given(shop):
    engine = shop.engine
    plain, sealed = manifests(engine, shop.sealed)
    clear = engine.content.manifest(shop.clear.artifact)
    public = {
        *((root, file.size) for root, file in zip(sealed.roots, plain.files, strict=True)),
        *((file.root, file.size) for file in clear.files),
    }
    held = [(one.root, one.size) for one in engine.content.pieces.objects() if one.size]
    assert len(held) > len(public) + 2  # plain files of the sealed Release, the Draft twice
    assert {name for name in held if is_given(engine, *name)} == {n for n in public if n[1]}
    for root, size in public:
        raw = engine.content.pieces.path(root, size).read_bytes()
        assert all_pieces(engine.seeding, root, size) == raw


def test_of_all_small_objects_only_those_named_in_public_are_given(shop):
    engine = shop.engine
    given = {one for one in engine.content.small.names() if engine.seeding.small(DEVICE, one)}
    sealed, clear = shop.sealed, shop.clear
    texts = {tier["terms"]["text_hash"] for body in (sealed, clear) for tier in body.tiers}
    held = set(engine.content.small.names())
    assert given >= {sealed.card, *sealed.seal.manifests, clear.card, clear.artifact, shop.golden}
    assert given >= texts & held
    assert shop.draft in held
    assert shop.draft not in given
    assert sha256(b"an input of somebody's trial").digest() in held - given
    for one in given:
        assert engine.seeding.small(DEVICE, one) == engine.content.object(one)


def test_leaf_layers_of_plain_files_are_given_and_the_files_are_not(shop):
    plain, _ = manifests(shop.engine, shop.sealed)
    for file in plain.files:
        if file.size > LEAF:
            assert gives_leaves(shop.engine, file.root, file.size)
        assert not is_given(shop.engine, file.root, file.size)


def test_nothing_of_a_draft_is_given(shop):
    engine = shop.engine
    with engine.context.store.reads() as reads:
        uses = reads.objects.of_artifact(shop.draft)
    assert {use.part for use in uses} == {Part.PLAIN, Part.CIPHER}
    for use in uses:
        assert not is_given(engine, use.root, use.size)
        assert not gives_leaves(engine, use.root, use.size)
        assert engine.seeding.hashes(use.root, use.size, HashLayer.PIECES, 0, 2) is None


def test_a_buyer_gives_what_he_fetched_and_not_what_he_opened(bo, shop):
    view = fetched(bo, shop.engine, shop.sealed_id)
    plain, sealed = manifests(bo, shop.sealed)
    names = [(file.root, file.size) for file in plain.files]
    for root, size in names:
        with shop.engine.content.pieces.open(root, size) as stream:
            bo.content.pieces.add(root, size, stream)
    assert not any(is_given(bo, *name) for name in names)  # nothing says what they are
    with bo.context.store.unit_of_work() as uow:
        uow.objects.want(
            [
                ObjectUse(*one, view.artifact, Part.PLAIN, Whose.BOUGHT, EntryId(shop.sealed_id))
                for one in names
            ],
            1,
        )
        uow.commit()
    assert not any(is_given(bo, *name) for name in names)
    for root, file in zip(sealed.roots, plain.files, strict=True):
        assert is_given(bo, root, file.size)


def test_what_is_not_held_looks_like_what_is_not_given(bo, shop):
    plain, sealed = manifests(shop.engine, shop.sealed)
    for root in (plain.files[0].root, sealed.roots[0], bytes(32)):
        size = plain.files[0].size
        assert bo.seeding.have(root, size) is None
        assert bo.seeding.piece(root, size, 0, 0, 1) is None
        assert bo.seeding.hashes(root, size, HashLayer.LEAVES, 0, 1) is None
        assert bo.seeding.small(DEVICE, root) is None


@pytest.mark.parametrize(
    ("piece", "offset", "length"),
    [(-1, 0, 1), (3, 0, 1), (2**70, 0, 1), (0, -1, 1), (0, MIB, 1), (0, 1, MIB), (2, 0, 4),
     (0, 0, 0), (0, 0, -1)],
)  # fmt: skip
def test_a_question_no_file_could_answer_gets_nothing(shop, piece, offset, length):
    (file,) = shop.engine.content.manifest(shop.clear.artifact).files
    assert shop.engine.seeding.piece(file.root, file.size, piece, offset, length) is None


@pytest.mark.parametrize(
    ("layer", "first", "count"), [(0, 0, 4), (0, -1, 1), (1, 128, 2), (1, 0, 0), (1, 2**70, 1)]
)
def test_hashes_no_layer_has_get_nothing(shop, layer, first, count):
    (file,) = shop.engine.content.manifest(shop.clear.artifact).files
    found = shop.engine.seeding.hashes(file.root, file.size, HashLayer(layer), first, count)
    assert found is None


def test_any_range_of_hashes_is_a_part_of_the_layer(shop):
    (file,) = shop.engine.content.manifest(shop.clear.artifact).files
    seeding, pieces = shop.engine.seeding, shop.engine.content.pieces
    layer, leaves = pieces.layer(file.root, file.size), pieces.leaves(file.root, file.size)
    assert seeding.hashes(file.root, file.size, HashLayer.PIECES, 1, 2) == layer[32:96]
    assert seeding.hashes(file.root, file.size, HashLayer.LEAVES, 60, 9) == leaves[1920:2208]


def test_a_piece_is_given_from_any_byte_on(shop):
    (file,) = shop.engine.content.manifest(shop.clear.artifact).files
    raw = some_bytes(2 * MIB + 3, "clear")
    for piece, offset, length in ((0, 0, MIB), (0, 100, 50), (1, MIB - 1, 1), (2, 0, 3)):
        start = piece * MIB + offset
        found = shop.engine.seeding.piece(file.root, file.size, piece, offset, length)
        assert found == raw[start : start + length]


# --- what a stranger signs gives nothing away -----------------------------------------------------


def bait_in_the_clear(cheat, files: tuple[FileEntry, ...]) -> tuple[bytes, bytes]:
    """Sign a Release in the clear that names somebody else's plain files."""
    engine, body = cheat
    manifest = Manifest.of(replace(file, path=f"{n}.bin") for n, file in enumerate(files))
    engine.content.small.put(manifest.encode())
    body = msgspec.structs.replace(
        body,
        artifact=manifest.artifact_id,
        size=manifest.size,
        files=len(manifest.files),
        seal=None,
        version=f"9.{len(files)}.0",
    )
    return sign(engine, body), manifest.encode()


def bait_as_ciphertext(cheat, files: tuple[FileEntry, ...]) -> tuple[bytes, list[bytes]]:
    """Sign a sealed Release whose ciphertext is said to be somebody else's plain files."""
    engine, body = cheat
    fakes = [FileEntry(f"{n}.bin", file.size, sha256(bytes([n])).digest(), bytes(32))
             for n, file in enumerate(files)]  # fmt: skip
    manifest = Manifest.of(fakes)
    sealed = SealedManifest(
        manifest.artifact_id,
        body.seal.salt,
        body.seal.ck_commit,
        tuple(file.root for file in files),
    )
    seal = msgspec.structs.replace(
        body.seal,
        seal_root=seal_root(manifest, sealed.roots),
        manifests=(manifest.artifact_id, sealed.sealed_id),
    )
    body = msgspec.structs.replace(
        body,
        artifact=manifest.artifact_id,
        size=manifest.size,
        files=len(files),
        seal=seal,
        version="8.0.0",
    )
    return sign(engine, body), [manifest.encode(), sealed.encode()]


def take_bait(engine: Engine, cheat, release: bytes, small: list[bytes], folder: Path) -> None:
    """Fetch what a stranger's Release says, as far as it goes."""
    tell(cheat[0], engine, folder)
    if engine.fetching.ask(release).state is TransferState.DONE:
        return
    with engine.fetching.open(release) as fetch:
        for one in (*small, cheat[0].content.object(cheat[1].card)):
            fetch.put_small(sha256(one).digest(), one)
        assert fetch.is_known
        assert fetch.objects() == ()  # all of it lies here
        fetch.finish()


def test_a_release_of_a_stranger_does_not_open_what_is_secret_here(shop, cheat, tmp_path):
    plain, _ = manifests(shop.engine, shop.sealed)
    files = tuple(file for file in plain.files if file.size)
    release, raw = bait_in_the_clear(cheat, files)
    take_bait(shop.engine, cheat, release, [raw], tmp_path)
    assert shop.engine.fetching.view(release).state is TransferState.DONE
    shop.anna.clock.advance(60_000)
    assert not any(is_given(shop.engine, file.root, file.size) for file in files)


def test_secret_files_that_are_called_ciphertext_stay_secret(shop, cheat, tmp_path):
    plain, _ = manifests(shop.engine, shop.sealed)
    files = tuple(file for file in plain.files if file.size)
    release, small = bait_as_ciphertext(cheat, files)
    take_bait(shop.engine, cheat, release, small, tmp_path)
    shop.anna.clock.advance(60_000)
    assert not any(is_given(shop.engine, file.root, file.size) for file in files)


def test_a_stranger_who_gets_a_secret_artifact_its_own_release_does_not_open_it(
    shop, cheat, tmp_path
):
    engine, body = cheat
    stolen = msgspec.structs.replace(
        body,
        artifact=shop.sealed.artifact,
        size=shop.sealed.size,
        files=shop.sealed.files,
        seal=None,
        version="7.0.0",
    )
    release = sign(engine, stolen)
    take_bait(shop.engine, cheat, release, [], tmp_path)
    shop.anna.clock.advance(60_000)
    plain, _ = manifests(shop.engine, shop.sealed)
    assert not any(is_given(shop.engine, file.root, file.size) for file in plain.files if file.size)


def test_a_stranger_who_names_a_draft_learns_nothing_of_it(shop, cheat, tmp_path):
    engine, body = cheat
    draft = shop.engine.content.manifest(shop.draft)
    stolen = msgspec.structs.replace(
        body, artifact=shop.draft, size=draft.size, files=1, seal=None, version="6.0.0"
    )
    release = sign(engine, stolen)
    take_bait(shop.engine, cheat, release, [], tmp_path)
    shop.anna.clock.advance(60_000)
    assert shop.engine.seeding.small(DEVICE, shop.draft) is None
    (file,) = draft.files
    assert not is_given(shop.engine, file.root, file.size)
    assert not gives_leaves(shop.engine, file.root, file.size)


def test_a_stranger_who_seals_a_draft_of_ours_does_not_get_its_leaf_layers(shop, cheat, tmp_path):
    engine, body = cheat
    draft = shop.engine.content.manifest(shop.draft)
    roots = (sha256(b"made up").digest(),)
    sealed = SealedManifest(shop.draft, body.seal.salt, body.seal.ck_commit, roots)
    seal = msgspec.structs.replace(
        body.seal,
        seal_root=seal_root(draft, roots),
        manifests=(shop.draft, sealed.sealed_id),
    )
    release = sign(
        engine,
        msgspec.structs.replace(
            body, artifact=shop.draft, size=draft.size, files=1, seal=seal, version="5.0.0"
        ),
    )
    tell(engine, shop.engine, tmp_path)
    shop.engine.fetching.ask(release)
    with shop.engine.fetching.open(release) as fetch:
        fetch.put_small(body.card, engine.content.object(body.card))
        assert fetch.put_small(sealed.sealed_id, sealed.encode())
        assert fetch.is_known
        shop.anna.clock.advance(60_000)
        (file,) = draft.files
        assert shop.engine.seeding.small(DEVICE, shop.draft) is None
        assert not gives_leaves(shop.engine, file.root, file.size)
        assert not is_given(shop.engine, file.root, file.size)
    shop.engine.fetching.cancel(release)


def test_what_was_bought_in_one_release_is_not_opened_by_another(bo, shop, cheat, tmp_path):
    plain, _ = manifests(shop.engine, shop.sealed)
    files = tuple(file for file in plain.files if file.size)
    release, raw = bait_in_the_clear(cheat, files)
    tell(cheat[0], bo, tmp_path)
    artifact = sha256(raw).digest()
    for file in files:
        with shop.engine.content.pieces.open(file.root, file.size) as stream:
            bo.content.pieces.add(file.root, file.size, stream)
    with bo.context.store.unit_of_work() as uow:
        for which, by in ((shop.sealed.artifact, shop.sealed_id), (artifact, release)):
            uow.objects.want(
                [ObjectUse(file.root, file.size, which, Part.PLAIN, Whose.BOUGHT, EntryId(by))
                 for file in files],
                1,
            )  # fmt: skip
        uow.commit()
    assert not any(is_given(bo, file.root, file.size) for file in files)


def test_a_seller_who_gives_a_sealed_model_in_the_clear_later_gives_its_files(tmp_path):
    with seller(tmp_path, "dora").open() as engine:
        files = write_files(tmp_path / "m", {"w.bin": some_bytes(5000, "later")})
        body = body_of(engine, publish(engine, files, preparation=AS_IS).release)
        (file,) = engine.content.manifest(body.artifact).files
        assert not is_given(engine, file.root, file.size)
        sign(engine, msgspec.structs.replace(body, seal=None, version="2.0.0"))
        assert is_given(engine, file.root, file.size)


def test_what_the_seller_erased_is_given_no_more(bo, shop, tmp_path):
    with seller(tmp_path, "eve").open() as eve:
        files = write_files(tmp_path / "m", {"w.bin": some_bytes(5000, "erased")})
        done = publish(eve, files, preparation=AS_IS, price="0", tiers=free_tiers())
        tell(eve, bo, tmp_path)
        fetched(bo, eve, done.release)
        (file,) = bo.content.manifest(done.artifact).files
        assert is_given(bo, file.root, file.size)
        body = Erase1(salt=bytes(16), targets=(done.release,), reason="a mistake")
        sign(eve, body)
        tell(eve, bo, tmp_path)
    shop.anna.clock.advance(60_000)
    assert not is_given(bo, file.root, file.size)
    assert bo.seeding.small(DEVICE, done.artifact) is None


# --- rot ---------------------------------------------------------------------------------------


def test_rotten_bytes_are_never_given_and_not_announced_again(bo, shop):
    fetched(bo, shop.engine, shop.clear_id)
    (file,) = bo.content.manifest(shop.clear.artifact).files
    damage(bo.content.pieces.path(file.root, file.size), MIB + 3)
    assert bo.seeding.have(file.root, file.size).bits is None  # nobody knows yet
    assert bo.seeding.piece(file.root, file.size, 1, 0, 10) is None
    assert bo.seeding.piece(file.root, file.size, 0, 0, MIB) == some_bytes(2 * MIB, "clear")[:MIB]
    assert bo.seeding.have(file.root, file.size).bits == b"\x05"


def test_what_rots_after_it_was_looked_at_is_found_when_the_file_changed(bo, shop):
    fetched(bo, shop.engine, shop.clear_id)
    (file,) = bo.content.manifest(shop.clear.artifact).files
    assert bo.seeding.piece(file.root, file.size, 1, 0, 10)
    damage(bo.content.pieces.path(file.root, file.size), MIB + 3)
    assert bo.seeding.piece(file.root, file.size, 1, 0, 10) is None


def test_a_file_that_was_cut_short_gives_what_is_left_of_it(bo, shop):
    fetched(bo, shop.engine, shop.clear_id)
    (file,) = bo.content.manifest(shop.clear.artifact).files
    path = bo.content.pieces.path(file.root, file.size)
    path.chmod(0o600)
    with path.open("r+b") as stream:
        stream.truncate(MIB + 5)
    assert bo.seeding.piece(file.root, file.size, 1, 0, 3) is None
    assert bo.seeding.piece(file.root, file.size, 2, 0, 3) is None


def test_a_rotten_small_object_is_not_given(bo, shop):
    fetched(bo, shop.engine, shop.clear_id)
    name = shop.clear.card.hex()
    damage(bo.context.home.folder / "store" / "small" / name[:2] / name, 4)
    assert bo.seeding.small(DEVICE, shop.clear.card) is None


# --- counting -----------------------------------------------------------------------------------


def test_what_was_given_is_counted_and_moves_to_the_end_of_what_the_quota_drops(bo, shop):
    fetched(bo, shop.engine, shop.clear_id)
    fetched(bo, shop.engine, shop.sealed_id)
    (file,) = bo.content.manifest(shop.clear.artifact).files
    shop.anna.clock.advance(1000)
    for _ in range(4):
        bo.seeding.served(file.root, file.size, MIB)
    assert bo.seeding.view().out_bytes == 4 * MIB
    bo.seeding.flush()
    bo.seeding.flush()
    row = next(one for one in bo.seeding.view().rows if one.artifact == shop.clear.artifact)
    assert (row.title, row.version, row.whose) == ("Open 1.0.0", "1.0.0", "others")
    assert (row.in_bytes, row.out_bytes) == (file.size, 4 * MIB)
    assert row.ratio_milli == 4 * MIB * 1000 // file.size
    assert row.last_seeded_ms == shop.anna.clock.now_ms()
    bo.storing.set_quota(file.size)
    left = bo.seeding.view()
    assert {one.artifact for one in left.rows if one.held_bytes and one.whose == "others"}
    with bo.context.store.reads() as reads:
        assert reads.objects.uses_of((file.root, file.size))
        assert not reads.objects.of_artifact(shop.sealed.artifact)


def test_counts_survive_a_flush_that_failed(bo, shop, monkeypatch):
    fetched(bo, shop.engine, shop.clear_id)
    (file,) = bo.content.manifest(shop.clear.artifact).files
    bo.seeding.served(file.root, file.size, 7)

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(bo.context.store, "unit_of_work", fail)
        with pytest.raises(RuntimeError):
            bo.seeding.flush()
    bo.seeding.flush()
    assert bo.seeding.view().out_bytes == 7


# --- for sellers one follows ---------------------------------------------------------------------


def test_releases_of_followed_sellers_are_fetched_only_when_a_person_said_so(bo, shop):
    bo.catalogue.follow(shop.engine.context.identity, 1)
    assert bo.seeding.seed_followed() == ()
    bo.seeding.set_seeding_followed(on=True)
    asked = bo.seeding.seed_followed()
    assert {one.release for one in asked} == {shop.sealed_id, shop.clear_id}
    assert {(one.reason, one.priority) for one in asked} == {("seed", 9)}
    assert bo.seeding.seed_followed() == ()
    for one in asked:
        with bo.fetching.open(one.release) as fetch:
            assert bring_all(fetch, shop.engine.seeding).state is TransferState.DONE
    bo.catalogue.follow(shop.engine.context.identity, 0)


def test_what_a_person_cancelled_is_not_fetched_for_others_again(bo, shop):
    bo.catalogue.follow(shop.engine.context.identity, 1)
    bo.seeding.set_seeding_followed(on=True)
    for one in bo.seeding.seed_followed():
        bo.fetching.cancel(one.release)
    assert bo.seeding.seed_followed() == ()


def test_nothing_is_dropped_to_seed_for_others(bo, shop):
    bo.catalogue.follow(shop.engine.context.identity, 1)
    fetched(bo, shop.engine, shop.sealed_id)
    bo.seeding.set_seeding_followed(on=True)
    bo.storing.set_quota(shop.sealed.size + shop.clear.size - 1)
    assert bo.seeding.seed_followed() == ()
    bo.storing.set_quota(shop.sealed.size + shop.clear.size)
    assert [one.release for one in bo.seeding.seed_followed()] == [shop.clear_id]


def test_what_has_expired_is_not_fetched_for_others(bo, shop):
    bo.catalogue.follow(shop.engine.context.identity, 1)
    bo.seeding.set_seeding_followed(on=True)
    shop.anna.clock.advance(400 * DAY_MS)
    try:
        assert bo.seeding.seed_followed() == ()
    finally:
        shop.anna.clock.set_back(400 * DAY_MS)
