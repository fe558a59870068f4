"""Releases fetched from others: asked for, interrupted in every way, ended, never trusted."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
import pytest

from hanse.core.artifacts.manifest import read_manifest
from hanse.core.artifacts.pieces import NotEnoughSpace, gathering_name
from hanse.core.artifacts.quota import QuotaFull, Whose
from hanse.core.artifacts.sealing import check_sealed
from hanse.core.engine.fetch import BadRelease, TransferNotUnderWay
from hanse.core.engine.fetching import TransferInUse, TransferUnknown
from hanse.core.engine.trying.subject import UnknownRelease
from hanse.core.errors import StoreFull
from hanse.core.limits import SPACE_RESERVE_BYTES, UNWANTED_OBJECT_MS_MIN
from hanse.core.model.control import Control
from hanse.core.model.network import TransferState
from hanse.core.model.transfer import HashLayer, Reason
from hanse.core.store import transfers as transfer_rows
from hanse.core.store.transfers import TooManyTransfers
from tests.fakes.content import MIB, damage, some_bytes, write_files
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
from tests.fakes.swarm import (
    DEVICE,
    bring_all,
    bring_hashes,
    bring_pieces,
    bring_small,
    empty,
    fetched,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from hanse.core.ledger.kinds import Release1

DAY_MS = 24 * 60 * 60 * 1000
FILES = {
    "empty.txt": b"",
    "one.txt": b"x",
    "piece.bin": some_bytes(MIB, "piece"),
    "piece-and-one.bin": some_bytes(MIB + 1, "piece and one"),
    "twin/piece.bin": some_bytes(MIB, "piece"),
    "weights.bin": some_bytes(3 * MIB + 17, "weights"),
}


@dataclass
class Shop:
    """A seller with one sealed Release and one in the clear, open for all tests."""

    anna: Person
    engine: Engine
    sealed: bytes
    clear: bytes
    base: Path


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    base = tmp_path_factory.mktemp("shop")
    anna = seller(base)
    with anna.open() as engine:
        files = write_files(base / "sealed", FILES)
        sealed = publish(engine, files, preparation=AS_IS).release
        files = write_files(base / "clear", {"a.bin": some_bytes(2 * MIB + 3, "clear")})
        clear = publish(
            engine, files, preparation=AS_IS, title="Open", price="0", tiers=free_tiers()
        ).release
        engine.ledger.export(base / "anna.hanse-feed")
        yield Shop(anna, engine, sealed, clear, base)


@pytest.fixture(scope="module")
def buyer(tmp_path_factory, shop):
    """Give a buyer who has the seller's Feed."""
    person = Person.make(tmp_path_factory.mktemp("buyer"), "bo", shop.anna.clock)
    with person.open() as engine:
        engine.ledger.import_file(shop.base / "anna.hanse-feed")
        yield engine


@pytest.fixture
def bo(buyer):
    """Give the buyer with none of anybody's files."""
    empty(buyer)
    return buyer


@pytest.fixture(scope="module")
def cy(tmp_path_factory):
    """Give a seller whose Releases are as he signs them, sound or not."""
    with seller(tmp_path_factory.mktemp("cheat"), "cy").open() as engine:
        yield engine


def whose(engine: Engine, artifact: bytes) -> set[Whose]:
    with engine.context.store.reads() as reads:
        return {use.whose for use in reads.objects.of_artifact(artifact)}


def parts_left(engine: Engine) -> list[str]:
    folder = engine.context.home.folder / "store" / "part"
    return sorted(path.name for path in folder.glob("*"))


def sign(engine: Engine, body: Release1) -> bytes:
    """Sign a Release as it is, by the rules of the Ledger alone."""
    with engine.context.store.unit_of_work() as uow:
        entry = engine.context.append_own(uow, body)
        uow.commit()
    return entry.entry_id


def fill_disk(monkeypatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)


# --- the whole way -----------------------------------------------------------------------------


def test_a_sealed_release_is_fetched_whole_and_ready_to_be_paid(bo, shop):
    view = fetched(bo, shop.engine, shop.sealed)
    assert view.state is TransferState.DONE
    assert view.title == "A model 1.0.0"
    body = body_of(bo, shop.sealed)
    plain, sealed = manifests(bo, body)
    check_sealed(plain, sealed, body.seal, body.files, bo.content.pieces, Control())
    assert view.done_bytes == view.total_bytes == 6 * MIB + 19  # equal files are sealed apart
    assert whose(bo, body.artifact) == {Whose.OTHERS}
    assert parts_left(bo) == []
    check_whole(bo)


def test_a_release_in_the_clear_is_fetched_as_it_is(bo, shop):
    view = fetched(bo, shop.engine, shop.clear)
    manifest = bo.content.manifest(view.artifact)
    (path,) = bo.content.files(manifest).values()
    assert path.read_bytes() == some_bytes(2 * MIB + 3, "clear")
    assert bo.content.small.get(body_of(bo, shop.clear).card) is not None


def test_who_fetched_gives_it_on(bo, shop, tmp_path):
    fetched(bo, shop.engine, shop.sealed)
    dora = Person.make(tmp_path, "dora", shop.anna.clock)
    with dora.open() as engine:
        engine.ledger.import_file(shop.base / "anna.hanse-feed")
        assert fetched(engine, bo, shop.sealed).state is TransferState.DONE


def test_two_seeders_that_are_fetching_themselves_give_what_they_have(bo, shop, tmp_path):
    bo.fetching.ask(shop.clear)
    dora = Person.make(tmp_path, "dora", shop.anna.clock)
    with dora.open() as engine, bo.fetching.open(shop.clear) as half:
        engine.ledger.import_file(shop.base / "anna.hanse-feed")
        bring_small(half, shop.engine.seeding)
        bring_hashes(half, shop.engine.seeding)
        bring_pieces(half, shop.engine.seeding, 1)  # the last one
        (one,) = half.objects()
        assert bo.seeding.have(one.root, one.size).bits == b"\x04"
        engine.fetching.ask(shop.clear)
        with engine.fetching.open(shop.clear) as fetch:
            bring_small(fetch, shop.engine.seeding)
            bring_hashes(fetch, bo.seeding)
            data = bo.seeding.piece(one.root, one.size, 2, 0, 3)
            assert fetch.put_piece(one.root, one.size, 2, data)
            assert bo.seeding.piece(one.root, one.size, 0, 0, MIB) is None


def test_what_is_here_already_is_done_at_once(bo, shop):
    fetched(bo, shop.engine, shop.sealed)
    view = bo.fetching.ask(shop.sealed)
    assert view.state is TransferState.DONE
    assert bo.fetching.due() == ()


def test_what_came_in_a_file_is_not_fetched_again(bo, shop, tmp_path):
    file = tmp_path / "model.hanse-release"
    shop.engine.carrying.write_release(shop.sealed, file, Control())
    bo.carrying.take_release(file, Control())
    assert bo.fetching.ask(shop.sealed).state is TransferState.DONE


def test_an_own_release_is_here_already(shop):
    assert shop.engine.fetching.ask(shop.sealed).state is TransferState.DONE


def test_files_that_are_lost_are_fetched_and_the_others_are_not(bo, shop):
    fetched(bo, shop.engine, shop.sealed)
    plain, sealed = manifests(bo, body_of(bo, shop.sealed))
    number = next(n for n, file in enumerate(plain.files) if file.path == "weights.bin")
    name = (sealed.roots[number], plain.files[number].size)
    bo.content.pieces.remove(*name)
    view = bo.fetching.ask(shop.sealed)
    assert view.state is TransferState.QUEUED
    with bo.fetching.open(shop.sealed) as fetch:
        assert [(one.root, one.size) for one in fetch.objects()] == [name]
        assert bring_all(fetch, shop.engine.seeding).state is TransferState.DONE


def test_small_objects_nobody_has_are_done_without(bo, shop):
    bo.fetching.ask(shop.clear)
    with bo.fetching.open(shop.clear) as fetch:
        for one in fetch.small_wanted():
            fetch.skip_small(one.sha256)  # these are needed, and stay
        assert {one.sha256 for one in fetch.small_wanted()} == {
            fetch.artifact,
            body_of(bo, shop.clear).card,
        }
        for one in fetch.small_wanted():
            fetch.put_small(one.sha256, shop.engine.seeding.small(DEVICE, one.sha256))
        for one in fetch.small_wanted():
            fetch.skip_small(one.sha256)
        assert fetch.small_wanted() == ()
        bring_hashes(fetch, shop.engine.seeding)
        bring_pieces(fetch, shop.engine.seeding)
        assert fetch.finish().state is TransferState.DONE


# --- who lies ----------------------------------------------------------------------------------


def test_wrong_bytes_of_every_sort_are_told_and_cost_only_themselves(bo, shop):
    bo.fetching.ask(shop.sealed)
    giver = shop.engine.seeding
    with bo.fetching.open(shop.sealed) as fetch:
        first = fetch.small_wanted()[0].sha256
        assert not fetch.put_small(first, b"something else")
        assert not fetch.put_small(sha256(b"unasked").digest(), b"unasked")
        assert not fetch.is_known
        bring_small(fetch, giver)
        wanted = fetch.hashes_wanted()
        for one in wanted:
            raw = giver.hashes(one.root, one.size, one.layer, one.first, one.count)
            assert not fetch.put_hashes(one.root, one.size, one.layer, one.first, bytes(len(raw)))
            assert not fetch.put_hashes(one.root, one.size, one.layer, one.first, raw[:-32])
            assert not fetch.put_hashes(one.root, one.size, one.layer, one.first + 1, raw)
        assert fetch.hashes_wanted() == wanted
        bring_hashes(fetch, giver)
        for one in fetch.objects():
            assert not fetch.put_piece(one.root, one.size, 0, bytes(min(one.size, MIB)))
            assert not fetch.put_piece(one.root, one.size, 2**40, b"")
            assert len(fetch.have(one.root, one.size)) == 0
        assert not fetch.put_piece(bytes(32), 5, 0, b"other")
        bring_pieces(fetch, giver)
        assert fetch.finish().state is TransferState.DONE


def test_no_piece_counts_before_its_layer_is_here(bo, shop):
    bo.fetching.ask(shop.clear)
    with bo.fetching.open(shop.clear) as fetch:
        bring_small(fetch, shop.engine.seeding)
        (one,) = fetch.objects()
        piece = shop.engine.seeding.piece(one.root, one.size, 0, 0, MIB)
        assert not fetch.can_take(one.root, one.size)
        assert not fetch.put_piece(one.root, one.size, 0, piece)
        bring_hashes(fetch, shop.engine.seeding)
        assert fetch.can_take(one.root, one.size)
        assert fetch.put_piece(one.root, one.size, 0, piece)


def test_leaf_layers_are_wanted_only_after_their_piece_layers(bo, shop):
    bo.fetching.ask(shop.sealed)
    with bo.fetching.open(shop.sealed) as fetch:
        bring_small(fetch, shop.engine.seeding)
        wanted = fetch.hashes_wanted()
        layers = {(one.root, one.size) for one in wanted if one.layer is HashLayer.PIECES}
        leaves = {(one.root, one.size) for one in wanted if one.layer is HashLayer.LEAVES}
        assert layers
        assert leaves  # of the file of one Piece, which has no Piece layer
        assert not layers & leaves


def test_a_piece_that_comes_twice_is_nobodys_fault(bo, shop):
    bo.fetching.ask(shop.clear)
    with bo.fetching.open(shop.clear) as fetch:
        bring_small(fetch, shop.engine.seeding)
        bring_hashes(fetch, shop.engine.seeding)
        (one,) = fetch.objects()
        bring_pieces(fetch, shop.engine.seeding)
        again = shop.engine.seeding.piece(one.root, one.size, 1, 0, MIB)
        assert fetch.put_piece(one.root, one.size, 1, again)
        assert fetch.objects() == ()


def bad_release(engine: Engine, shop: Shop, reason: str) -> tuple[bytes, dict[bytes, bytes]]:
    """Sign a Release that is not sound; return it and the small objects it needs."""
    files = write_files(shop.base / f"bad-{reason}", {"w.bin": some_bytes(5000, reason)})
    body = body_of(engine, publish(engine, files, preparation=AS_IS, title=reason).release)
    plain_raw = engine.content.object(body.artifact)
    sealed_raw = engine.content.object(body.seal.manifests[1])
    card = engine.content.object(body.card)
    seal = body.seal
    if reason == "manifest":
        plain_raw = b"no manifest"
    elif reason == "path":
        plain_raw = read_manifest(plain_raw).encode().replace(b"w.bin", b"../.x")
    elif reason == "seal":
        seal = msgspec.structs.replace(seal, seal_root=bytes(32))
    elif reason == "files":
        body = msgspec.structs.replace(body, files=2, seal=None)
    elif reason == "size":
        body = msgspec.structs.replace(body, size=body.size - 1)
    artifact = sha256(plain_raw).digest()
    if body.seal is not None:
        seal = msgspec.structs.replace(seal, manifests=(artifact, seal.manifests[1]))
        body = msgspec.structs.replace(body, seal=seal)
    body = msgspec.structs.replace(body, artifact=artifact, version="9.9.9")
    small = {sha256(raw).digest(): raw for raw in (plain_raw, sealed_raw, card)}
    return sign(engine, body), small


@pytest.mark.parametrize("reason", ["manifest", "path", "seal", "files", "size"])
def test_what_the_seller_signed_and_does_not_fit_fails_by_his_name(bo, cy, shop, tmp_path, reason):
    release, small = bad_release(cy, shop, reason)
    cy.ledger.export(tmp_path / "cy.hanse-feed")
    bo.ledger.import_file(tmp_path / "cy.hanse-feed")
    bo.fetching.ask(release)
    with bo.fetching.open(release) as fetch:
        *first, last = (one.sha256 for one in fetch.small_wanted())
        for digest in first:
            assert fetch.put_small(digest, small[digest])
        with pytest.raises(BadRelease) as caught:
            fetch.put_small(last, small[last])
    said(caught.value)
    assert caught.value.values["reason"] == reason
    assert caught.value.values["seller"] == cy.context.identity
    view = bo.fetching.view(release)
    assert view.state is TransferState.FAILED
    assert view.error[0] == BadRelease.code
    assert view.error[1]["seller"] == cy.context.identity.hex()
    assert bo.fetching.due() == ()
    bo.fetching.go_on(release)  # and now the Manifests are here
    with pytest.raises(BadRelease):
        bo.fetching.open(release)


# --- room --------------------------------------------------------------------------------------


def with_free(engine: Engine, free_bytes: int) -> None:
    engine.content.pieces._free = lambda _: free_bytes


def test_a_release_that_just_fits_is_fetched_and_one_byte_less_is_refused_before(bo, shop):
    size = body_of(bo, shop.sealed).size
    with_free(bo, SPACE_RESERVE_BYTES + size - 1)
    with pytest.raises(NotEnoughSpace):
        bo.fetching.ask(shop.sealed)
    assert bo.fetching.views() == ()
    with_free(bo, SPACE_RESERVE_BYTES + size)
    assert bo.fetching.ask(shop.sealed).state is TransferState.QUEUED


def test_what_others_are_still_to_bring_counts_too(bo, shop):
    sizes = [body_of(bo, one).size for one in (shop.sealed, shop.clear)]
    with_free(bo, SPACE_RESERVE_BYTES + sum(sizes) - 1)
    bo.fetching.ask(shop.sealed)
    with pytest.raises(NotEnoughSpace):
        bo.fetching.ask(shop.clear)


def test_a_release_of_just_the_quota_is_taken_and_one_byte_less_refuses_it(bo, shop):
    size = body_of(bo, shop.clear).size
    bo.storing.set_quota(size - 1)
    with pytest.raises(QuotaFull):
        bo.fetching.ask(shop.clear)
    assert bo.fetching.views() == ()
    bo.storing.set_quota(size)
    assert fetched(bo, shop.engine, shop.clear).state is TransferState.DONE


def test_what_an_order_needs_is_no_content_of_others(bo, shop):
    bo.storing.set_quota(0)
    bo.fetching.ask(shop.clear, reason=Reason.ORDER)
    with bo.fetching.open(shop.clear) as fetch:
        bring_all(fetch, shop.engine.seeding)
    assert whose(bo, fetch.artifact) == {Whose.ORDER}


def test_room_is_made_by_what_was_seeded_longest_ago(bo, shop):
    fetched(bo, shop.engine, shop.clear)
    clear = body_of(bo, shop.clear).artifact
    shop.anna.clock.advance(1)
    bo.storing.set_quota(body_of(bo, shop.sealed).size)
    fetched(bo, shop.engine, shop.sealed)
    assert whose(bo, clear) == set()
    assert bo.fetching.ask(shop.sealed).state is TransferState.DONE


def test_a_file_that_went_while_the_rest_came_is_fetched_again(bo, shop):
    bo.fetching.ask(shop.sealed)
    with bo.fetching.open(shop.sealed) as fetch:
        bring_small(fetch, shop.engine.seeding)
        bring_hashes(fetch, shop.engine.seeding)
        bring_pieces(fetch, shop.engine.seeding, 6)
        fetch.checkpoint()
        gone = next(one for one in bo.content.pieces.objects() if one.size > MIB)
        bo.content.pieces.remove(gone.root, gone.size)
        bring_pieces(fetch, shop.engine.seeding)
        assert fetch.finish().state is TransferState.RUNNING
        assert [(one.root, one.size) for one in fetch.objects()] == [(gone.root, gone.size)]
        assert bring_all(fetch, shop.engine.seeding).state is TransferState.DONE


def test_a_release_nobody_signed_here_cannot_be_asked_for(bo):
    with pytest.raises(UnknownRelease):
        bo.fetching.ask(bytes(32))
    for act in (bo.fetching.pause, bo.fetching.go_on, bo.fetching.cancel, bo.fetching.view):
        with pytest.raises(TransferUnknown) as caught:
            act(bytes(32))
        said(caught.value)


def test_a_full_disk_fails_the_transfer_and_it_goes_on_when_there_is_room(bo, shop, monkeypatch):
    bo.fetching.ask(shop.sealed)
    giver = shop.engine.seeding
    with bo.fetching.open(shop.sealed) as fetch:
        bring_small(fetch, giver)
        bring_hashes(fetch, giver)
        bring_pieces(fetch, giver, 2)
        with monkeypatch.context() as patch:
            fill_disk(patch)
            with pytest.raises(StoreFull):
                bring_pieces(fetch, giver)
    view = bo.fetching.view(shop.sealed)
    assert view.state is TransferState.FAILED
    assert view.error[0] == StoreFull.code
    with_free(bo, 0)
    assert bo.fetching.due() == ()
    with pytest.raises(NotEnoughSpace):
        bo.fetching.go_on(shop.sealed)
    with_free(bo, 100 * 1024**3)
    assert [one.release for one in bo.fetching.due()] == [shop.sealed]
    with bo.fetching.open(shop.sealed) as fetch:
        assert 9 - 2 <= bring_pieces(fetch, giver) <= 9 - 1
        assert fetch.finish().state is TransferState.DONE


# --- pause, cancel, another day ----------------------------------------------------------------


def half(bo: Engine, shop: Shop) -> None:
    """Fetch six Pieces of nine of the sealed Release, and let go of it."""
    with bo.fetching.open(shop.sealed) as fetch:
        bring_small(fetch, shop.engine.seeding)
        bring_hashes(fetch, shop.engine.seeding)
        assert bring_pieces(fetch, shop.engine.seeding, 6) == 6
        fetch.checkpoint()


def test_a_paused_transfer_tells_its_worker_and_goes_on_another_day(bo, shop):
    bo.fetching.ask(shop.sealed)
    with bo.fetching.open(shop.sealed) as fetch:
        bring_small(fetch, shop.engine.seeding)
        bring_hashes(fetch, shop.engine.seeding)
        bring_pieces(fetch, shop.engine.seeding, 6)
        assert bo.fetching.pause(shop.sealed).state is TransferState.PAUSED
        with pytest.raises(TransferNotUnderWay) as caught:
            fetch.checkpoint()
        said(caught.value)
    assert bo.fetching.due() == ()
    with pytest.raises(TransferNotUnderWay):
        bo.fetching.open(shop.sealed)
    clock, before = shop.anna.clock, parts_left(bo)
    assert before
    clock.advance(30 * DAY_MS + int(1e12))  # files have the machine's time
    try:
        bo.storing.sweep()
    finally:
        clock.set_back(30 * DAY_MS + int(1e12))
    assert parts_left(bo) == before
    assert bo.fetching.go_on(shop.sealed).state is not TransferState.PAUSED
    with bo.fetching.open(shop.sealed) as fetch:
        bring_pieces(fetch, shop.engine.seeding)
        assert fetch.finish().state is TransferState.DONE


def test_a_cancelled_transfer_leaves_nothing_behind(bo, shop):
    bo.fetching.ask(shop.sealed)
    half(bo, shop)
    assert parts_left(bo)
    assert bo.fetching.cancel(shop.sealed).state is TransferState.CANCELLED
    assert parts_left(bo) == []
    assert [one for one in bo.content.pieces.objects() if one.size] == []
    assert bo.storing.view().by_whose["others"] == 0
    assert bo.fetching.due() == ()


def test_cancelling_under_way_leaves_nothing_once_the_worker_left(bo, shop):
    bo.fetching.ask(shop.sealed)
    with bo.fetching.open(shop.sealed) as fetch:
        bring_small(fetch, shop.engine.seeding)
        bring_hashes(fetch, shop.engine.seeding)
        bring_pieces(fetch, shop.engine.seeding, 6)
        bo.fetching.cancel(shop.sealed)
        with pytest.raises(TransferNotUnderWay):
            fetch.checkpoint()
    assert parts_left(bo) == []


def test_a_cancelled_transfer_can_be_asked_for_again(bo, shop):
    bo.fetching.ask(shop.sealed)
    half(bo, shop)
    bo.fetching.cancel(shop.sealed)
    assert fetched(bo, shop.engine, shop.sealed).state is TransferState.DONE


def test_progress_is_kept_and_what_is_here_is_not_fetched_again(bo, shop):
    bo.fetching.ask(shop.sealed)
    half(bo, shop)
    before = bo.fetching.view(shop.sealed)
    assert 0 < before.done_bytes < before.total_bytes
    with bo.fetching.open(shop.sealed) as fetch:
        assert bring_pieces(fetch, shop.engine.seeding) == 9 - 6
        assert fetch.finish().done_bytes == before.total_bytes


def test_what_rotted_on_its_way_comes_again_before_the_transfer_ends(bo, shop):
    bo.fetching.ask(shop.clear)
    with bo.fetching.open(shop.clear) as fetch:
        bring_small(fetch, shop.engine.seeding)
        bring_hashes(fetch, shop.engine.seeding)
        (one,) = fetch.objects()
        bring_pieces(fetch, shop.engine.seeding, 2)
        fetch.checkpoint()
    part = bo.content.pieces.folder / "part" / f"{gathering_name(one.root, one.size)}.data"
    damage(part, MIB + 7)
    with bo.fetching.open(shop.clear) as fetch:
        bring_pieces(fetch, shop.engine.seeding)
        assert fetch.finish().state is TransferState.RUNNING
        assert list(fetch.have(one.root, one.size).missing()) == [1]
        bring_pieces(fetch, shop.engine.seeding)
        assert fetch.finish().state is TransferState.DONE


def test_one_worker_at_a_time_holds_a_transfer(bo, shop):
    bo.fetching.ask(shop.sealed)
    with bo.fetching.open(shop.sealed):
        with pytest.raises(TransferInUse) as caught:
            bo.fetching.open(shop.sealed)
        said(caught.value)
    bo.fetching.open(shop.sealed).close()


def test_a_lost_manifest_is_fetched_again(bo, shop):
    bo.fetching.ask(shop.sealed)
    half(bo, shop)
    artifact = body_of(bo, shop.sealed).artifact
    path = bo.context.home.folder / "store" / "small" / artifact.hex()[:2] / artifact.hex()
    damage(path, 5)
    with bo.fetching.open(shop.sealed) as fetch:
        assert [one.sha256 for one in fetch.small_wanted()] == [artifact]
        assert bring_all(fetch, shop.engine.seeding).state is TransferState.DONE


# --- several at once ---------------------------------------------------------------------------


def test_the_most_urgent_and_then_the_oldest_goes_first(bo, shop):
    bo.fetching.ask(shop.sealed, reason=Reason.SEED, priority=9)
    bo.fetching.ask(shop.clear)
    assert [one.release for one in bo.fetching.due()] == [shop.clear, shop.sealed]
    bo.fetching.set_priority(shop.sealed, 0)
    assert [one.release for one in bo.fetching.due()] == [shop.sealed, shop.clear]


def test_asking_again_makes_it_more_urgent_and_never_less(bo, shop):
    bo.fetching.ask(shop.sealed, reason=Reason.SEED, priority=9)
    view = bo.fetching.ask(shop.sealed)
    assert (view.priority, view.reason) == (1, "asked")
    view = bo.fetching.ask(shop.sealed, reason=Reason.SEED, priority=9)
    assert (view.priority, view.reason) == (1, "asked")


def test_so_many_transfers_wait_and_no_more(bo, shop, monkeypatch):
    monkeypatch.setattr(transfer_rows, "TRANSFERS_OPEN_MAX", 1)
    bo.fetching.ask(shop.sealed)
    with pytest.raises(TooManyTransfers) as caught:
        bo.fetching.ask(shop.clear)
    said(caught.value)
    assert len(bo.fetching.views()) == 1


def again_released(engine: Engine, release: bytes) -> bytes:
    """Sign a second Release of the same Artifact, given in the clear as the first."""
    return sign(engine, msgspec.structs.replace(body_of(engine, release), version="1.1.0"))


def test_a_file_two_releases_have_is_gathered_once(bo, cy, tmp_path):
    engine = cy
    files = write_files(tmp_path / "open", {"w.bin": some_bytes(2 * MIB + 9, "both")})
    first = publish(engine, files, preparation=AS_IS, price="0", tiers=free_tiers()).release
    second = again_released(engine, first)
    engine.ledger.export(tmp_path / "cy.hanse-feed")
    bo.ledger.import_file(tmp_path / "cy.hanse-feed")
    bo.fetching.ask(first)
    bo.fetching.ask(second)
    with bo.fetching.open(first) as one, bo.fetching.open(second) as two:
        for fetch in (one, two):
            bring_small(fetch, engine.seeding)
            bring_hashes(fetch, engine.seeding)
        assert bring_pieces(one, engine.seeding, 1) == 1
        assert bring_pieces(two, engine.seeding, 1) == 1
        assert bring_pieces(one, engine.seeding) == 1
        assert two.objects() == ()
        assert [one.finish().state, two.finish().state] == [TransferState.DONE] * 2
    assert parts_left(bo) == []
    (path,) = bo.content.files(bo.content.manifest(one.artifact)).values()
    assert path.read_bytes() == some_bytes(2 * MIB + 9, "both")


def test_cancelling_one_of_two_keeps_what_the_other_wants(bo, cy, tmp_path):
    engine = cy
    files = write_files(tmp_path / "open", {"w.bin": some_bytes(2 * MIB + 9, "kept")})
    first = publish(engine, files, preparation=AS_IS, price="0", tiers=free_tiers()).release
    second = again_released(engine, first)
    engine.ledger.export(tmp_path / "cy.hanse-feed")
    bo.ledger.import_file(tmp_path / "cy.hanse-feed")
    for release in (first, second):
        bo.fetching.ask(release)
    with bo.fetching.open(first) as fetch:
        bring_small(fetch, engine.seeding)
        bring_hashes(fetch, engine.seeding)
        bring_pieces(fetch, engine.seeding, 1)
        fetch.checkpoint()
    bo.fetching.cancel(first)
    with bo.fetching.open(second) as fetch:
        (one,) = fetch.objects()
        assert len(fetch.have(one.root, one.size)) == 1


# --- what rotted is fetched again --------------------------------------------------------------


def test_what_rotted_here_is_healed_from_others(bo, shop):
    view = fetched(bo, shop.engine, shop.sealed)
    plain, sealed = manifests(bo, body_of(bo, shop.sealed))
    number = next(n for n, file in enumerate(plain.files) if file.path == "weights.bin")
    name = (sealed.roots[number], plain.files[number].size)
    damage(bo.content.pieces.path(*name), MIB + 5)
    (healed,) = bo.storing.heal(Control(), bo.fetching.mend)
    assert (healed.lost, healed.asked) == (1, 1)
    (due,) = bo.fetching.due()
    assert (due.release, due.reason) == (shop.sealed, "heal")
    with bo.fetching.open(shop.sealed) as fetch:
        assert list(fetch.have(*name).missing()) == [1]
        assert bring_all(fetch, shop.engine.seeding).state is TransferState.DONE
    (healed,) = bo.storing.heal(Control(), bo.fetching.mend)
    assert healed.is_whole
    assert whose(bo, view.artifact) == {Whose.OTHERS}


def test_a_file_that_is_missing_is_healed_from_others(bo, shop):
    fetched(bo, shop.engine, shop.clear)
    (file,) = bo.content.manifest(body_of(bo, shop.clear).artifact).files
    bo.content.pieces.remove(file.root, file.size)
    (healed,) = bo.storing.heal(Control(), bo.fetching.mend)
    assert healed.asked == 3
    with bo.fetching.open(shop.clear) as fetch:
        assert bring_all(fetch, shop.engine.seeding).state is TransferState.DONE


def test_without_a_network_nothing_is_taken_apart(bo, shop):
    fetched(bo, shop.engine, shop.clear)
    (file,) = bo.content.manifest(body_of(bo, shop.clear).artifact).files
    damage(bo.content.pieces.path(file.root, file.size), 5)
    (healed,) = bo.storing.heal(Control())
    assert (healed.lost, healed.asked) == (1, 0)
    assert bo.content.pieces.has(file.root, file.size)


def test_what_travels_by_no_release_is_not_mended(shop):
    body = body_of(shop.engine, shop.sealed)
    plain = shop.engine.content.manifest(body.artifact)
    file = max(plain.files, key=lambda one: one.size)
    assert not shop.engine.fetching.mend(file.root, file.size, (0,))
    assert shop.engine.content.pieces.has(file.root, file.size)


def test_a_sweep_keeps_what_a_transfer_has_whole_already(bo, shop):
    bo.fetching.ask(shop.sealed)
    half(bo, shop)
    held = [(one.root, one.size) for one in bo.content.pieces.objects() if one.size]
    assert held
    clock = shop.anna.clock
    newest = max(found.mtime_ms for found in bo.content.pieces.objects())
    step = newest + UNWANTED_OBJECT_MS_MIN + 1 - clock.now_ms()
    clock.advance(step)
    try:
        bo.storing.sweep()
    finally:
        clock.set_back(step)
    assert all(bo.content.pieces.has(*name) for name in held)


def test_traffic_is_counted_by_file(bo, shop):
    fetched(bo, shop.engine, shop.clear)
    view = bo.seeding.view()
    assert view.in_bytes == body_of(bo, shop.clear).size
    assert view.out_bytes == 0


def test_beside_what_is_needed_only_so_much_is_taken(bo, shop):
    bo.fetching.ask(shop.clear)
    with bo.fetching.open(shop.clear) as fetch:
        needed = fetch.small_wanted()
        for one in needed:
            fetch.put_small(one.sha256, shop.engine.seeding.small(DEVICE, one.sha256))
        beside = fetch.small_wanted()
        assert beside
        assert not any(one.is_needed for one in beside)
        fetch._small_room = 0
        for one in beside:
            raw = shop.engine.seeding.small(DEVICE, one.sha256)
            assert fetch.put_small(one.sha256, raw)  # right, and nobody's fault
            assert not bo.content.small.has(one.sha256)
        assert fetch.small_wanted() == ()
