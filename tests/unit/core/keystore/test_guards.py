"""Guards against a second writer: the lock, the mark, the high-water mark, the verdict."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hanse.core.errors import FileUnreadable, FolderNotWritable, StoreLocked
from hanse.core.keystore.guards import (
    LEFT_FOLDER,
    SHOWN_FOLDER,
    CopyState,
    FolderLock,
    Highwater,
    HighwaterDamaged,
    LeftMark,
    MarkState,
    ShownHeader,
    check_copy,
    check_mark,
    machine_id,
    write_mark,
)
from hanse.core.ledger.codec import encode
from hanse.core.model.ids import AuthorKey, EntryId
from tests.fakes.clock import FakeClock

SALT = b"s" * 16
HERE = b"machine:here"
DEVICE = AuthorKey(b"\xab" * 32)
A, B = EntryId(b"a" * 32), EntryId(b"b" * 32)

HOLDER = """
import sys
from pathlib import Path
from hanse.core.keystore.guards import FolderLock
with FolderLock(Path(sys.argv[1]), program="other program"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def next_descriptor():
    """The lowest free descriptor; it rises with every file left open."""
    with Path(os.devnull).open("rb") as file:
        return file.fileno()


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until it is killed or gets a line."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


# --- the lock -------------------------------------------------------------------------------


def test_lock_is_taken_and_given_back(tmp_path):
    with FolderLock(tmp_path) as lock:
        assert lock.is_held
    assert not lock.is_held
    with lock:
        assert lock.is_held


def test_second_taker_in_one_process_is_refused_and_told_who_holds_it(tmp_path):
    clock = FakeClock(1_700_000_000_000)
    with (
        FolderLock(tmp_path, program="hanse node", clock=clock),
        pytest.raises(StoreLocked) as caught,
    ):
        FolderLock(tmp_path).acquire()
    assert caught.value.values["path"] == tmp_path
    holder = str(caught.value.values["holder"])
    assert holder.startswith(f"hanse node, process {os.getpid()} on ")
    assert holder.endswith(", since 2023-11-14 22:13:20+00:00")


def test_other_thread_is_refused(tmp_path):
    refused = []

    def take():
        try:
            FolderLock(tmp_path).acquire()
        except StoreLocked:
            refused.append(True)

    with FolderLock(tmp_path):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    assert refused == [True]


def test_other_process_is_named(tmp_path, holder):
    with pytest.raises(StoreLocked) as caught:
        FolderLock(tmp_path).acquire()
    assert f"other program, process {holder.pid} on" in str(caught.value)


def test_killed_holder_leaves_no_lock(tmp_path, holder):
    holder.kill()
    holder.wait()
    with FolderLock(tmp_path) as lock:
        assert lock.is_held


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"pid": 1, "prog',
        b"\xff\xfe",
        b'{"pid": "one"}',
        b'{"pid": 1, "program": "p", "host": "h", "since_ms": 9e99}',
        bytes(100_000),
    ],
)
def test_what_the_file_says_is_never_believed(tmp_path, content):
    with FolderLock(tmp_path):
        (tmp_path / "hanse.lock").write_bytes(content)
        with pytest.raises(StoreLocked) as caught:
            FolderLock(tmp_path).acquire()
    assert caught.value.values["holder"] == "another process"


def test_file_of_a_dead_holder_does_not_lock(tmp_path):
    (tmp_path / "hanse.lock").write_bytes(b'{"pid":1,"program":"x","host":"h","since_ms":0}')
    with FolderLock(tmp_path) as lock:
        assert lock.is_held


def test_control_characters_of_a_holder_are_not_shown(tmp_path):
    with FolderLock(tmp_path, program="\x1b[2Jevil\n"), pytest.raises(StoreLocked) as caught:
        FolderLock(tmp_path).acquire()
    assert str(caught.value.values["holder"]).startswith("?[2Jevil?, process")


def test_refused_taker_leaves_no_open_file(tmp_path):
    with FolderLock(tmp_path):
        before = next_descriptor()
        for _ in range(20):
            with pytest.raises(StoreLocked):
                FolderLock(tmp_path).acquire()
        assert next_descriptor() == before


def test_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FolderNotWritable) as caught:
        FolderLock(tmp_path / "missing").acquire()
    assert caught.value.values["path"] == tmp_path / "missing" / "hanse.lock"


# --- the mark -------------------------------------------------------------------------------


def test_marked_folder_is_fine(tmp_path):
    write_mark(tmp_path, SALT)
    assert check_mark(tmp_path) is MarkState.FINE


def test_folder_without_mark_says_so(tmp_path):
    assert check_mark(tmp_path) is MarkState.ABSENT


@pytest.mark.parametrize("cut", [0, 1, 50])
def test_torn_mark_says_nothing(tmp_path, cut):
    write_mark(tmp_path, SALT)
    mark = tmp_path / "device.mark"
    mark.write_bytes(mark.read_bytes()[:cut])
    assert check_mark(tmp_path) is MarkState.ABSENT


def test_folder_renamed_on_its_disk_is_fine(tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    write_mark(old, SALT)
    assert check_mark(old.rename(tmp_path / "new")) is MarkState.FINE


def test_copied_folder_lies_at_another_place(tmp_path):
    (tmp_path / "a").mkdir()
    write_mark(tmp_path / "a", SALT)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert check_mark(tmp_path / "b") is MarkState.OTHER_PLACE
    assert check_mark(tmp_path / "a") is MarkState.FINE


def test_other_machine_is_told_from_another_place(tmp_path):
    write_mark(tmp_path, SALT, HERE)
    assert check_mark(tmp_path, HERE) is MarkState.FINE
    assert check_mark(tmp_path, b"machine:there") is MarkState.OTHER_MACHINE


def test_rewritten_mark_fits_the_new_place(tmp_path):
    (tmp_path / "a").mkdir()
    write_mark(tmp_path / "a", SALT)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    write_mark(tmp_path / "b", SALT)
    assert check_mark(tmp_path / "b") is MarkState.FINE


def test_mark_does_not_show_the_machine_id(tmp_path):
    write_mark(tmp_path, SALT, HERE)
    assert HERE not in (tmp_path / "device.mark").read_bytes()


def test_mark_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "device.mark").mkdir()
    with pytest.raises(FileUnreadable):
        check_mark(tmp_path)


# --- the machine ----------------------------------------------------------------------------


def test_machine_id_stays_the_same():
    assert machine_id() == machine_id()
    assert machine_id()


def test_machine_id_comes_from_the_first_file_that_has_one(tmp_path):
    empty, fine = tmp_path / "empty", tmp_path / "fine"
    empty.write_bytes(b"uninitialized\n")
    fine.write_bytes(b"0123456789ABCDEF0123456789abcdef\n")
    files = (tmp_path / "missing", empty, fine)
    assert machine_id(files) == b"machine:0123456789abcdef0123456789abcdef"


def test_machine_without_id_is_known_by_its_name(tmp_path):
    assert machine_id((tmp_path / "missing",)).startswith(b"host:")
    assert machine_id(()) == machine_id((tmp_path / "missing",))


# --- the high-water mark --------------------------------------------------------------------


def test_nothing_sent_is_nothing_read(tmp_path):
    assert Highwater(tmp_path, DEVICE).read() is None


def test_last_written_is_read(tmp_path):
    highwater = Highwater(tmp_path / "config", DEVICE)
    highwater.write(1, A)
    highwater.write(2, B)
    assert Highwater(tmp_path / "config", DEVICE).read() == (2, B)
    files = list((tmp_path / "config" / "highwater").iterdir())
    assert [file.name for file in files] == [DEVICE.hex()]


def test_devices_do_not_share_a_mark(tmp_path):
    Highwater(tmp_path, DEVICE).write(1, A)
    assert Highwater(tmp_path, AuthorKey(bytes(32))).read() is None


def test_every_changed_byte_of_the_high_water_mark_is_found(tmp_path):
    highwater = Highwater(tmp_path, DEVICE)
    highwater.write(7, A)
    file = tmp_path / "highwater" / DEVICE.hex()
    raw = file.read_bytes()
    for place in range(len(raw)):
        file.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        with pytest.raises(HighwaterDamaged):
            highwater.read()


def test_mark_of_another_device_under_this_name_is_found(tmp_path):
    Highwater(tmp_path, AuthorKey(bytes(32))).write(1, A)
    folder = tmp_path / "highwater"
    (folder / bytes(32).hex()).rename(folder / DEVICE.hex())
    with pytest.raises(HighwaterDamaged):
        Highwater(tmp_path, DEVICE).read()


def test_check_of_the_mark_covers_all_its_values(tmp_path):
    folder = tmp_path / "highwater"
    folder.mkdir()
    check = hashlib.sha256(encode([DEVICE, 3, A])).digest()
    (folder / DEVICE.hex()).write_bytes(encode([DEVICE, 3, A, check]))
    assert Highwater(tmp_path, DEVICE).read() == (3, A)


def test_folder_that_cannot_take_the_mark_is_named(tmp_path):
    (tmp_path / "config").write_bytes(b"a file")
    with pytest.raises(FolderNotWritable):
        Highwater(tmp_path / "config", DEVICE).write(1, A)


# --- the verdict ----------------------------------------------------------------------------

FINE, ABSENT = MarkState.FINE, MarkState.ABSENT
PLACE, MACHINE = MarkState.OTHER_PLACE, MarkState.OTHER_MACHINE


@pytest.mark.parametrize(
    ("mark", "highwater", "head", "expected"),
    [
        (FINE, (5, A), (5, A), CopyState.FINE),
        (FINE, None, None, CopyState.FINE),
        (FINE, (4, B), (5, A), CopyState.FINE),  # killed between COMMIT and high-water mark
        (FINE, None, (5, A), CopyState.FINE),  # configuration folder lost
        (FINE, (6, B), (5, A), CopyState.STALE),
        (FINE, (5, B), (5, A), CopyState.STALE),
        (FINE, (1, A), None, CopyState.STALE),
        (PLACE, (5, A), (5, A), CopyState.MOVED),
        (PLACE, None, None, CopyState.MOVED),
        (PLACE, (4, B), (5, A), CopyState.COPY),
        (PLACE, None, (5, A), CopyState.COPY),
        (PLACE, (6, B), (5, A), CopyState.STALE),
        (ABSENT, (5, A), (5, A), CopyState.MOVED),
        (ABSENT, None, (5, A), CopyState.COPY),
        (ABSENT, None, None, CopyState.MOVED),
        (MACHINE, (5, A), (5, A), CopyState.COPY),
        (MACHINE, None, None, CopyState.COPY),
        (MACHINE, (6, B), (5, A), CopyState.COPY),
    ],
)
def test_verdict_follows_the_table(mark, highwater, head, expected):
    assert check_copy(mark, highwater, head) is expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (None, CopyState.FINE),
        ((4, B), CopyState.FINE),
        ((5, A), CopyState.FINE),
        ((5, B), CopyState.STALE),
        ((6, A), CopyState.STALE),
    ],
)
def test_header_a_peer_shows_can_prove_us_stale(shown, expected):
    assert check_copy(FINE, (5, A), (5, A), shown) is expected


def test_only_fine_and_moved_folders_may_sign():
    assert {state for state in CopyState if state.may_sign} == {CopyState.FINE, CopyState.MOVED}


def test_copy_that_wrote_on_stops_the_original(tmp_path):
    config = tmp_path / "config"
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    write_mark(original, SALT)
    Highwater(config, DEVICE).write(5, A)
    shutil.copytree(original, copy)

    assert check_copy(check_mark(copy), Highwater(config, DEVICE).read(), (5, A)) is (
        CopyState.MOVED
    )
    write_mark(copy, SALT)
    Highwater(config, DEVICE).write(6, B)
    verdict = check_copy(check_mark(original), Highwater(config, DEVICE).read(), (5, A))
    assert verdict is CopyState.STALE


# --- what left, and what was shown ---------------------------------------------------------------


def test_what_left_to_a_peer_is_noted_apart_from_the_high_water_mark(tmp_path):
    left, high = LeftMark(tmp_path, DEVICE), Highwater(tmp_path, DEVICE)
    assert left.read() is None
    high.write(7, A)
    assert left.read() is None
    left.write(5, A)
    assert (left.read(), high.read()) == ((5, A), (7, A))


def test_a_mark_of_another_device_or_with_a_flipped_bit_is_damaged(tmp_path):
    left = LeftMark(tmp_path, DEVICE)
    left.write(5, A)
    (path,) = (tmp_path / LEFT_FOLDER).iterdir()
    raw = bytearray(path.read_bytes())
    raw[40] ^= 1
    path.write_bytes(raw)
    with pytest.raises(HighwaterDamaged):
        left.read()


def test_the_first_header_that_was_shown_is_kept(tmp_path):
    shown = ShownHeader(tmp_path, DEVICE)
    assert shown.read() is None
    shown.write(b"header", b"sig")
    shown.write(b"another", b"sig")
    assert shown.read() == (b"header", b"sig")


def test_what_was_shown_and_cannot_be_read_is_not_taken_for_nothing(tmp_path):
    shown = ShownHeader(tmp_path, DEVICE)
    shown.write(b"header", b"sig")
    (path,) = (tmp_path / SHOWN_FOLDER).iterdir()
    path.write_bytes(b"")
    with pytest.raises(HighwaterDamaged):
        shown.read()
