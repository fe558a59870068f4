from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from hanse.core.artifacts.quota import Whose
from hanse.core.engine.syncing import accept_batch
from hanse.core.errors import StoreFull
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.model.trial import TrialState
from hanse.core.store import migrating
from hanse.core.store.drafts import DraftRow, DraftState
from hanse.core.store.engines import DATABASE_FILE, Store
from hanse.core.store.jobs import NewJob
from hanse.core.store.objects import ManifestRow, ObjectUse, Part
from hanse.core.store.searches import SavedSearch
from hanse.core.store.tables import metadata
from hanse.core.store.trials import TrialRow
from tests.fakes.author import Author
from tests.golden.make_folder import FOLDERS

STEP = """
from alembic import op
import sqlalchemy as sa

revision = "{name}"
down_revision = "{before}"

def upgrade():
    op.create_table("added", sa.Column("name", sa.Text, primary_key=True))
    op.execute("INSERT INTO added VALUES ('kept')")
    op.execute("UPDATE meta SET value = 'changed' WHERE name = 'name'")
    {last}
"""


NEWEST = migrating.known_revisions(migrating.scripts_folder())[-1]
ONE_FURTHER = "9999_step"


@pytest.fixture
def scripts(tmp_path):
    """Write migration steps that go one further than the program's own."""
    folder = tmp_path / "scripts with 100% spaces"
    shutil.copytree(migrating.scripts_folder(), folder)

    def add(last="pass"):
        step = STEP.format(name=ONE_FURTHER, before=NEWEST, last=last)
        (folder / "versions" / f"{ONE_FURTHER}.py").write_text(step)
        return folder

    return add


@pytest.fixture
def folder(tmp_path):
    """A folder with an older store in it."""
    folder = tmp_path / "data"
    store = Store.open(folder)
    with store.unit_of_work() as uow:
        uow.meta.put("name", "as it was")
        uow.commit()
    store.close()
    return folder


def schema(path):
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
    # A column that is added later stands on the line of the one before it.
    return [(name, " ".join(sql.split())) for name, sql in rows]


def test_the_steps_lead_to_the_tables_the_code_knows(store):
    def is_ours(name, kind, _parents):
        return kind != "table" or not name.startswith("catalogue_fts")  # FTS5 keeps these

    with store.unit_of_work() as uow:
        context = MigrationContext.configure(uow._connection, opts={"include_name": is_ours})
        assert compare_metadata(context, metadata) == []


def test_a_new_database_has_the_very_statements_that_all_steps_lead_to(store, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'stepped.db'}")
    with engine.begin() as connection:
        migrating.run_steps(connection, migrating.scripts_folder())
    engine.dispose()
    assert schema(store.path) == schema(tmp_path / "stepped.db")


def test_revisions_are_the_names_of_the_steps_in_order():
    known = migrating.known_revisions(migrating.scripts_folder())
    assert known[0] == "0001_foundation"
    assert list(known) == sorted(known)


def test_an_existing_database_is_copied_before_it_changes(folder, scripts):
    store = Store.open(folder, scripts=scripts())
    with store.reads() as reads:
        assert reads.meta.get("name") == "changed"
    store.close()
    copy = folder / f"hanse-before-{NEWEST}.db"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE name = 'name'").fetchone() == (
            "as it was",
        )
    assert migrating.read_revision(copy) == NEWEST
    assert migrating.read_revision(folder / DATABASE_FILE) == ONE_FURTHER


def test_a_new_database_is_not_copied(tmp_path, scripts):
    Store.open(tmp_path / "new", scripts=scripts()).close()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [DATABASE_FILE]


def test_a_step_that_fails_leaves_schema_and_rows_as_they_were(folder, scripts):
    file = folder / DATABASE_FILE
    before = schema(file)
    failing = scripts("raise RuntimeError('half way')")
    with pytest.raises(RuntimeError, match="half way"):
        Store.open(folder, scripts=failing)
    assert schema(file) == before
    assert migrating.read_revision(file) == NEWEST
    store = Store.open(folder)
    with store.reads() as reads:
        assert reads.meta.get("name") == "as it was"
    store.close()


def test_a_step_that_failed_can_be_tried_again(folder, scripts):
    with pytest.raises(RuntimeError):
        Store.open(folder, scripts=scripts("raise RuntimeError('half way')"))
    store = Store.open(folder, scripts=scripts())
    with store.unit_of_work() as uow:
        assert uow._connection.execute(text("SELECT name FROM added")).scalars().all() == ["kept"]
    store.close()


def test_a_first_step_that_fails_leaves_an_empty_database(tmp_path, scripts):
    failing = scripts("raise RuntimeError('half way')")
    with pytest.raises(RuntimeError):
        Store.open(tmp_path / "new", scripts=failing)
    assert schema(tmp_path / "new" / DATABASE_FILE) == []
    Store.open(tmp_path / "new").close()


def test_an_older_schema_is_not_opened_for_reading_only(folder, scripts, monkeypatch):
    monkeypatch.setattr(migrating, "scripts_folder", scripts)
    with pytest.raises(migrating.StoreDamaged, match="must be migrated"):
        Store.open_read_only(folder)


def test_without_room_for_the_copy_nothing_is_migrated(folder, scripts, monkeypatch):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    before = (folder / DATABASE_FILE).read_bytes()
    with pytest.raises(StoreFull):
        Store.open(folder, scripts=scripts())
    monkeypatch.undo()
    assert (folder / DATABASE_FILE).read_bytes() == before


def test_what_is_this_folders_own_survives_a_migration_and_a_rebuild(folder, scripts):
    draft = DraftRow(bytes(16), DraftState.TESTED, b"data", 1, 2)
    use = ObjectUse(bytes(32), 7, bytes(32), Part.CIPHER, Whose.OWN, None, 3)
    manifest = ManifestRow(bytes(32), 1, sealed=bytes([1]) * 32)
    search = SavedSearch("mine", "{}", 1, 4)
    trial = TrialRow(
        trial=EntryId(bytes(32)),
        role="buyer",
        way="sealed",
        state=TrialState.REQUESTED,
        counterparty=IdentityId(bytes(32)),
        listing=EntryId(bytes(32)),
        release=EntryId(bytes(32)),
        artifact=bytes(32),
        buyer=AuthorKey(bytes(32)),
        request=b"asked",
        created_ms=1,
        updated_ms=1,
        last_seen_ms=1,
    )
    store = Store.open(folder)
    with store.unit_of_work() as uow:
        job = uow.jobs.queue(NewJob("certify", "key", b"asked"), 1)
        uow.trials.add(trial)
        uow.drafts.put(draft)
        uow.objects.want([use], 1)
        uow.objects.put_manifest(manifest)
        uow.saved_searches.put(search)
        uow.commit()
    store.close()
    again = Store.open(folder, scripts=scripts())
    again.rebuild_projections()
    with again.reads() as reads:
        assert reads.drafts.page() == [draft]
        assert reads.objects.of_artifact(bytes(32)) == [use]
        assert list(reads.objects.all_manifests()) == [manifest]
        assert reads.saved_searches.all() == [search]
        assert reads.jobs.page() == [job]
        assert reads.trials.page("buyer") == [trial]
    again.close()


def test_listings_keep_their_numbers_when_the_catalogue_grows_wider(tmp_path):
    path = tmp_path / "data" / DATABASE_FILE
    shutil.copytree(FOLDERS / "part-02" / "data", path.parent)

    def numbered():
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT n, listing, title FROM catalogue ORDER BY n")
            last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'catalogue'")
            return rows.fetchall(), last.fetchall()

    with closing(sqlite3.connect(path)) as connection, connection:
        # As if Listings had been there since that are there no more.
        connection.execute("UPDATE sqlite_sequence SET seq = seq + 5 WHERE name = 'catalogue'")
    before = numbered()
    assert before[0]
    Store.open(path.parent).close()
    assert numbered() == before


def test_the_ledger_survives_a_migration(tmp_path, scripts):
    author = Author(1)
    store = Store.open(tmp_path / "data")
    with store.unit_of_work() as uow:
        accept_batch(uow, author.root_entries, 2 * 10**12)
        uow.commit()
        digest = uow.projections.digest()
    store.close()
    again = Store.open(tmp_path / "data", scripts=scripts())
    with again.reads() as reads:
        assert reads.projections.digest() == digest
        assert list(reads.rehash()) == []
    again.close()
