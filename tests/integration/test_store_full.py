"""A full disk during an append: a clear error, nothing acknowledged lost, and on again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hanse.core.errors import StoreFull
from hanse.core.store.engines import Store
from tests.fakes.appender import append, check_whole, feed_of, held

ROOT = Path(__file__).parents[2]
FEED = 400

WITH_A_LIMIT = """
import json, resource, sys
from pathlib import Path
from hanse.core.errors import StoreFull
from hanse.core.store.engines import Store
from tests.fakes.appender import append, check_whole, feed_of, held

author, device = feed_of(int(sys.argv[2]))
store = Store.open(Path(sys.argv[1]))
append(store, author.root_entries)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
wal = store.path.with_name(store.path.name + "-wal")
resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 150_000, hard))
acknowledged, codes = 0, []
for _ in range(2):
    try:
        for entry in device.entries[acknowledged:]:
            append(store, [entry])
            acknowledged = entry.seq
    except StoreFull as error:
        codes.append(error.code)
during = check_whole(store, device)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
append(store, device.entries[during:])
after = check_whole(store, device)
store.close()
print(json.dumps([acknowledged, codes, during, after]))
"""


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_file_that_may_not_grow_stops_the_append_and_nothing_else(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", WITH_A_LIMIT, str(tmp_path / "data"), str(FEED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    acknowledged, codes, during, after = json.loads(result.stdout)
    assert codes == ["store.full", "store.full"]
    assert 0 < acknowledged < FEED
    assert during == acknowledged
    assert after == FEED


def limit_pages(store, more):
    with store.unit_of_work() as uow:
        pages = uow._connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        uow._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}")


def test_a_full_database_keeps_what_was_acknowledged_and_goes_on_when_there_is_room(tmp_path):
    author, device = feed_of(FEED)
    with closing(Store.open(tmp_path / "data")) as store:
        append(store, [*author.root_entries, *device.entries[:10]])
        limit_pages(store, 3)
        with pytest.raises(StoreFull) as caught:
            append(store, device.entries[10:])
        assert caught.value.values["path"] == store.path
        assert check_whole(store, device) == 10
        limit_pages(store, 10**6)
        append(store, device.entries[10:])
        assert check_whole(store, device) == FEED
    with closing(Store.open(tmp_path / "data")) as store:
        assert held(store, device) == FEED


def test_hooks_of_an_append_that_found_no_room_never_run(tmp_path):
    author, device = feed_of(FEED)
    ran = []
    with closing(Store.open(tmp_path / "data")) as store:
        append(store, author.root_entries)
        limit_pages(store, 0)

        def fill() -> None:
            with store.unit_of_work() as uow:
                uow.after_commit(lambda: ran.append(True))
                for number in range(10_000):
                    uow.meta.put(f"name {number}", "value" * 100)
                uow.commit()

        with pytest.raises(StoreFull):
            fill()
        assert ran == []
        assert held(store, device) == 0
