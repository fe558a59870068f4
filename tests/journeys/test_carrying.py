"""A Release in a file: written by its seller, taken into another Account, tried there."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from hanse.core.artifacts.pieces import ObjectMissing
from hanse.core.artifacts.quota import QuotaFull, Whose
from hanse.core.engine.carrying import ReleaseNotInFile
from hanse.core.engine.release_file import (
    BadReleaseFile,
    MemberDiffers,
    MemberSize,
    file_name,
    small_name,
)
from hanse.core.engine.trying.data import OwnData
from hanse.core.engine.trying.subject import UnknownRelease
from hanse.core.market.samples import sample_model
from hanse.core.model.card import SealedTrial, Trials
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.ids import EntryId
from tests.fakes.content import some_bytes, write_files
from tests.fakes.people import Person
from tests.fakes.shop import (
    AS_IS,
    body_of,
    check_whole,
    free_tiers,
    manifests,
    publish,
    said,
    seller,
)
from tests.fakes.trial_shop import offer_sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAMPLE = "fraud-detection"
WEIGHTS = 3 * 1024**2 + 17


@dataclass
class Shop:
    """What a seller wrote: a sealed Release that was certified, and the file with it."""

    anna: Person
    release: bytes
    artifact: bytes
    golden: bytes
    file: Path
    view: object


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Publish the sample, certify it, and write it to a file, once for all tests."""
    base = tmp_path_factory.mktemp("shop")
    anna = seller(base)
    file = base / "fraud.hanse-release"
    with anna.open() as engine:
        ways = Trials(sealed_local=SealedTrial(runs=3, days=5))
        done = offer_sample(engine, base, SAMPLE, ways)
        (row,) = engine.certificates.of_release(EntryId(done.release)).rows
        view = engine.carrying.write_release(done.release, file, Control())
    return Shop(anna, done.release, done.artifact, row.golden, file, view)


@pytest.fixture
def bo(tmp_path, shop):
    return Person.make(tmp_path, "bo", shop.anna.clock)


def members(file: Path) -> dict[str, bytes]:
    """Read all members with any ZIP program."""
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        return {row.filename: archive.read(row) for row in archive.infolist()}


def changed(
    file: Path, new: Path, change: Callable[[dict[str, bytes]], None], method: int = 0
) -> Path:
    """Write the file again with other members."""
    found = members(file)
    change(found)
    with zipfile.ZipFile(file) as archive:
        comment = archive.comment
    with zipfile.ZipFile(new, "w", method) as archive:
        archive.comment = comment
        for name, raw in found.items():
            archive.writestr(name, raw)
    return new


def first(file: Path, kind: str) -> str:
    return next(name for name in members(file) if name.startswith(kind))


def flip(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(found: dict[str, bytes]) -> None:
        raw = bytearray(found[name])
        raw[len(raw) // 2] ^= 1
        found[name] = bytes(raw)

    return change


@pytest.fixture(scope="module")
def stranger(tmp_path_factory, shop):
    """Give one Account for all that is refused."""
    person = Person.make(tmp_path_factory.mktemp("stranger"), "cy", shop.anna.clock)
    with person.open() as engine:
        yield engine


def take(person: Person, file: Path, control: Control | None = None) -> object:
    with person.open() as engine:
        return engine.carrying.take_release(file, control or Control())


def whose(engine, artifact: bytes) -> set[Whose]:
    with engine.context.store.reads() as reads:
        return {use.whose for use in reads.objects.of_artifact(artifact)}


# --- a sealed Release ------------------------------------------------------------------------


def test_a_release_taken_from_a_file_is_tried_sealed_on_another_computer(shop, bo, tmp_path):
    with bo.open() as buying:
        taken = buying.carrying.take_release(shop.file, Control())
        assert (taken.release, taken.is_sealed, taken.is_whole) == (shop.release, True, True)
        assert taken.feed.rejected == ()
        assert whose(buying, shop.artifact) == {Whose.OTHERS}
        assert buying.content.small.get(shop.golden) is not None
        trial = buying.trials.buying.start(shop.release, "sealed", Control()).trial
        assert whose(buying, shop.artifact) == {Whose.TRIAL}
        with shop.anna.open() as selling:
            asked = buying.trials.buying.outgoing(trial)
            reply = selling.trials.answering.answer(asked, Control()).reply
        buying.trials.buying.take(reply)
        rows = tmp_path / "rows.csv"
        rows.write_bytes(sample_model(SAMPLE).rows())
        found = buying.trials.sealed.evaluate(trial, OwnData(rows), Control(), ("accuracy",))
        assert found.rows[0].n > 100
        check_whole(buying)


def test_the_same_file_again_changes_nothing_even_what_is_held_for_a_trial(shop, bo):
    take(bo, shop.file)
    with bo.open() as buying:
        buying.trials.buying.start(shop.release, "sealed", Control())
        again = buying.carrying.take_release(shop.file, Control())
        assert (again.feed.accepted, again.is_whole) == (0, True)
        assert whose(buying, shop.artifact) == {Whose.TRIAL}


def test_the_file_is_a_zip_that_names_what_it_holds_and_has_no_key(shop):
    found = members(shop.file)
    with shop.anna.open() as engine:
        body = body_of(engine, shop.release)
        plain, sealed = manifests(engine, body)
        seeds = engine.context.all_seeds
        with engine.context.store.reads() as reads:
            key = seeds(reads)[body.seal.epoch].content_key(body.seal.salt)
    assert next(iter(found)) == "feed.hanse-feed"
    for one in (body.card, *body.seal.manifests, shop.golden):
        assert small_name(one) in found
    (file,), (root,) = plain.files, sealed.roots
    assert len(found[file_name("cipher", root, file.size)]) == file.size
    assert not any(name.startswith("plain/") for name in found)
    assert key not in shop.file.read_bytes()
    assert shop.view.files == 1
    assert shop.view.size_bytes == shop.file.stat().st_size


def test_the_same_release_gives_the_same_file(shop, tmp_path):
    files = [tmp_path / "once", tmp_path / "again"]
    with shop.anna.open() as engine:
        for file in files:
            engine.carrying.write_release(shop.release, file, Control())
    assert files[0].read_bytes() == files[1].read_bytes()


def test_whoever_took_a_file_writes_it_on_for_others(shop, bo, tmp_path):
    file = tmp_path / "on.hanse-release"
    with bo.open() as buying:
        buying.carrying.take_release(shop.file, Control())
        buying.carrying.write_release(shop.release, file, Control())
    assert members(file).keys() == members(shop.file).keys()


def test_without_files_a_release_is_read_and_not_tried(shop, bo, tmp_path):
    file = tmp_path / "small.hanse-release"
    with shop.anna.open() as engine:
        view = engine.carrying.write_release(shop.release, file, Control(), with_files=False)
    assert view.files == 0
    with bo.open() as buying:
        taken = buying.carrying.take_release(file, Control())
        assert (taken.files, taken.is_whole) == (0, False)
        assert buying.catalogue.show(taken.listing).card is not None
        assert whose(buying, shop.artifact) == set()
        with pytest.raises(ObjectMissing):
            buying.trials.buying.start(shop.release, "sealed", Control())


# --- what is wrong with a file ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["small/", "cipher/", "leaves/"])
def test_a_changed_byte_is_named_with_both_hashes_and_not_kept(shop, stranger, tmp_path, kind):
    name = first(shop.file, kind)
    bad = changed(shop.file, tmp_path / "bad", flip(name))
    with pytest.raises(MemberDiffers) as caught:
        stranger.carrying.take_release(bad, Control())
    said(caught.value)
    assert caught.value.values["member"] == name
    assert str(caught.value.values["expected"]) in name
    assert caught.value.values["found"] != caught.value.values["expected"]


def test_a_changed_entry_is_refused_before_anything_is_kept(shop, bo, tmp_path):
    bad = changed(shop.file, tmp_path / "bad", flip("feed.hanse-feed"))
    with pytest.raises((BadReleaseFile, ReleaseNotInFile)) as caught:
        take(bo, bad)
    said(caught.value)
    with bo.open() as buying:
        assert buying.content.small.get(shop.artifact) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (small_name(bytes(32)), "unknown"),
        (file_name("plain", bytes(32), 5), "unknown"),
        ("../evil", "name"),
        ("small/" + "A" * 64, "name"),
        (file_name("cipher", bytes(32), 5) + "/", "name"),
    ],
)
def test_a_member_that_the_release_does_not_name_is_refused(shop, stranger, tmp_path, name, reason):
    bad = changed(shop.file, tmp_path / "bad", lambda found: found.update({name: b"12345"}))
    with pytest.raises(BadReleaseFile) as caught:
        stranger.carrying.take_release(bad, Control())
    said(caught.value)
    assert caught.value.values == {"where": name, "reason": reason}


@pytest.mark.parametrize("kind", ["feed", "small/", "cipher/", "leaves/"])
def test_a_missing_member_is_named(shop, stranger, tmp_path, kind):
    with shop.anna.open() as engine:
        card = small_name(body_of(engine, shop.release).card)
    name = card if kind == "small/" else first(shop.file, kind)
    bad = changed(shop.file, tmp_path / "bad", lambda found: found.pop(name))
    with pytest.raises(BadReleaseFile) as caught:
        stranger.carrying.take_release(bad, Control())
    said(caught.value)
    assert caught.value.values == {"where": name, "reason": "missing"}


def test_a_member_of_another_length_is_named_with_both_lengths(shop, stranger, tmp_path):
    name = first(shop.file, "cipher/")
    size = len(members(shop.file)[name])

    def longer(found):
        found[name] += b"!"

    with pytest.raises(MemberSize) as caught:
        stranger.carrying.take_release(changed(shop.file, tmp_path / "bad", longer), Control())
    said(caught.value)
    assert caught.value.values == {
        "member": name,
        "expected_bytes": size,
        "found_bytes": size + 1,
    }


def test_compressed_and_doubled_members_are_refused(shop, stranger, tmp_path):
    packed = changed(shop.file, tmp_path / "packed", lambda _: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(BadReleaseFile) as caught:
        stranger.carrying.take_release(packed, Control())
    said(caught.value)
    assert caught.value.values["reason"] == "compressed"
    double = tmp_path / "double"
    shutil.copy(shop.file, double)
    with zipfile.ZipFile(double, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("feed.hanse-feed", b"")
    with pytest.raises(BadReleaseFile) as caught:
        stranger.carrying.take_release(double, Control())
    said(caught.value)
    assert caught.value.values == {"where": "feed.hanse-feed", "reason": "twice"}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99, 1.0])
def test_a_file_cut_anywhere_is_refused(shop, stranger, tmp_path, share):
    raw = shop.file.read_bytes()
    bad = tmp_path / "cut"
    bad.write_bytes(raw[: min(int(len(raw) * share), len(raw) - 1)])
    with pytest.raises(BadReleaseFile) as caught:
        stranger.carrying.take_release(bad, Control())
    said(caught.value)
    assert caught.value.values["reason"] in {"cut", "not_ours"}


def test_a_file_that_names_another_release_than_it_holds_is_refused(shop, stranger, tmp_path):
    raw = shop.file.read_bytes()
    bad = tmp_path / "other"
    bad.write_bytes(raw[:-64] + b"0" * 64)
    with pytest.raises(ReleaseNotInFile) as caught:
        stranger.carrying.take_release(bad, Control())
    said(caught.value)
    bad.write_bytes(raw[:-66] + b"2 " + raw[-64:])
    with pytest.raises(BadReleaseFile) as caught:
        stranger.carrying.take_release(bad, Control())
    assert caught.value.values["reason"] == "version"


def test_a_directory_that_claims_too_much_is_not_read(shop, stranger, tmp_path):
    raw = bytearray(shop.file.read_bytes())
    end = raw.rfind(b"PK\x05\x06")
    raw[end + 12 : end + 16] = (5 * 1024**2).to_bytes(4, "little")
    bad = tmp_path / "bad"
    bad.write_bytes(raw)
    with pytest.raises(BadReleaseFile) as caught:
        stranger.carrying.take_release(bad, Control())
    said(caught.value)
    assert caught.value.values["reason"] == "too_many"


# --- limits, kills, and what is not sealed ----------------------------------------------------


def test_what_does_not_fit_the_quota_is_refused_before_it_is_kept(shop, bo):
    with bo.open() as buying:
        buying.storing.set_quota(10)
        with pytest.raises(QuotaFull):
            buying.carrying.take_release(shop.file, Control())
        assert buying.content.pieces.usage().objects == 0


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Write a Release of several files and Pieces, once sealed and once given in the clear."""
    base = tmp_path_factory.mktemp("large")
    anna = seller(base)
    found = []
    with anna.open() as engine:
        for name, values in (("sealed", {}), ("clear", {"price": "0", "tiers": free_tiers()})):
            folder = base / name
            write_files(folder, {"notes.txt": name.encode(), "empty.txt": b""})
            (folder / "a.bin").write_bytes(some_bytes(WEIGHTS, name))
            (folder / "b.bin").write_bytes(some_bytes(WEIGHTS, "b" + name))
            done = publish(engine, folder, preparation=AS_IS, **values)
            file = base / f"{name}.hanse-release"
            engine.carrying.write_release(done.release, file, Control())
            found.append((done, file))
    return Large(anna, *found)


@dataclass
class Large:
    """Two Releases and their files."""

    anna: Person
    sealed: tuple
    clear: tuple


def test_a_release_in_the_clear_is_taken_as_it_is(large, bo):
    done, file = large.clear
    with bo.open() as buying:
        taken = buying.carrying.take_release(file, Control())
        assert (taken.is_sealed, taken.is_whole, taken.files) == (False, True, 3)
        manifest = buying.content.manifest(done.artifact)
        held = {path: at.read_bytes() for path, at in buying.content.files(manifest).items()}
        assert held["notes.txt"] == b"clear"
        assert held["a.bin"] == some_bytes(WEIGHTS, "clear")
        with buying.context.store.reads() as reads:
            assert reads.objects.manifest_of_release(EntryId(taken.release)).sealed is None
        assert buying.storing.view().by_whose["others"] == sum(it.size for it in manifest.files)


class StopsAt(Control):
    """Ends the work at one checkpoint of many."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def checkpoint(self, stage: str, done: int, total: int) -> None:
        self.left -= 1
        if self.left < 0:
            self.cancel()
        super().checkpoint(stage, done, total)


def test_ended_anywhere_what_was_whole_stays_and_the_same_file_goes_on(large, bo):
    done, file = large.sealed
    kept = []
    with bo.open() as buying:
        for steps in range(200):
            try:
                taken = buying.carrying.take_release(file, StopsAt(steps))
            except Cancelled:
                kept.append(buying.content.pieces.usage().objects)
                assert whose(buying, done.artifact) == set()
            else:
                break
        assert steps > 5
        assert kept == sorted(kept)
        assert {0, 1} <= set(kept)
        assert taken.is_whole
        assert buying.content.pieces.usage().part_bytes == 0
        check_whole(buying)


def test_a_piece_that_rotted_is_put_right_from_the_file(large, bo):
    _, file = large.sealed
    with bo.open() as buying:
        buying.carrying.take_release(file, Control())
        one = max(buying.content.pieces.objects(), key=lambda it: it.size)
        path = buying.content.pieces.path(one.root, one.size)
        path.chmod(0o600)
        raw = bytearray(path.read_bytes())
        raw[WEIGHTS // 2] ^= 1
        path.write_bytes(raw)
        assert buying.content.pieces.verify(one.root, one.size, Control())
        buying.carrying.take_release(file, Control())
        assert buying.content.pieces.verify(one.root, one.size, Control()) == ()


def test_writing_that_is_ended_leaves_no_file(large, tmp_path):
    file = tmp_path / "half.hanse-release"
    with large.anna.open() as engine, pytest.raises(Cancelled):
        engine.carrying.write_release(large.sealed[0].release, file, StopsAt(4))
    assert list(tmp_path.iterdir()) == []


def test_a_withdrawn_release_is_carried_all_the_same(large, bo, tmp_path):
    done, _ = large.clear
    file = tmp_path / "withdrawn.hanse-release"
    with large.anna.open() as engine:
        offering = engine.offering
        offering.sign(offering.set_state(done.listing, "withdrawn"))
        engine.carrying.write_release(done.release, file, Control())
    assert take(bo, file).is_whole


def test_what_is_not_held_is_not_written(shop, bo, tmp_path):
    file = tmp_path / "none"
    with bo.open() as buying, pytest.raises(UnknownRelease):
        buying.carrying.write_release(shop.release, file, Control())
    assert not file.exists()
