from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

from hanse.core.artifacts.formats import FormatRefused
from hanse.core.certify.staging import staged
from hanse.core.errors import FileUnreadable, FolderNotWritable, StoreFull
from hanse.core.model.control import Cancelled, Control


@pytest.fixture
def held(tmp_path):
    """Two objects of a content store, named by what they hold."""
    folder = tmp_path / "store"
    folder.mkdir()
    for name in ("aa.5", "bb.5"):
        (folder / name).write_bytes(name.encode())
        (folder / name).chmod(0o444)
    return folder


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_files_get_their_names_back_and_no_other_file_is_there(held, scratch):
    files = {"m.onnx": held / "aa.5", "sub/w.data": held / "bb.5"}
    with staged(files, scratch, (), Control()) as stage:
        found = {path.relative_to(stage).as_posix() for path in stage.rglob("*")}
        assert found == {"m.onnx", "sub", "sub/w.data"}
        assert (stage / "sub/w.data").read_bytes() == b"bb.5"
        assert stat.S_IMODE(stage.stat().st_mode) == 0o500
    assert list(scratch.iterdir()) == []
    assert (held / "aa.5").read_bytes() == b"aa.5"
    assert stat.S_IMODE((held / "aa.5").stat().st_mode) == 0o444


def test_a_file_is_linked_and_a_named_one_is_copied(held, scratch):
    files = {"m.onnx": held / "aa.5", "w.data": held / "bb.5"}
    with staged(files, scratch, {"w.data"}, Control()) as stage:
        assert (stage / "m.onnx").samefile(held / "aa.5")
        assert (stage / "w.data").stat().st_nlink == 1
        assert (stage / "w.data").read_bytes() == b"bb.5"
        assert stat.S_IMODE((stage / "w.data").stat().st_mode) == 0o444


def test_a_file_of_another_disk_is_copied(held, scratch, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "another device")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with staged({"m.onnx": held / "aa.5"}, scratch, (), Control()) as stage:
        assert (stage / "m.onnx").read_bytes() == b"aa.5"
        assert (stage / "m.onnx").stat().st_nlink == 1


def test_a_copy_needs_no_help_of_the_system(held, scratch, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr("os.copy_file_range", refuse)
    with staged({"m": held / "aa.5"}, scratch, {"m"}, Control()) as stage:
        assert (stage / "m").read_bytes() == b"aa.5"


@pytest.mark.parametrize("name", ["../x", "/x", "a/../x", "a//x", "", ".", "a\\x", "a\0x"])
def test_a_name_that_leads_elsewhere_is_refused(name, held, scratch):
    with (
        pytest.raises(FormatRefused, match="path"),
        staged({name: held / "aa.5"}, scratch, (), Control()),
    ):
        pass
    assert list(scratch.iterdir()) == []


def test_a_link_is_not_followed(held, scratch):
    (held / "link").symlink_to(held / "aa.5")
    with (
        pytest.raises(FileUnreadable),
        staged({"m": held / "link"}, scratch, (), Control()),
    ):
        pass


def test_a_missing_file_leaves_nothing_behind(held, scratch):
    files = {"a": held / "aa.5", "b": held / "gone"}
    with pytest.raises(FileUnreadable), staged(files, scratch, (), Control()):
        pass
    assert list(scratch.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing_behind(held, scratch, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("hanse.core.certify.staging._copy", refuse)
    with pytest.raises(StoreFull), staged({"a": held / "aa.5"}, scratch, {"a"}, Control()):
        pass
    assert list(scratch.iterdir()) == []


def test_a_cancelled_copy_leaves_nothing_behind(held, scratch):
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled), staged({"a": held / "aa.5"}, scratch, {"a"}, control):
        pass
    assert list(scratch.iterdir()) == []


def test_a_scratch_folder_that_is_not_there_is_said(held, tmp_path):
    with (
        pytest.raises(FolderNotWritable),
        staged({"a": held / "aa.5"}, tmp_path / "nowhere", (), Control()),
    ):
        pass
