from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import OperationalError

from hanse.core.errors import FolderNotWritable, SchemaTooNew, StoreDamaged, StoreLocked
from hanse.core.store.engines import DATABASE_FILE, Store
from hanse.core.store.migrating import known_revisions, scripts_folder
from hanse.core.store.tables import meta
from tests.fakes.author import Author
from tests.fakes.chance import SeededChance

NOBODY = 65534
AS_NOBODY = """
import os, sys
from pathlib import Path
from hanse.core.errors import HanseError
from hanse.core.store.engines import Store
from hanse.core.store.migrating import known_revisions, scripts_folder
import tempfile
with tempfile.TemporaryDirectory() as warm:  # loads what is loaded late, while it can be read
    Store.open(Path(warm)).close()
os.setegid({nobody}); os.seteuid({nobody})
try:
    assert known_revisions(scripts_folder())
except (OSError, AssertionError):
    print("unreadable")
    sys.exit()
try:
    store = Store.{opener}(Path(sys.argv[1]))
    with store.reads() as reads:
        print("opened", reads.feeds.totals()[1])
    store.close()
except HanseError as error:
    print(error.code)
"""


def as_nobody(folder, opener):
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can become a user without rights")
    program = AS_NOBODY.format(nobody=NOBODY, opener=opener)
    result = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    if result.stdout.strip() == "unreadable":
        pytest.skip("a user without rights cannot read the program itself")
    return result.stdout.strip()


def test_a_new_store_is_readable_by_its_owner_alone(tmp_path):
    Store.open(tmp_path / "a" / "data").close()
    file = tmp_path / "a" / "data" / DATABASE_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_log_beside_the_database_is_readable_by_its_owner_alone(store):
    with store.unit_of_work() as uow:
        uow.meta.put("name", "value")
        uow.commit()
    log = store.path.with_name(DATABASE_FILE + "-wal")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_what_was_committed_is_there_after_closing_and_opening(tmp_path):
    store = Store.open(tmp_path)
    with store.unit_of_work() as uow:
        uow.meta.put("name", "value")
        uow.commit()
    store.close()
    again = Store.open(tmp_path)
    with again.reads() as reads:
        assert reads.meta.get("name") == "value"
    again.close()


def test_closing_leaves_one_file_and_closing_twice_is_harmless(tmp_path):
    store = Store.open(tmp_path)
    with store.reads() as reads:
        assert reads.feeds.totals() == (0, 0)
    store.close()
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE_FILE]


def test_the_writer_syncs_every_commit_and_begins_with_the_write_lock(store):
    with store.unit_of_work() as uow:
        pragmas = {
            name: uow._connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        other = sqlite3.connect(store.path, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_readers_see_the_state_before_a_transaction_until_it_commits(store):
    with store.unit_of_work() as uow, store.reads() as before:
        assert before.meta.get("name") is None
        uow.meta.put("name", "value")
        assert before.meta.get("name") is None
        uow.commit()
        assert before.meta.get("name") is None
    with store.reads() as after:
        assert after.meta.get("name") == "value"


def test_a_reader_that_writes_is_our_bug_and_changes_nothing(store):
    with pytest.raises(OperationalError, match="readonly"), store.reads() as reads:
        reads._connection.execute(insert(meta).values(name="name", value="value"))
    with store.reads() as reads:
        assert reads.meta.get("name") is None


def test_several_readers_read_at_once(store):
    ready, found = threading.Barrier(3), []

    def read():
        with store.reads() as reads:
            ready.wait(timeout=10)
            found.append(reads.feeds.totals())

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(0, 0)] * 3


def test_the_epoch_is_sixteen_bytes_of_chance_that_stay(tmp_path):
    store = Store.open(tmp_path, chance=SeededChance(1))
    epoch = store.store_epoch
    store.close()
    again = Store.open(tmp_path, chance=SeededChance(2))
    assert again.store_epoch == epoch
    assert epoch == SeededChance(1).bytes(16)
    with again.unit_of_work() as uow:
        assert uow.meta.renew_store_epoch(SeededChance(3)) != epoch
        uow.commit()
    assert again.store_epoch == SeededChance(3).bytes(16)
    again.close()


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\1" * 200]
)
def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path, content):
    file = tmp_path / DATABASE_FILE
    file.write_bytes(content)
    for opener in (Store.open, Store.open_read_only):
        with pytest.raises(StoreDamaged) as caught:
            opener(tmp_path)
        assert caught.value.values["path"] == file
    assert file.read_bytes() == content


def test_the_database_of_another_program_is_refused_and_kept(tmp_path):
    file = tmp_path / DATABASE_FILE
    other = sqlite3.connect(file)
    other.execute("CREATE TABLE bookmarks (name TEXT)")
    other.close()
    before = file.read_bytes()
    with pytest.raises(StoreDamaged, match="another program"):
        Store.open(tmp_path)
    assert file.read_bytes() == before


def test_a_database_from_a_newer_version_is_refused_and_untouched(tmp_path):
    Store.open(tmp_path).close()
    file = tmp_path / DATABASE_FILE
    newer = sqlite3.connect(file)
    newer.execute("UPDATE alembic_version SET version_num = '9999_from_the_future'")
    newer.commit()
    newer.close()
    before = file.read_bytes()
    for opener in (Store.open, Store.open_read_only):
        with pytest.raises(SchemaTooNew) as caught:
            opener(tmp_path)
        assert caught.value.values["found"] == "9999_from_the_future"
        assert caught.value.values["known"] == known_revisions(scripts_folder())[-1]
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE_FILE]


def test_a_file_where_the_folder_should_be_is_named(tmp_path):
    place = tmp_path / "data"
    place.write_text("a file")
    with pytest.raises(FolderNotWritable) as caught:
        Store.open(place)
    assert place.name in str(caught.value.values["path"])


@pytest.fixture
def open_to_all():
    """A folder that any user may look into; pytest's own are closed to others at any time."""
    with tempfile.TemporaryDirectory(prefix="hanse-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_folder_that_cannot_be_written_is_named(open_to_all):
    folder = open_to_all / "data"
    folder.mkdir(mode=0o755)
    assert as_nobody(folder, "open") == "store.not_writable"
    assert list(folder.iterdir()) == []


def test_a_store_that_cannot_be_written_can_still_be_read(open_to_all):
    folder = open_to_all / "data"
    Store.open(folder).close()
    folder.chmod(0o755)
    (folder / DATABASE_FILE).chmod(0o644)
    assert as_nobody(folder, "open") == "store.not_writable"
    assert as_nobody(folder, "open_read_only") == "opened 0"


def test_a_folder_that_somebody_else_holds_can_be_read(store, take):
    author = Author(1)
    take(*author.root_entries)
    other = Store.open_read_only(store.path.parent)
    assert other.is_read_only
    assert other.store_epoch == store.store_epoch
    with other.reads() as reads:
        assert reads.feeds.totals() == (1, 1)
    take(*author.device().entries)
    with other.reads() as reads:
        assert reads.feeds.totals() == (2, 2)
    with pytest.raises(FolderNotWritable):
        other.unit_of_work()
    other.close()


def test_a_read_only_store_leaves_the_folder_as_it_was(tmp_path):
    Store.open(tmp_path).close()
    before = (tmp_path / DATABASE_FILE).read_bytes()
    other = Store.open_read_only(tmp_path)
    with other.reads() as reads:
        assert reads.feeds.totals() == (0, 0)
    other.close()
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE_FILE]
    assert (tmp_path / DATABASE_FILE).read_bytes() == before


def test_a_second_program_that_writes_is_named_and_does_not_hang(store, monkeypatch):
    monkeypatch.setattr("hanse.core.store.engines._BUSY_SECONDS", 0.05)
    folder = store.path.parent
    with store.unit_of_work() as uow:
        uow.meta.put("name", "value")
        with pytest.raises(StoreLocked) as caught:
            Store.open(folder)
        assert caught.value.values["path"] == store.path
        uow.commit()


def test_damaged_pages_are_named_and_not_hidden(tmp_path):
    store = Store.open(tmp_path)
    with store.unit_of_work() as uow:
        for number in range(2000):
            uow.meta.put(f"name {number}", "value" * 10)
        uow.commit()
    store.close()
    file = tmp_path / DATABASE_FILE
    raw = bytearray(file.read_bytes())
    for page in range(len(raw) // 4096 - 12, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    file.write_bytes(raw)

    def read_all():
        with closing(Store.open(tmp_path)) as again, again.reads() as reads:
            for number in range(2000):
                reads.meta.get(f"name {number}")

    with pytest.raises(StoreDamaged):
        read_all()


def test_a_copied_database_opens_alone(tmp_path, store, take):
    take(*Author(1).root_entries)
    copy = tmp_path / "copy"
    shutil.copytree(store.path.parent, copy)
    again = Store.open(copy)
    with again.reads() as reads:
        assert reads.feeds.totals() == (1, 1)
    again.close()
