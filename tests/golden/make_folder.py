"""Make ``tests/golden/folders/part-NN``: small data folders that all later code must open.

Run once for each part, and never again for a part that is done: the folder is what
that part's program wrote, and the test beside it is that newer programs read it.

    python -m tests.golden.make_folder part-03
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hanse.core.ledger.feed_file import ClaimedHead, write_feed_file
from hanse.core.ledger.kinds import Message1, Release1
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.market.currencies import plain_amount
from hanse.core.model.control import Control
from hanse.core.model.ids import IdentityId
from tests.fakes.author import Author
from tests.fakes.people import PASSPHRASE, Person, give
from tests.fakes.shop import (
    AS_IS,
    body_of,
    described,
    free_tiers,
    open_by_salt,
    plain_weights,
    publish,
    seller,
    tiny_onnx,
)
from tests.golden.certified_folder import certifying, stated_certification

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.engine.engine import Engine
    from hanse.core.store.listings import ListingRow

FOLDERS = Path(__file__).parent / "folders"
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


def foundation(base: Path) -> Person:
    """Write the folder of part 1: Accounts, Devices, strangers' Feeds."""
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


def publishing(base: Path) -> Person:
    """Write the folder of part 2: Listings, a Draft, a saved search, whom one follows."""
    bo, anna = seller(base, "bo"), seller(base, "anna")
    with bo.open() as engine:
        publish(engine, plain_weights(base / "bo's"), title="Image model of Bo", price="5")
    give(bo, anna, base)
    model = tiny_onnx(base / "model.onnx")
    with anna.open() as engine:
        sealed = publish(
            engine, model, preparation=AS_IS, title="图像识别模型", text="用于图像识别的AI模型",
            lang="zh-CN", task="image-classification", sectors=("retail",), tags=("图像",),
        )  # fmt: skip
        clear = publish(
            engine, plain_weights(base / "gift"), title="A gift", price="0", tiers=free_tiers()
        )
        gone = publish(engine, plain_weights(base / "gone"), title="Once upon a time", price="1")
        offering = engine.offering
        amended = offering.amend(
            sealed.listing,
            lambda draft: msgspec.structs.replace(draft, price="120", summary="识别图像。"),
        )
        offering.sign(amended)
        anna.clock.advance(1000)
        publish(engine, plain_weights(base / "second"), listing=clear.listing, notes="Better.")
        offering.sign(offering.set_state(gone.listing, "withdrawn", clear.listing))
        until_ms = anna.clock.now_ms() + 400 * 24 * 60 * 60 * 1000
        offering.sign(offering.renew([sealed.listing], until_ms))
        kept = engine.publishing.begin(plain_weights(base / "draft"), Control()).draft_id
        engine.publishing.edit(kept, described(title="Not yet", price="1,5"))
        engine.catalogue.save("images", CatalogueQuery(text="image"))
        engine.catalogue.save("retail", CatalogueQuery(sectors=("retail",), sort="newest"))
        engine.catalogue.follow(IdentityId(bo.view.identity), 3)
        engine.storing.set_quota(10**9)
    with bo.open() as engine:
        publish(engine, plain_weights(base / "bo's next"), title="图像分割 by Bo", price="7")
    give(bo, anna, base)
    return anna


PARTS: dict[str, Callable[[Path], Person]] = {
    "part-01": foundation,
    "part-02": publishing,
    "part-03": certifying,
}
WITH_A_MARKET = frozenset(PARTS) - {"part-01"}
WITH_CERTIFICATES = WITH_A_MARKET - {"part-02"}


def stated(person: Person, part: str) -> dict[str, object]:
    """Say what a program must find in the folder of a part."""
    with person.open() as engine:
        known = {
            "passphrase": PASSPHRASE,
            "phrase": person.phrase.text,
            "identity": person.view.identity.hex(),
            "device": person.view.device.hex(),
            "now_ms": person.clock.now_ms(),
            **stated_ledger(engine),
        }
        if part in WITH_A_MARKET:
            known["market"] = stated_market(engine)
        if part in WITH_CERTIFICATES:
            known["certification"] = stated_certification(engine)
        return known


def stated_ledger(engine: Engine) -> dict[str, object]:
    """Say what the Account and its Ledger hold."""
    profile, report = engine.accounts.profile(), engine.ledger.verify()
    assert report.holds
    return {
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


def stated_market(engine: Engine) -> dict[str, object]:
    """Say what is offered, found, kept and held."""
    catalogue = engine.catalogue

    def titles(**values: object) -> list[str]:
        page = catalogue.search(CatalogueQuery(**values))
        return sorted(row.title for row in page.rows)

    with tempfile.TemporaryDirectory() as folder:
        opened = {
            row.title: opened_files(engine, row, Path(folder) / row.title)
            for row in catalogue.own()
        }
    return {
        "own": sorted(stated_listing(engine, row.listing) for row in catalogue.own()),
        "found": {text: titles(text=text) for text in ("图像", "image", "gift", "upon")},
        "all": titles(with_paused=True, with_expired=True),
        "of the followed": titles(followed_by=engine.context.identity),
        "retail": titles(sectors=("retail",)),
        "followed": [[one.identity.hex(), weight] for one, weight in catalogue.followed()],
        "saved": [
            [one.name, one.query.text, list(one.query.sectors), one.query.sort, one.new]
            for one in catalogue.saved()
        ],
        "drafts": [
            [one.draft_id.hex(), one.state.name, one.draft.title, one.draft.price]
            for one in engine.publishing.drafts()
        ],
        "opened": opened,
        "held bytes": engine.storing.view().by_whose,
        "quota": engine.storing.quota(),
        "whole": all(one.is_whole for one in engine.storing.heal(Control())),
    }


def stated_listing(engine: Engine, listing: bytes) -> list[object]:
    """Say one own Listing in plain values, its id first."""
    view = engine.catalogue.show(listing)
    successor = None if view.successor is None else view.successor.hex()
    return [
        listing.hex(),
        view.row.title,
        view.row.state,
        [one.version for one in view.row.releases],
        f"{plain_amount(view.price.amount)} {view.price.amount.currency}",
        view.row.valid_until_ms,
        [one.terms.spdx for one in view.tiers],
        successor,
        view.release.card.hex(),
        view.card is not None,
    ]


def opened_files(engine: Engine, row: ListingRow, folder: Path) -> dict[str, str]:
    """Hash every file of the newest Release, opened by the key its salt gives."""
    release = row.newest_release
    assert release is not None
    body = body_of(engine, release.release)
    assert isinstance(body, Release1)
    if body.seal is None:
        files = engine.content.files(engine.content.manifest(body.artifact))
    else:
        out = open_by_salt(engine, body, folder)
        files = {path.name: path for path in out.rglob("*") if path.is_file()}
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}


def main() -> None:
    """Write the folder of one part, anew."""
    (part,) = sys.argv[1:]
    folder = FOLDERS / part
    with tempfile.TemporaryDirectory() as name:
        person = PARTS[part](Path(name))
        found = stated(person, part)
        if folder.exists():
            shutil.rmtree(folder)
        shutil.copytree(
            person.home.folder, folder / "data", ignore=shutil.ignore_patterns("hanse.lock")
        )
    text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
