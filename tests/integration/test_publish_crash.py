"""Publishing that is killed or finds no room: it goes on where it was, and nothing is twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.model.control import Control
from hanse.core.store.drafts import DraftState
from tests.fakes.content import MIB
from tests.fakes.people import START_MS
from tests.fakes.shop import check_whole, described, plain_weights, seller, tiny_onnx

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="POSIX: fork, kill -9, RLIMIT_FSIZE"
)

ROOT = Path(__file__).parents[2]
DAY_MS = 24 * 60 * 60 * 1000
LARGE = 17 * MIB  # more than one look at how far it is
KILLS, MANY_KILLS = 1, 40

POINTS = {  # where it dies: the size of the model, and the Draft found afterwards
    "import inside": (LARGE, None),
    "stage": (0, DraftState.IMPORTED),
    "inspect": (0, DraftState.IMPORTED),
    "after prepare": (2000, DraftState.PREPARED),
    "after edit": (2000, DraftState.DRAFTED),
    "seal inside": (LARGE, DraftState.DRAFTED),
    "check": (2000, DraftState.DRAFTED),
    "after preview": (2000, DraftState.DRAFTED),
    "before commit": (2000, DraftState.DRAFTED),
    "after commit": (2000, DraftState.PUBLISHED),
}


def wish_of(person, title, file, point=""):
    return {
        "data": str(person.home.folder),
        "config": str(person.home.config),
        "title": title,
        "file": str(file),
        "point": point,
        "workers": f"{file}.workers",
    }


def titles(engine):
    return sorted(row.title for row in engine.catalogue.own())


def model_for(folder, point):
    size, _ = POINTS[point]
    name = folder / point.replace(" ", "-")
    return plain_weights(name, size) if size else tiny_onnx(name.with_suffix(".onnx"), len(point))


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """An Account in which a publishing was killed at every point, one after the other."""
    base = tmp_path_factory.mktemp("killed")
    person = seller(base)
    program = [sys.executable, "-m", "tests.fakes.publisher"]
    files = {}
    found = {}
    with subprocess.Popen(
        program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for point in POINTS:
            files[point] = model_for(base, point)
            process.stdin.write(json.dumps(wish_of(person, point, files[point], point)) + "\n")
            process.stdin.flush()
            assert int(process.stdout.readline()) == -signal.SIGKILL, point
            with person.open(unlocked=False) as engine:
                drafts = {Path(one.source).name: one for one in engine.publishing.drafts()}
                draft = drafts.get(files[point].name)
                found[point] = (
                    None if draft is None else draft.state,
                    titles(engine),
                    engine.ledger.show()[-1].seq,
                )
        process.stdin.close()
        process.wait(30)
    return person, files, found


def test_a_killed_publishing_leaves_a_draft_where_it_was_and_half_of_nothing(killed):
    _, _, found = killed
    for point, (_, expected) in POINTS.items():
        state, own, seq = found[point]
        if expected is DraftState.PUBLISHED:
            assert (state, own, seq) == (None, [point], 2 + 3)
        else:
            assert (point, state, own, seq) == (point, expected, [], 2)


def test_no_worker_outlives_the_program_that_was_killed(killed):
    _, files, _ = killed
    workers = json.loads(Path(f"{files['inspect']}.workers").read_text())
    assert workers
    _, alive = psutil.wait_procs([one for one in map(found_again, workers) if one], timeout=20)
    assert not alive


def found_again(worker):
    """Return the very process that was seen, unless it ended."""
    pid, began = worker
    try:
        process = psutil.Process(pid)
        return process if process.create_time() == began else None
    except psutil.NoSuchProcess:
        return None


def test_everything_goes_on_from_there_and_nothing_is_published_twice(killed):
    person, files, _ = killed
    with person.open() as engine:
        publishing = engine.publishing
        for point, (_, state) in POINTS.items():
            if state is DraftState.PUBLISHED:
                continue
            before = {one.draft_id for one in publishing.drafts()}
            draft = publishing.begin(files[point], Control(), preparation=None).draft_id
            if state is not None:
                assert draft in before
                assert {one.draft_id for one in publishing.drafts()} == before
            publishing.edit(draft, described(title=point))
            publishing.publish(draft, publishing.preview(draft, Control()))
        assert publishing.drafts() == ()
        assert titles(engine) == sorted(POINTS)
        for point in POINTS:
            page = engine.catalogue.search(CatalogueQuery(text=point))
            assert [row.title for row in page.rows].count(point) == 1
        assert engine.ledger.show()[-1].seq == 2 + 3 * len(POINTS)
        check_whole(engine)
        assert all(one.is_whole for one in engine.storing.heal(Control()))


def test_a_sweep_removes_what_the_killed_programs_left_lying(killed):
    person, _, _ = killed
    with person.open() as engine:
        store = person.home.folder / "store"
        assert list((store / "work").iterdir())
        with engine.context.store.reads() as reads:
            wanted = set(reads.objects.wanted())
        person.clock.advance(int(time.time() * 1000) + 2 * DAY_MS - START_MS)
        engine.storing.sweep()
        view = engine.storing.view()
        assert view.part_bytes == 0
        assert {(one.root, one.size) for one in engine.content.pieces.objects()} == wanted
        assert list((store / "work").iterdir()) == []
        assert all(one.is_whole for one in engine.storing.heal(Control()))


# --- killed whenever it pleases --------------------------------------------------------------


def kill_in_a_loop(base, kills, seed):
    person = seller(base)
    chance = random.Random(seed)
    acknowledged = set()
    for number in range(kills):
        folder = base / f"models {number}"
        wish = json.dumps(wish_of(person, f"Round {number} model", folder))
        program = [sys.executable, "-m", "tests.fakes.publisher", "--loop", wish]
        with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(chance.randint(1, 4)):
                acknowledged.add(process.stdout.readline().strip())
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.random() * 0.2)  # somewhere in the next ones
            process.kill()
            acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
        with person.open(unlocked=False) as engine:
            held = titles(engine)
            assert len(held) == len(set(held))
            assert acknowledged <= set(held)
            assert len(held) <= len(acknowledged) + number + 1
            assert engine.ledger.show()[-1].seq == 2 + 3 * len(held)
            check_whole(engine)
    assert acknowledged


def test_what_was_acknowledged_is_there_whenever_the_program_is_killed(tmp_path):
    kill_in_a_loop(tmp_path, KILLS, seed=KILLS)


@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_many_kills(tmp_path):
    kill_in_a_loop(tmp_path, MANY_KILLS, seed=MANY_KILLS)


# --- a disk that is full ---------------------------------------------------------------------

WITH_A_LIMIT = """
import json, resource, sys
from pathlib import Path
from hanse.core.errors import EnvironmentFault
from hanse.core.model.control import Control
from hanse.core.sentences import LANGUAGES, say
from tests.fakes.publisher import open_engine
from tests.fakes.shop import check_whole, described

wish = json.loads(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
wal = Path(wish["data"]) / "hanse.db-wal"
told = {}

def full(name, most, work):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        work()
    except EnvironmentFault as error:
        told[name] = [error.code, [say(error.code, error.values, one) for one in LANGUAGES]]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told[name] += [engine.ledger.show()[-1].seq, [row.title for row in engine.catalogue.own()]]

with open_engine(wish) as engine:
    publishing, file = engine.publishing, Path(wish["file"])
    full("import", 2_000_000, lambda: publishing.begin(file, Control()))
    told["drafts"] = len(publishing.drafts())
    draft = publishing.begin(file, Control()).draft_id
    publishing.edit(draft, described(title=wish["title"]))
    full("seal", 2_000_000, lambda: publishing.preview(draft, Control()))
    preview = publishing.preview(draft, Control())
    size = wal.stat().st_size
    full("sign", size + 4096, lambda: publishing.publish(draft, preview))
    done = publishing.publish(draft, publishing.preview(draft, Control()))
    told["seq"] = done.seq
    check_whole(engine)
    told["whole"] = [one.is_whole for one in engine.storing.heal(Control())]
print(json.dumps(told))
"""


def test_a_full_disk_stops_each_step_with_a_clear_error_and_lists_nothing(tmp_path):
    person = seller(tmp_path)
    file = plain_weights(tmp_path / "weights", 3 * MIB)
    ran = subprocess.run(
        [sys.executable, "-c", WITH_A_LIMIT, json.dumps(wish_of(person, "No room", file))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    for step in ("import", "seal", "sign"):
        code, sentences, seq, own = told[step]
        assert (step, code, seq, own) == (step, "store.full", 2, [])
        assert all(str(person.home.folder) in one for one in sentences)
    assert told["drafts"] == 0
    assert told["seq"] == 2 + 3
    assert told["whole"] == [True]
    with person.open(unlocked=False) as engine:
        assert titles(engine) == ["No room"]
        assert engine.publishing.drafts() == ()
