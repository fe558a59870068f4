"""What a person wants to import: bounded, without links, and opened as it was listed."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from hanse.core.artifacts import sources
from hanse.core.artifacts.manifest import ArtifactTooLarge, BadArtifactPath, TooManyFiles
from hanse.core.artifacts.sources import (
    LinkInSource,
    SourceChanged,
    SourceEmpty,
    SourceMissing,
    SpecialFile,
    check_unchanged,
    list_source,
    open_source,
)
from hanse.core.errors import FileUnreadable
from hanse.core.limits import ARTIFACT_FILE_SIZE_BYTES_MAX
from tests.fakes.content import write_files

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")


@contextmanager
def without_rights():
    """Be nobody for a while: the all-powerful user may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_is_listed_in_the_order_of_path_bytes(tmp_path):
    write_files(tmp_path, {"b/c.bin": b"12", "a.onnx": b"1", "b-d": b"123", "empty": b""})
    (tmp_path / "nothing" / "below").mkdir(parents=True)
    listed = list_source(tmp_path)
    assert [(file.path, file.size) for file in listed.files] == [
        ("a.onnx", 1),
        ("b-d", 3),
        ("b/c.bin", 2),
        ("empty", 0),
    ]
    assert (listed.size, listed.left_out) == (6, ())


def test_a_single_file_has_its_own_name_or_the_given_one(tmp_path):
    write_files(tmp_path, {"a.onnx": b"1"})
    assert [file.path for file in list_source(tmp_path / "a.onnx").files] == ["a.onnx"]
    assert [file.path for file in list_source(tmp_path / "a.onnx", "b/c").files] == ["b/c"]
    with pytest.raises(BadArtifactPath):
        list_source(tmp_path / "a.onnx", "../c")


def test_what_a_desktop_leaves_behind_is_left_out_and_named(tmp_path):
    write_files(
        tmp_path, {".DS_Store": b"x", "a/Thumbs.db": b"x", "a/desktop.ini": b"x", ".hidden": b"x"}
    )
    listed = list_source(tmp_path)
    assert [file.path for file in listed.files] == [".hidden"]
    assert listed.left_out == (".DS_Store", "a/Thumbs.db", "a/desktop.ini")


@pytest.mark.parametrize("path", ["none", "file/below", "nul\0"])
def test_what_is_not_there_is_said_to_be_missing(tmp_path, path):
    write_files(tmp_path, {"file": b"x"})
    with pytest.raises(SourceMissing):
        list_source(tmp_path / path)


@pytest.mark.parametrize("files", [{}, {"a": b""}, {"a": b"", "b/c": b"", ".DS_Store": b"x"}])
def test_a_folder_without_bytes_is_empty(tmp_path, files):
    with pytest.raises(SourceEmpty):
        list_source(write_files(tmp_path, files))


def test_a_file_without_bytes_is_empty(tmp_path):
    write_files(tmp_path, {"a": b""})
    with pytest.raises(SourceEmpty):
        list_source(tmp_path / "a")


@posix
@pytest.mark.parametrize(
    ("target", "leads"), [("../outside", "outside"), ("a", "inside"), ("none", "nowhere")]
)
@pytest.mark.parametrize("name", ["link", "deep/link"])
def test_any_link_in_a_folder_is_refused_and_says_where_it_leads(tmp_path, target, leads, name):
    write_files(tmp_path, {"outside": b"secret", "in/a": b"x", "in/deep/a": b"x"})
    link = tmp_path / "in" / name
    up = "../" if target == "../outside" and "/" in name else ""
    link.symlink_to(up + target)
    with pytest.raises(LinkInSource) as caught:
        list_source(tmp_path / "in")
    assert caught.value.values == {"path": name, "target": up + target, "leads": leads}


@posix
def test_a_linked_folder_and_a_link_with_a_desktops_name_are_links_too(tmp_path):
    write_files(tmp_path, {"in/a": b"x", "other/b": b"x"})
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "other")
    with pytest.raises(LinkInSource):
        list_source(tmp_path / "in")
    (tmp_path / "in" / "folder").rename(tmp_path / "in" / ".DS_Store")
    with pytest.raises(LinkInSource):
        list_source(tmp_path / "in")


@posix
def test_a_link_the_person_named_is_followed_and_keeps_its_name(tmp_path):
    write_files(tmp_path, {"blobs/1234": b"x"})
    (tmp_path / "model.onnx").symlink_to("blobs/1234")
    listed = list_source(tmp_path / "model.onnx")
    assert [file.path for file in listed.files] == ["model.onnx"]
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileUnreadable):
        list_source(tmp_path / "loop")


@posix
def test_pipes_sockets_and_devices_are_refused_without_waiting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        for path, kind in (("pipe", "fifo"), ("socket", "socket"), ("/dev/null", "device")):
            with pytest.raises(SpecialFile) as caught:
                list_source(Path(path))
            assert caught.value.values["kind"] == kind
        with pytest.raises(SpecialFile):
            list_source(tmp_path)


@posix
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/tmp"):
            folder.chmod(0o755)
    write_files(tmp_path, {"a/b": b"x", "c": b"x"})
    (tmp_path / "a").chmod(0)
    (tmp_path / "c").chmod(0)
    with without_rights(), pytest.raises(FileUnreadable) as caught:
        list_source(tmp_path)
    assert caught.value.values == {"path": tmp_path / "a", "detail": "Permission denied"}
    (tmp_path / "a").chmod(0o755)
    listed = list_source(tmp_path)
    with without_rights(), pytest.raises(FileUnreadable), open_source(listed, listed.files[1]):
        pass


@posix
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (b"back\\slash", "backslash"),
        (b"new\nline", "control"),
        (b"\xff\xfe", "not_text"),
        (b"dot.", "trailing"),
        (b"aux", "reserved"),
        ("u\u0308".encode(), "not_nfc"),
    ],
)
def test_a_bad_name_is_refused_by_its_rule(tmp_path, name, rule):
    place = os.fsencode(tmp_path) + b"/" + name
    try:
        Path(os.fsdecode(place)).write_bytes(b"x")
    except OSError:
        pytest.skip("the file system refuses the name itself")
    with pytest.raises(BadArtifactPath) as caught:
        list_source(tmp_path)
    assert caught.value.rule == rule


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that minds case")
def test_two_names_that_differ_in_case_are_refused(tmp_path):
    write_files(tmp_path, {"Model": b"x", "model": b"y"})
    with pytest.raises(BadArtifactPath) as caught:
        list_source(tmp_path)
    assert caught.value.rule == "twin"


def test_a_path_that_is_too_long_is_refused(tmp_path):
    write_files(tmp_path, {"/".join(["x" * 200] * 6): b"x"})
    with pytest.raises(BadArtifactPath) as caught:
        list_source(tmp_path)
    assert caught.value.rule == "too_long"


def test_too_many_files_are_refused_while_they_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "ARTIFACT_FILES_MAX", 20)
    for n in range(30):
        (tmp_path / str(n)).touch()
    with pytest.raises(TooManyFiles) as caught:
        list_source(tmp_path)
    assert caught.value.values["found"] == 21


def test_too_many_folders_are_refused_too(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "SOURCE_ENTRIES_MAX", 20)
    for n in range(21):
        (tmp_path / str(n)).mkdir()
    with pytest.raises(TooManyFiles) as caught:
        list_source(tmp_path)
    assert caught.value.values["what"] == "entries"


@posix
def test_a_file_over_the_limit_is_refused_unread(tmp_path):
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", ARTIFACT_FILE_SIZE_BYTES_MAX + 1)
    with pytest.raises(ArtifactTooLarge) as caught:
        list_source(tmp_path)
    assert caught.value.values["found_bytes"] == ARTIFACT_FILE_SIZE_BYTES_MAX + 1


@posix
@pytest.mark.parametrize("swap", ["link", "pipe", "other", "gone", "folder", "parent"])
def test_a_file_replaced_before_it_is_opened_is_never_read(tmp_path, swap):
    write_files(tmp_path, {"secret": b"12", "in/deep/a": b"12", "in/deep/b": b"34"})
    listed = list_source(tmp_path / "in")
    place = tmp_path / "in" / "deep" / "a"
    place.rename(tmp_path / "kept")
    if swap == "link":
        place.symlink_to(tmp_path / "secret")
    elif swap == "pipe":
        os.mkfifo(place)
    elif swap == "other":
        place.write_bytes(b"12")
    elif swap == "folder":
        place.mkdir()
    elif swap == "parent":
        (tmp_path / "kept").rename(place)
        (tmp_path / "in" / "deep").rename(tmp_path / "moved")
        (tmp_path / "in" / "deep").symlink_to(tmp_path / "moved")
    with pytest.raises(SourceChanged), open_source(listed, listed.files[0]):
        pass


def changed_after(tmp_path, change):
    write_files(tmp_path, {"a": b"12", "b": b"34"})
    before = list_source(tmp_path)
    change(tmp_path)
    with pytest.raises(SourceChanged) as caught:
        check_unchanged(before, list_source(tmp_path))
    return caught.value.values


def test_a_second_listing_shows_what_changed(tmp_path):
    values = changed_after(tmp_path, lambda folder: (folder / "a").write_bytes(b"123"))
    assert (values["what"], values["before"], values["after"]) == ("size", 2, 3)
    values = changed_after(tmp_path, lambda folder: os.utime(folder / "a", (1, 1)))
    assert values["what"] == "mtime"
    values = changed_after(tmp_path, lambda folder: (folder / "c").write_bytes(b"1"))
    assert (values["what"], values["before"], values["after"]) == ("files", 2, 3)
    (tmp_path / "c").unlink()
    values = changed_after(tmp_path, lambda folder: (folder / "a").unlink())
    assert (values["what"], values["path"]) == ("files", tmp_path / "a")
