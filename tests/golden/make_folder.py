"""Make ``tests/golden/folders/part-01``: a small data folder that all later code must open.

Run once for each part, and never again for a part that is done: the folder is what
that part's program wrote, and the test beside it is that newer programs read it.

    python -m tests.golden.make_folder
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from hanse.core.ledger.feed_file import ClaimedHead, write_feed_file
from hanse.core.ledger.kinds import Message1
from hanse.core.model.ids import IdentityId
from tests.fakes.author import Author
from tests.fakes.people import PASSPHRASE, START_MS, Person, give

FOLDER = Path(__file__).parent / "folders" / "part-01"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def strangers() -> list[tuple[str, list]]:
    """Return what the folder also holds: a forked Feed, an unknown kind, one that waits."""
    forked = Author("forked")
    laptop = forked.device()
    laptop.append("profile/1", laptop.profile("before the fork"))
    other = laptop.fork_at(3)
    laptop.append("profile/1", laptop.profile("one"))
    other.append("profile/1", other.profile("two"))
    plain = Author("plain")
    phone = plain.device()
    phone.append("haiku/7")
    phone.append("profile/1", phone.profile("knows an unknown kind"))
    waiting = Author("waiting")
    early = waiting.device()
    return [
        ("forked", [*forked.root_entries, *laptop.entries, other.entries[-1]]),
        ("plain", [*plain.root_entries, *phone.entries]),
        ("waiting", early.entries),
    ]


def make(base: Path) -> Person:
    """Write the folder with everything this part can hold."""
    bo = Person.make(base, "bo")
    anna = Person.make(base, "anna")
    give(bo, anna, base)
    picture = base / "me.png"
    picture.write_bytes(PNG)
    with anna.open() as engine:
        engine.accounts.edit_profile(about="Finds defects in castings.", picture=picture)
        slip = engine.accounts.edit_profile(contact="a slip of the pen")
        engine.ledger.erase([slip.entry_id], "a slip")
        engine.accounts.confirm_phrase(anna.phrase)
        with engine.context.store.unit_of_work() as uow:
            reader = uow.projections.standing_of(IdentityId(bo.view.identity))
            own = uow.projections.standing_of(engine.context.identity)
            assert reader is not None
            assert own is not None
            engine.context.append_private(
                uow,
                "message/1",
                Message1(order=None, text="between us", files=()),
                [reader.box, own.box],
                [IdentityId(bo.view.identity)],
            )
            uow.commit()
        for name, entries in strangers():
            path = base / f"{name}.hanse-feed"
            last = entries[-1]
            with path.open("wb") as stream:
                heads = [ClaimedHead(last.author, last.seq, last.entry_id)]
                write_feed_file(stream, heads, entries)
            engine.ledger.import_file(path)
        engine.backups.make(base / "anna.hanse-backup")
    second, _ = anna.restore_to(base / "second", base / "anna.hanse-backup")
    with second.open() as engine:
        engine.accounts.edit_profile(web=["https://example.org/anna"])
    give(second, anna, base)
    with anna.open() as engine:
        engine.accounts.revoke(second.view.device, anna.phrase, reason="lost")
        engine.accounts.rotate(anna.phrase)
    return anna


def described(person: Person) -> dict[str, object]:
    """Say what a program must find in the folder."""
    with person.open() as engine:
        profile = engine.accounts.profile()
        report = engine.ledger.verify()
        return {
            "passphrase": PASSPHRASE,
            "phrase": person.phrase.text,
            "identity": person.view.identity.hex(),
            "device": person.view.device.hex(),
            "now_ms": START_MS,
            "about": profile.about,
            "web": list(profile.web),
            "contact": profile.contact,
            "devices": sorted(
                [view.device.hex(), view.name, view.state, view.cut_seq]
                for view in engine.accounts.devices()
            ),
            "feeds": sorted(
                [feed.author.hex(), feed.role, feed.state, feed.head_seq, feed.frozen_seq]
                for feed in engine.ledger.feeds()
            ),
            "entries": report.entries,
            "forks": report.forks,
            "waiting": report.waiting,
        }


def main() -> None:
    """Replace the folder."""
    with tempfile.TemporaryDirectory() as name:
        person = make(Path(name))
        found = described(person)
        if FOLDER.exists():
            shutil.rmtree(FOLDER)
        shutil.copytree(
            person.home.folder, FOLDER / "data", ignore=shutil.ignore_patterns("hanse.lock")
        )
    text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
    (FOLDER / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
