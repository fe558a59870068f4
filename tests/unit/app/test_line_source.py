"""Lines of standard input: as they come, what is there at once, none beyond its limit."""

from __future__ import annotations

import os
import threading

import pytest

from hanse.app import line_source
from hanse.app.line_source import DescriptorLines
from hanse.core.errors import FileUnreadable
from hanse.core.model.control import Cancelled, Control


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            assert end == ends[1]  # the test closed it


def test_all_that_is_there_is_taken_at_once_and_a_half_line_waits(pipe):
    read, write = pipe
    lines = DescriptorLines(read)
    os.write(write, b"a\nb\nc\nhal")
    assert lines.take(2, Control()) == [b"a", b"b"]
    assert lines.take(5, Control()) == [b"c"]
    os.write(write, b"f\n")
    assert lines.take(5, Control()) == [b"half"]
    os.write(write, b"last")
    os.close(write)
    assert lines.take(5, Control()) == [b"last"]
    assert lines.take(5, Control()) == []


def test_a_line_is_handed_on_while_the_pipe_stays_open(pipe):
    read, write = pipe
    timer = threading.Timer(0.05, os.write, (write, b"late\n"))
    timer.start()
    assert DescriptorLines(read).take(5, Control()) == [b"late"]
    timer.join()


def test_a_line_beyond_its_limit_is_cut_and_its_rest_passed_over(pipe, monkeypatch):
    monkeypatch.setattr(line_source, "RUN_LINE_SIZE_BYTES_MAX", 8)
    read, write = pipe
    os.write(write, b"0123456789abc")
    lines = DescriptorLines(read)
    assert lines.take(5, Control()) == [b"012345678"]
    os.write(write, b"more of it\nnext\n0123456789\n")
    assert lines.take(5, Control()) == [b"next", b"012345678"]


def test_waiting_ends_when_it_is_cancelled(pipe):
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled):
        DescriptorLines(pipe[0]).take(1, control)


def test_a_closed_descriptor_is_told(pipe):
    read, _ = pipe
    with pytest.raises(FileUnreadable):
        DescriptorLines(os.open(".", os.O_RDONLY)).take(1, Control())
    assert read >= 0
