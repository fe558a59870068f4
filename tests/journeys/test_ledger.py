"""The ledger through the engine: carried in files, forked, erased, disclosed, damaged."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from hanse.core.engine.auditing import BackupNeedsPhrase, NotAHanseFile, verify_file
from hanse.core.engine.ledger import (
    NoLaterHeader,
    NotAFeedFile,
    NotDisclosable,
    NotErasable,
    NotOurEntry,
    UnknownEntry,
    UnknownFeed,
)
from hanse.core.engine.script import BadBody, Ledger
from hanse.core.errors import AccountLocked, FileUnreadable
from hanse.core.ledger.entry import (
    Head,
    SignedEntry,
    build_entry,
    parse_entry,
    sign_entry,
)
from hanse.core.ledger.evidence import write_fork
from hanse.core.ledger.feed_file import ClaimedHead, FeedFileReader, write_feed_file
from hanse.core.ledger.kinds import Message1, Profile1, encode_body
from hanse.core.ledger.tree import Peaks
from hanse.core.model.ids import AuthorKey, IdentityId
from tests.fakes.people import PASSPHRASE, START_MS, Person, digest, give

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW_MS = START_MS + 1000


@pytest.fixture
def anna(tmp_path: Path) -> Person:
    """Anna, with a Profile she edited twice."""
    person = Person.make(tmp_path, "anna")
    with person.open() as engine:
        engine.accounts.edit_profile(about="first")
        engine.accounts.edit_profile(about="second")
    return person


@pytest.fixture
def bo(tmp_path: Path) -> Person:
    """Bo, who knows nobody."""
    return Person.make(tmp_path, "bo")


def export(person: Person, path: Path) -> Path:
    with person.open(unlocked=False) as engine:
        engine.ledger.export(path)
    return path


def import_entries(person: Person, path: Path, entries: list[SignedEntry]) -> None:
    heads = [ClaimedHead(entry.author, entry.seq, entry.entry_id) for entry in entries[-1:]]
    with path.open("wb") as stream:
        write_feed_file(stream, heads, entries)
    with person.open() as engine:
        engine.ledger.import_file(path)


def other_entry(
    person: Person,
    seq: int,
    *,
    kind: str = "profile/1",
    body: bytes | None = None,
    time_ms: int | None = None,
) -> SignedEntry:
    """Sign, with the person's own Device key, another Entry at ``seq`` than the one held."""
    with person.open() as engine, engine.context.store.reads() as reads:
        keys = engine.context.unlocked()
        author = AuthorKey(keys.device)
        before = reads.feeds.entry_at(author, seq - 1)
        assert before is not None
        peaks = Peaks()
        for entry_id in reads.feeds.ids(author)[: seq - 1]:
            peaks.add(entry_id)
    if body is None:
        body = encode_body(
            Profile1(
                salt=bytes(16),
                name="other",
                about="",
                web=(),
                contact=None,
                sectors=(),
                avatar=None,
                lang=None,
            )
        )
    unsigned = build_entry(
        author,
        Head(before.seq, before.entry_id, before.header.time_ms),
        peaks,
        kind,
        body,
        now_ms=time_ms or before.header.time_ms,
    )
    return sign_entry(unsigned, keys.device_signer)


def test_an_exported_feed_is_imported_verified_and_known_the_second_time(
    anna: Person, bo: Person, tmp_path: Path
) -> None:
    path = export(anna, tmp_path / "anna.hanse-feed")
    report = verify_file(path, NOW_MS)
    assert report.holds
    assert report.entries == 5
    assert report.identities == (anna.view.identity,)
    assert {code for code, _ in report.proved} == {"verify.root_feed", "verify.device_feed"}
    with bo.open() as engine:
        first = engine.ledger.import_file(path)
        again = engine.ledger.import_file(path)
        assert engine.accounts.profile(anna.view.identity).about == "second"
        assert engine.ledger.verify().holds
    assert (first.accepted, first.rejected) == (5, ())
    assert (again.accepted, again.known) == (0, 5)
    digest(bo)


@pytest.mark.parametrize("place", ["start", "heads", "entry", "end", "last"])
def test_a_flipped_byte_in_a_file_is_found_with_frame_and_byte(
    anna: Person, tmp_path: Path, place: str
) -> None:
    path = export(anna, tmp_path / "anna.hanse-feed")
    raw = bytearray(path.read_bytes())
    offset = {"start": 2, "heads": 30, "entry": len(raw) // 2, "end": len(raw) - 50, "last": -1}
    raw[offset[place]] ^= 0x10
    path.write_bytes(raw)
    if place == "start":
        with pytest.raises(NotAHanseFile):
            verify_file(path, NOW_MS)
        return
    report = verify_file(path, NOW_MS)
    assert not report.holds
    fault = report.faults[0]
    assert "frame" in fault.where
    assert "byte" in fault.where
    assert fault.detail


def test_a_flipped_byte_in_any_entry_is_found_in_that_very_frame(
    anna: Person, tmp_path: Path
) -> None:
    path = export(anna, tmp_path / "anna.hanse-feed")
    raw = path.read_bytes()
    with path.open("rb") as stream:
        items = list(FeedFileReader(stream))
    ends = [*(item.offset for item in items[1:]), len(raw) - 60]
    for item, end in zip(items, ends, strict=True):
        # In the length, the header, the signature, and the last part of the body.
        for place in (item.offset + 3, item.offset + 40, item.offset + 220, end - 12):
            changed = bytearray(raw)
            changed[place] ^= 1
            path.write_bytes(changed)
            fault = verify_file(path, NOW_MS).faults[0]
            assert fault.where.startswith(f"frame {item.frame}, byte "), (place, fault)


def test_every_cut_of_a_file_is_noticed(anna: Person, tmp_path: Path) -> None:
    path = export(anna, tmp_path / "anna.hanse-feed")
    raw = path.read_bytes()
    for size in range(16, len(raw), 97):
        path.write_bytes(raw[:size])
        report = verify_file(path, NOW_MS)
        assert "the file ends" in report.faults[0].detail


def test_what_came_before_a_fault_in_a_file_is_kept(
    anna: Person, bo: Person, tmp_path: Path
) -> None:
    path = export(anna, tmp_path / "anna.hanse-feed")
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) - 150])
    with bo.open() as engine:
        report = engine.ledger.import_file(path)
        assert report.accepted >= 3
        assert report.rejected[0].reason == "damaged"
        assert engine.ledger.verify().holds


def test_a_forged_second_entry_freezes_the_feed_and_the_proof_travels(
    anna: Person, bo: Person, tmp_path: Path
) -> None:
    path = export(anna, tmp_path / "anna.hanse-feed")
    with bo.open() as engine:
        engine.ledger.import_file(path)
    import_entries(bo, tmp_path / "forged.hanse-feed", [other_entry(anna, 4)])
    with bo.open() as engine:
        feed = next(it for it in engine.ledger.feeds() if it.author == anna.view.device)
        assert (feed.state, feed.frozen_seq) == ("frozen", 4)
        assert engine.accounts.profile(anna.view.identity).about == "first"
        assert engine.ledger.verify().forks == 1
        with engine.context.store.reads() as reads:
            ((_, proof),) = reads.forks.proofs()
    assert len(proof) <= 512

    fork = tmp_path / "anna.hanse-fork"
    fork.write_bytes(write_fork(proof))
    assert verify_file(fork, NOW_MS).holds
    cy = Person.make(tmp_path, "cy")
    give(anna, cy, tmp_path)
    with cy.open() as engine:
        engine.ledger.import_file(fork)
        assert engine.accounts.profile(anna.view.identity).about == "first"
    assert digest(cy) != b""


def test_both_orders_of_a_fork_end_in_the_same_projections(anna: Person, tmp_path: Path) -> None:
    path = export(anna, tmp_path / "anna.hanse-feed")
    forged = other_entry(anna, 4)
    one, two = Person.make(tmp_path, "one"), Person.make(tmp_path, "two")
    digests = []
    for person, forged_first in ((one, False), (two, True)):
        steps: list[Callable[[], None]] = [
            lambda person=person: import_path(person, path),
            lambda person=person: import_entries(person, tmp_path / "f.hanse-feed", [forged]),
        ]
        for step in reversed(steps) if forged_first else steps:
            step()
        with person.open() as engine:
            profile = engine.accounts.profile(anna.view.identity)
        digests.append((profile.about, profile.time_ms))
    assert digests[0] == digests[1]


def import_path(person: Person, path: Path) -> None:
    with person.open() as engine:
        engine.ledger.import_file(path)


def test_an_entry_from_the_future_waits_and_is_taken_when_its_time_comes(
    anna: Person, bo: Person, tmp_path: Path
) -> None:
    give(anna, bo, tmp_path)
    later = other_entry(anna, 5, time_ms=START_MS + 3_600_000)
    import_entries(bo, tmp_path / "later.hanse-feed", [later])
    with bo.open() as engine:
        assert engine.accounts.profile(anna.view.identity).name == "anna"
        assert engine.ledger.verify().waiting == 1
    bo.clock.advance(3_600_000)
    give(anna, bo, tmp_path)
    with bo.open() as engine:
        assert engine.accounts.profile(anna.view.identity).name == "other"
        assert engine.ledger.verify().waiting == 0


def test_an_unknown_kind_is_kept_and_relayed_but_not_projected(
    anna: Person, bo: Person, tmp_path: Path
) -> None:
    give(anna, bo, tmp_path)
    unknown = other_entry(anna, 5, kind="haiku/7", body=b"\xa1\x64text\x63sea")
    import_entries(bo, tmp_path / "haiku.hanse-feed", [unknown])
    with bo.open() as engine:
        shown = engine.ledger.show(author=anna.view.device)[-1]
        assert (shown.kind, shown.body_state, shown.body) == ("haiku/7", "here", None)
        path = tmp_path / "relayed.hanse-feed"
        engine.ledger.export(path, authors=[anna.view.device])
    report = verify_file(path, NOW_MS)
    assert report.holds
    assert report.entries == 6


def test_a_known_kind_with_an_unknown_field_has_a_void_body_and_a_good_header(
    anna: Person, bo: Person, tmp_path: Path
) -> None:
    give(anna, bo, tmp_path)
    body = encode_body(
        Profile1(
            salt=bytes(16),
            name="x",
            about="",
            web=(),
            contact=None,
            sectors=(),
            avatar=None,
            lang=None,
        )
    )
    # One more field: the map of 8 becomes one of 9.
    changed = bytes([body[0] + 1]) + b"\x61a\x01" + body[1:]
    void = other_entry(anna, 5, body=changed)
    import_entries(bo, tmp_path / "void.hanse-feed", [void])
    with bo.open() as engine:
        shown = engine.ledger.show(author=anna.view.device)[-1]
        assert (shown.seq, shown.body_state) == (5, "void")
        path = tmp_path / "with-void.hanse-feed"
        engine.ledger.export(path, authors=[anna.view.device])
        assert engine.accounts.profile(anna.view.identity).about == "second"
        assert engine.ledger.verify().holds
    report = verify_file(path, NOW_MS)
    assert report.holds
    assert ("verify.void_body", {"author": anna.view.device, "seq": 5}) in report.open_points


def test_a_wrong_body_costs_no_header(anna: Person, bo: Person, tmp_path: Path) -> None:
    give(anna, bo, tmp_path)
    good = other_entry(anna, 5)
    swapped = parse_entry(good.header_bytes, good.signature, b"\xa0")
    import_entries(bo, tmp_path / "wrong.hanse-feed", [swapped])
    with bo.open() as engine:
        assert engine.ledger.show(author=anna.view.device)[-1].body_state == "absent"
    import_entries(bo, tmp_path / "right.hanse-feed", [good])
    with bo.open() as engine:
        assert engine.ledger.show(author=anna.view.device)[-1].body_state == "here"
        assert engine.accounts.profile(anna.view.identity).name == "other"
    digest(bo)


def test_an_erased_body_is_gone_here_and_at_the_next_peer_and_headers_still_verify(
    anna: Person, bo: Person, tmp_path: Path
) -> None:
    give(anna, bo, tmp_path)
    with anna.open() as engine:
        second = engine.ledger.show()[-1]
        first_of_all = engine.ledger.show()[0]
        with pytest.raises(NotErasable):
            engine.ledger.erase([first_of_all.entry_id], "")
        with pytest.raises(UnknownEntry):
            engine.ledger.erase([bytes(32)], "")
        engine.ledger.erase([second.entry_id], "a slip of the pen")
        assert engine.accounts.profile().about == "first"
        assert engine.ledger.verify().holds
    with bo.open() as engine, pytest.raises(NotOurEntry):
        engine.ledger.erase([second.entry_id], "")
    before = b"second" in (bo.home.folder / "hanse.db").read_bytes()
    give(anna, bo, tmp_path)
    with bo.open() as engine:
        shown = {it.seq: it.body_state for it in engine.ledger.show(author=anna.view.device)}
        assert shown[4] == "erased"
        assert engine.accounts.profile(anna.view.identity).about == "first"
        assert engine.ledger.verify().holds
    assert before
    digest(bo)


def test_a_private_body_opens_for_its_readers_and_can_be_disclosed_alone(
    anna: Person, bo: Person, tmp_path: Path
) -> None:
    give(bo, anna, tmp_path)
    with anna.open() as engine, engine.context.store.unit_of_work() as uow:
        known = uow.projections.standing_of(IdentityId(bo.view.identity))
        own = uow.projections.standing_of(engine.context.identity)
        assert known is not None
        assert own is not None
        message = Message1(order=None, text="between us", files=())
        entry = engine.context.append_private(
            uow, "message/1", message, [known.box, own.box], [IdentityId(bo.view.identity)]
        )
        uow.commit()
    disclosed = tmp_path / "said.hanse-disclosure"
    with anna.open() as engine:
        public = engine.ledger.show()[0]
        with pytest.raises(NotDisclosable):
            engine.ledger.disclose(public.entry_id, disclosed)
        engine.accounts.lock()
        with pytest.raises(AccountLocked):
            engine.ledger.disclose(entry.entry_id, disclosed)
        engine.accounts.unlock(PASSPHRASE)
        engine.ledger.disclose(entry.entry_id, disclosed)
    report = verify_file(disclosed, NOW_MS)
    assert report.proved[0][0] == "verify.disclosure"
    raw = bytearray(disclosed.read_bytes())
    raw[-5] ^= 1
    disclosed.write_bytes(raw)
    assert not verify_file(disclosed, NOW_MS).holds
    for folder in (anna, bo):
        database = (folder.home.folder / "hanse.db").read_bytes()
        assert b"between us" not in database


def test_an_inclusion_proof_needs_a_later_header_and_proves_one_entry(
    anna: Person, tmp_path: Path
) -> None:
    proof = tmp_path / "one.hanse-proof"
    with anna.open(unlocked=False) as engine:
        entries = engine.ledger.show()
        with pytest.raises(NoLaterHeader):
            engine.ledger.proof(entries[-1].entry_id, proof)
        engine.ledger.proof(entries[1].entry_id, proof)
    report = verify_file(proof, NOW_MS)
    assert report.proved[0][1]["entry"] == entries[1].entry_id
    raw = bytearray(proof.read_bytes())
    raw[-1] ^= 1
    proof.write_bytes(raw)
    assert verify_file(proof, NOW_MS).faults[0].reason == "ledger.bad_proof"


def test_a_changed_byte_in_the_database_is_named_with_feed_and_seq(anna: Person) -> None:
    with anna.open(unlocked=False) as engine:
        assert engine.ledger.verify().holds
    database = sqlite3.connect(anna.home.folder / "hanse.db")
    header = database.execute("select header from entries where seq = 3").fetchone()[0]
    changed = bytearray(header)
    changed[-40] ^= 1
    database.execute("update entries set header = ? where seq = 3", (bytes(changed),))
    database.commit()
    database.close()
    with anna.open(unlocked=False) as engine:
        report = engine.ledger.verify()
    assert not report.holds
    assert (report.faults[0].author, report.faults[0].seq) == (anna.view.device, 3)


def test_a_changed_projection_is_noticed_and_a_rebuild_mends_it(anna: Person) -> None:
    database = sqlite3.connect(anna.home.folder / "hanse.db")
    database.execute("update profiles set about = 'something else'")
    database.commit()
    database.close()
    with anna.open(unlocked=False) as engine:
        assert engine.ledger.verify().faults[0].reason == "stale_projection"
        engine.ledger.rebuild()
        assert engine.ledger.verify().holds
        assert engine.accounts.profile().about == "second"


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_named(anna: Person, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    with pytest.raises(FileUnreadable) as caught:
        verify_file(path, NOW_MS)
    assert caught.value.values["path"] == path
    with anna.open() as engine, pytest.raises(FileUnreadable):
        engine.ledger.import_file(path)


def test_files_of_another_kind_are_refused_by_their_bytes(anna: Person, tmp_path: Path) -> None:
    path = tmp_path / "letter.hanse-feed"
    path.write_text("Dear Anna")
    with pytest.raises(NotAHanseFile):
        verify_file(path, NOW_MS)
    backup = tmp_path / "b.hanse-feed"
    with anna.open() as engine:
        with pytest.raises(NotAFeedFile):
            engine.ledger.import_file(path)
        engine.backups.make(backup)
        with pytest.raises(NotAFeedFile):
            engine.ledger.import_file(backup)
        with pytest.raises(UnknownFeed):
            engine.ledger.show(author=bytes(32))
    with pytest.raises(BackupNeedsPhrase):
        verify_file(backup, NOW_MS)


def test_a_script_appends_and_verifies_through_the_same_gate(anna: Person, tmp_path: Path) -> None:
    with Ledger.open(
        anna.home.folder, config_dir=anna.home.config, passphrase=PASSPHRASE
    ) as ledger:
        before = ledger.head()
        assert before is not None
        entry = ledger.append("follow/1", {"identity": bytes(range(32)), "weight": 1})
        assert (entry.seq, entry.header.prev) == (before.seq + 1, before.entry_id)
        with pytest.raises(BadBody, match="weight"):
            ledger.append("follow/1", {"identity": bytes(32), "weight": 2})
        with pytest.raises(BadBody, match="no public kind"):
            ledger.append("private/1", {})
        entries = list(ledger.entries())
        assert entries[-1].entry_id == entry.entry_id
        proof = tmp_path / "p.hanse-proof"
        proof.write_bytes(ledger.proof(entries[0], entries[-1]))
        assert ledger.verify().holds
    assert verify_file(proof, NOW_MS).holds
