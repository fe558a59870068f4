"""The layers one by one: what each does alone, and what other systems would be told."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hanse.core.certify import foreign_main, lockdown
from hanse.core.certify.child import Child, Ending, no_sandbox
from hanse.core.certify.foreign import ForeignConverter
from hanse.core.certify.lockdown import macos, outer, windows
from hanse.core.certify.lockdown.plan import LockPlan, NoLayer
from hanse.core.model.control import Control
from hanse.core.model.running import ConvertRequest, NoSandbox, Stage, Usage, WorkerLimits

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="a layer of Linux")
unix_only = pytest.mark.skipif(sys.platform == "win32", reason="not verified on Windows")
if sys.platform == "linux":
    from hanse.core.certify.lockdown import landlock, linux, seccomp

FOLDER = Path(lockdown.__file__).parent
PLAN = LockPlan("run", None, None, memory_bytes=2**31, cpu_seconds=50)
NOTHING = Usage(cpu_ms=0, peak_rss_bytes=0, wall_ms=0)
PIECES = (*(FOLDER / f"{name}.py" for name in ("plan", "rlimits", "landlock", "linux", "macos")),)
FOREIGN = (*PIECES, FOLDER / "windows.py", Path(foreign_main.__file__))


def child_says(text, *words):
    """Run ``text`` in a process of its own and return the JSON it prints."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", text, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


# --- what is offered ------------------------------------------------------------------------------


@linux_only
def test_what_this_system_offers_is_said_without_locking_anything():
    offer = lockdown.offered()
    assert (offer.system, offer.grade) == ("linux", "full")
    assert offer.layers[-1] == "seccomp:allow/1"
    assert offer.layers[-2] == landlock.word(landlock.abi())
    assert {layer for layer, _ in offer.missing} <= {"bwrap"}
    assert "Seccomp:\t2" not in Path("/proc/self/status").read_text() or "bwrap" not in offer.layers


@linux_only
def test_a_missing_layer_is_offered_as_none_with_its_reason(monkeypatch):
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    offer = lockdown.offered()
    assert offer.grade == "none"
    assert dict(offer.missing)["landlock"]
    assert not any(layer.startswith("landlock") for layer in offer.layers)


@linux_only
def test_without_libseccomp_there_is_no_lock(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    seccomp.program.cache_clear()
    with pytest.raises(NoLayer) as missing:
        lockdown.prepare_to_lock()
    assert missing.value.layer == "seccomp"
    offer = lockdown.offered()
    assert offer.grade == "none"
    assert "seccomp" in dict(offer.missing)
    assert not any(layer.startswith("seccomp") for layer in offer.layers)


# --- Landlock alone -------------------------------------------------------------------------------

ALONE = """
import errno, json, os, signal, socket, sys
from hanse.core.certify.lockdown import landlock, linux

folder, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
target = os.getppid()
linux._control("no_new_privs", linux._PR_SET_NO_NEW_PRIVS, 1)  # without it only root may
landlock.restrict([folder + "/stage"], [folder + "/scratch"])

def said(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def tcp():
    with socket.socket() as one:
        one.connect(("127.0.0.1", port))

def listening():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))

def abstract():
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("\\0" + name)

def opened(path, flags=os.O_RDONLY):
    return lambda: os.close(os.open(folder + path, flags, 0o600))

found = {
    "read_stage": said(opened("/stage/model")),
    "write_stage": said(opened("/stage/model", os.O_RDWR)),
    "read_outside": said(opened("/secret")),
    "write_scratch": said(opened("/scratch/new", os.O_WRONLY | os.O_CREAT)),
    "rename_in_scratch": said(lambda: os.rename(folder + "/scratch/new", folder + "/scratch/b")),
    "rename_out": said(lambda: os.rename(folder + "/scratch/b", folder + "/b")),
    "pipe_in_scratch": said(lambda: os.mkfifo(folder + "/scratch/pipe")),
    "execute": said(lambda: os.execv("/bin/true", ["true"])),
    "tcp": said(tcp),
    "listening": said(listening),
    "abstract": said(abstract),
    "signal": said(lambda: os.kill(target, 0)),
}
print(json.dumps(found))
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("stage", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "stage" / "model").write_bytes(b"model")
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path


@linux_only
def test_landlock_alone_keeps_files_ports_sockets_and_signals(folder):
    import socket  # noqa: PLC0415  of one test

    name = f"hanse-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0" + name)
        abstract.listen()
        found = child_says(ALONE, folder, tcp.getsockname()[1], name)
    denied = dict.fromkeys(found, "EACCES")
    allowed = dict.fromkeys(("read_stage", "write_scratch", "rename_in_scratch"), "done")
    version = landlock.abi()
    tcp_denied = "EACCES" if version >= 4 else "done"
    scoped = "EPERM" if version >= 6 else "done"
    later = {"tcp": tcp_denied, "listening": tcp_denied, "abstract": scoped, "signal": scoped}
    assert found == denied | allowed | later | {"rename_out": found["rename_out"]}
    assert found["rename_out"] in ("EACCES", "EXDEV")
    assert (folder / "scratch" / "b").exists()


@linux_only
@pytest.mark.parametrize(
    ("version", "word"),
    [(1, "fs"), (3, "fs"), (4, "fs+tcp"), (5, "fs+tcp"), (6, "fs+tcp+scope"), (7, "fs+tcp+scope")],
)
def test_the_name_of_landlock_says_what_it_covers(version, word):
    assert landlock.word(version) == f"landlock:{version}:{word}"


@linux_only
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6])
def test_older_kernels_are_asked_for_what_they_have(folder, version):
    text = (
        "import json, sys\nfrom hanse.core.certify.lockdown import landlock, linux\n"
        "linux._control('no_new_privs', linux._PR_SET_NO_NEW_PRIVS, 1)\n"
        "landlock.abi = lambda: int(sys.argv[2])\n"
        "word = landlock.restrict([sys.argv[1] + '/stage'], [sys.argv[1] + '/scratch'])\n"
        "try:\n    open(sys.argv[1] + '/secret')\nexcept PermissionError:\n"
        "    print(json.dumps(word))\n"
    )
    if version > landlock.abi():
        pytest.skip("this kernel is older still")
    assert child_says(text, folder, version) == landlock.word(version)


# --- the program of the list ----------------------------------------------------------------------


@linux_only
@pytest.mark.parametrize("profile", ["run", "inspect", "convert"])
def test_the_program_is_whole_and_asks_for_its_own_process(profile):
    program = seccomp.program(profile)
    rows = list(struct.iter_unpack("=HBBI", program))
    assert 8 * len(rows) == len(program)
    assert len(rows) <= 4096  # what the kernel takes
    assert sum(value == linux.PID_MARK for _, _, _, value in rows) == 1
    own = linux._with_own_number(program)
    assert len(own) == len(program)
    assert struct.pack("=I", linux.PID_MARK) not in own
    assert sum(value == os.getpid() for _, _, _, value in struct.iter_unpack("=HBBI", own)) >= 1


@linux_only
def test_what_runs_models_gets_one_list_and_what_converts_another():
    assert seccomp.program("run") == seccomp.program("inspect")
    assert seccomp.program("convert") != seccomp.program("run")
    assert seccomp.word("convert") != seccomp.word("run") == "seccomp:allow/1"


@linux_only
@pytest.mark.parametrize("program", [b"", bytes(7), bytes(16)])
def test_what_is_no_program_of_ours_is_not_put_on(program):
    with pytest.raises(NoLayer) as missing:
        linux._with_own_number(program)
    assert missing.value.layer == "seccomp"


# --- processors -----------------------------------------------------------------------------------


@linux_only
def test_processors_are_chosen_from_different_cores_first(monkeypatch):
    cores = {0: "0", 1: "0", 2: "1", 3: "1"}  # two threads a core

    def read(path):
        number = int(path.split("/cpu")[-1].split("/")[0])
        return cores[number] if path.endswith("core_id") else "0"

    monkeypatch.setattr(linux, "_read", read)
    assert linux._spread([0, 1, 2, 3], 2) == [0, 2]
    assert linux._spread([0, 1, 2, 3], 3) == [0, 2, 1]
    assert sorted(linux._spread([0, 1, 2, 3], 9)) == [0, 1, 2, 3]
    monkeypatch.setattr(linux, "_read", lambda _path: "")
    assert linux._spread([4, 5, 6], 2) == [4, 5]


@linux_only
def test_priority_and_processors_are_set_with_the_lock(folder):
    text = (
        "import json, os, sys\nfrom pathlib import Path\n"
        "from hanse.core.certify import lockdown\n"
        "lockdown.prepare_to_lock()\n"
        "stage = Path(sys.argv[1])\n"
        "lockdown.lock_this_process(\n"
        "    lockdown.LockPlan('run', stage, None, 2**31, 50, nice=7, cores=1))\n"
        "print(json.dumps([len(os.sched_getaffinity(0)), Path('/proc/self/stat').read_text()]))\n"
    )
    count, text = child_says(text, folder / "stage")
    assert count == 1
    assert int(text.rpartition(")")[2].split()[16]) == min(19, os.getpriority(0, 0) + 7)  # proc(5)


# --- an interpreter the person named --------------------------------------------------------------


@pytest.mark.parametrize("path", FOREIGN, ids=lambda path: path.name)
def test_what_runs_elsewhere_is_python_3_9_and_needs_nothing(path):
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
    own = {"hanse.core.certify.lockdown", "hanse.core.certify.lockdown.plan"}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in (
            "TYPE_CHECKING",
            "sys.platform == 'win32'",
        ):
            node.body = []
    for node in ast.walk(tree):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name in own or name.partition(".")[0] in sys.stdlib_module_names


PROBE = """
import errno, os

def convert(source, target, options):
    # framework("threads_at_import")
    acts = {
        "fork": os.fork,
        "execute": lambda: os.execv("/bin/true", ["true"]),
        "signal": lambda: os.kill(os.getppid(), 0),
        "write_outside": lambda: open(str(source) + ".new", "w"),
        "read_outside": lambda: open(options["outside"]),
        "write_inside": lambda: open(target, "w").close(),
    }
    found = {}
    for name, act in acts.items():
        try:
            act()
            found[name] = "done"
        except OSError as error:
            found[name] = errno.errorcode[error.errno]
    found["thread"] = __import__("threads_at_import").NAME
    return found
"""
THREADS = """
import threading
NAME = "late"
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@linux_only
def test_another_interpreter_gets_the_whole_lock_also_when_its_packages_start_threads(folder):
    converters = folder / "converters"
    converters.mkdir()
    answering = Path(foreign_main.__file__).parents[1] / "artifacts/converters/answering.py"
    shutil.copy(answering, converters)
    (converters / "probe.py").write_text(PROBE)
    packages = folder / "packages"
    packages.mkdir()
    (packages / "threads_at_import.py").write_text(THREADS)
    limits = WorkerLimits(2**32, cpu_seconds=50, wall_seconds=50.0, write_bytes=100)
    stage = Stage(folder / "stage", folder / "scratch")
    plan = ForeignConverter(Path(sys.executable), stage, limits)._plan()
    start = (
        f"import runpy, sys; sys.path.append({str(packages)!r}); sys.argv[0] = sys.argv.pop(1);"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [foreign_main.__file__, plan, FOLDER, converters, "probe", "late"]
    asked = {"source": "model", "target": "new", "options": {"outside": str(folder / "secret")}}
    asked |= {"source": str(stage.folder / "model"), "target": str(stage.scratch / "new")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", start, *map(str, command)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    locked, *_, answer = (json.loads(one) for one in done.stdout.splitlines() if one)
    assert locked["grade"] == "full"
    assert locked["layers"][-1] == "seccomp:allow/1+convert"
    assert answer["made"] == {
        "fork": "EPERM",
        "execute": "EPERM",
        "signal": "EPERM",
        "write_outside": "EACCES",
        "read_outside": "EACCES",
        "write_inside": "done",
        "thread": "late",
    }
    started_over = subprocess.run(
        [sys.executable, "-I", "-c", start, *map(str, command[:-1])],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # Its second start is the plain program, which does not know the folder of the package.
    assert "threads_at_import" in started_over.stderr
    assert json.loads(started_over.stdout.splitlines()[0])["grade"] == "full"


@linux_only
def test_a_converter_elsewhere_without_a_layer_does_not_run(folder, monkeypatch):
    monkeypatch.setattr(seccomp, "program", lambda _profile: bytes(8))
    limits = WorkerLimits(2**32, cpu_seconds=50, wall_seconds=50.0)
    stage = Stage(folder / "stage", folder / "scratch")
    worker = ForeignConverter(Path(sys.executable), stage, limits)
    with pytest.raises(NoSandbox) as missing:
        worker.convert(ConvertRequest("normalise_onnx", "model", "new"), Control())
    assert missing.value.values["layer"] == "seccomp"
    assert worker.grade == "none"


# --- macOS, Windows, bubblewrap: what can be looked at here ---------------------------------------


@unix_only
def test_the_profile_of_macos_denies_and_names_resolved_paths(folder):
    link = folder / 'a "link"'
    link.symlink_to(folder / "stage")
    text = macos.profile(PLAN._replace(stage=link))
    assert text.startswith("(version 1)\n(deny default)\n")
    assert f'(allow file-read* (subpath "{folder / "stage"}"))' in text
    for word in ("file-write", "network", "process-exec", "process-fork", "mach-lookup"):
        assert word not in text
    assert '(subpath "/")' not in text
    assert str(folder / "scratch") not in text


@unix_only
def test_the_profile_of_macos_lets_a_conversion_write_in_one_folder(folder):
    text = macos.profile(PLAN._replace(profile="convert", scratch=folder / "scratch"))
    assert [line for line in text.splitlines() if "file-write" in line] == [
        f'(allow file-read* file-write* (subpath "{folder / "scratch"}"))'
    ]
    assert "file-map-executable" in text


@unix_only
def test_a_path_cannot_write_into_the_profile_of_macos(folder):
    odd = folder / 'x")) (allow default) ((subpath "'
    odd.mkdir()
    assert 'x\\")) (allow default) ((subpath \\""))' in macos.profile(PLAN._replace(stage=odd))
    assert macos._quoted('a"b\\c') == '"a\\"b\\\\c"'
    with pytest.raises(NoLayer):
        macos._quoted("a\nb")


@unix_only
def test_other_systems_say_that_they_are_not_verified():
    assert "unverified" in macos.LAYERS[-1]
    assert "unverified" in windows.LAYERS[-1]


def job(**changes):
    limits = windows.ExtendedLimits()
    limits.basic.flags = 0x2000 | 0x100 | 0x8 | 0x2
    limits.basic.processes = 1
    limits.basic.process_time = 50 * 10**7
    limits.process_memory = 2**31
    for name, value in changes.items():
        setattr(limits.basic if hasattr(limits.basic, name) else limits, name, value)
    return limits


def test_a_job_of_windows_must_be_as_tight_as_planned():
    windows.check_limits(job(), PLAN)
    windows.check_limits(job(process_memory=2**30), PLAN)
    for layer, changes in (
        ("job_memory", {"process_memory": 2**31 + 1}),
        ("job_memory", {"flags": 0x2000 | 0x8 | 0x2}),
        ("job_processes", {"processes": 3}),
        ("job_cpu", {"process_time": 51 * 10**7}),
        (windows.LAYER, {"flags": 0x100 | 0x8 | 0x2}),
    ):
        with pytest.raises(NoLayer) as missing:
            windows.check_limits(job(**changes), PLAN)
        assert missing.value.layer == layer


def test_a_virtual_environment_of_windows_is_two_processes(tmp_path):
    (tmp_path / "Scripts").mkdir()
    program = str(tmp_path / "Scripts" / "python.exe")
    assert windows.processes_of(program) == 1
    (tmp_path / "pyvenv.cfg").touch()
    assert windows.processes_of(program) == 2


@linux_only
def test_bubblewrap_shows_the_stage_for_reading_and_the_scratch_folder_for_writing(folder):
    stage, scratch = folder / "stage", folder / "scratch"
    words = outer.wrapped("/usr/bin/bwrap", (sys.executable, "-I"), stage, scratch)
    assert words[:7] == ("/usr/bin/bwrap", *outer._SHIELD)
    assert words[-3:] == ("--", sys.executable, "-I")
    text = " ".join(words)
    assert f"--ro-bind {stage} {stage}" in text
    assert f"--bind {scratch} {scratch}" in text
    assert f"--setenv HOME {scratch}" in text
    assert " / / " not in text
    plain = outer.wrapped("/usr/bin/bwrap", (sys.executable, "-I"), None, None)
    assert "--bind" not in plain
    assert "--ro-bind" not in plain


@linux_only
def test_without_bubblewrap_the_command_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(outer, "_program", lambda: None)
    outer.reason_against.cache_clear()
    try:
        assert lockdown.outer_command(("a", "b"), None, None) == (("a", "b"), ())
        assert ("bwrap", "not_installed") in lockdown.offered().missing
    finally:
        outer.reason_against.cache_clear()


@linux_only
def test_a_bubblewrap_that_does_not_work_here_is_not_used(monkeypatch, tmp_path):
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho no permissions to create a new namespace >&2\nexit 1\n")
    refusing.chmod(0o700)
    monkeypatch.setattr(outer, "_program", lambda: str(refusing))
    outer.reason_against.cache_clear()
    try:
        assert outer.reason_against() == "no permissions to create a new namespace"
        assert lockdown.outer_command(("a",), None, None) == (("a",), ())
    finally:
        outer.reason_against.cache_clear()


@linux_only
def test_inside_bubblewrap_a_child_locks_itself_and_is_ended_and_measured(folder):
    if reason := outer.reason_against():
        pytest.skip(f"no bubblewrap: {reason}")
    text = (
        "import sys\nfrom pathlib import Path\nfrom hanse.core.certify import lockdown\n"
        "lockdown.prepare_to_lock()\n"
        "held = bytearray(64 * 2**20)\n"
        "lockdown.lock_this_process(\n"
        "    lockdown.LockPlan('run', Path(sys.argv[1]), None, 2**31, 50))\n"
        "print('locked', flush=True)\n"
        "import ctypes\nsys.stdin.read(1)\nctypes.string_at(0)\n"
    )
    command = (sys.executable, "-I", "-c", text, str(folder / "stage"))
    for fault in (False, True):
        wrapped, layers = lockdown.outer_command(command, folder / "stage", None)
        child = Child(wrapped, None, layers)
        assert child.stdout.readline() == b"locked\n", child.errors
        child.note_memory()
        if fault:
            child.write(b"x", 5)
            assert child.stdout.read() == b""
        ending = child.end(5 if fault else 0)
        assert ending.signal_name == ("SIGSEGV" if fault else "SIGKILL")
        assert ending.usage.peak_rss_bytes > 64 * 2**20


# --- how a child ended ----------------------------------------------------------------------------


@unix_only
@pytest.mark.parametrize(
    ("number", "was_killed", "is_limit", "said"),
    [
        (signal.SIGXCPU, False, True, "processor time"),
        (signal.SIGXFSZ, False, True, "wrote more"),
        (signal.SIGKILL, False, True, "the system ended it"),
        (signal.SIGKILL, True, False, "SIGKILL"),
        (signal.SIGSYS, False, False, "system call"),
        (signal.SIGSEGV, False, False, "memory it does not have"),
        (signal.SIGTERM, False, False, "SIGTERM"),
    ],
)
def test_the_cause_of_an_end_is_said(number, was_killed, is_limit, said):
    ending = Ending(-number, NOTHING, was_killed)
    assert ending.is_limit is is_limit
    assert said in ending.said
    assert ending.said.startswith(signal.Signals(number).name)


def test_only_the_status_and_the_line_together_mean_no_sandbox():
    line = "advice\nno sandbox: landlock: switched off\n"
    found = no_sandbox(Ending(70, NOTHING), line)
    assert isinstance(found, NoSandbox)
    assert found.values == {"layer": "landlock", "reason": "switched off"}
    assert no_sandbox(Ending(1, NOTHING), line) is None
    assert no_sandbox(Ending(70, NOTHING), "advice\n") is None
    long = no_sandbox(Ending(70, NOTHING), f"no sandbox: limit_cpu: {'x' * 9000}\n")
    assert len(str(long)) < 1000


@unix_only
def test_from_kill_to_reaped_is_a_few_frames_of_a_window():
    taken = []
    for _ in range(5):
        text = "import sys; held = bytearray(2**27); print(1, flush=True); sys.stdin.read()"
        child = Child((sys.executable, "-I", "-c", text), None)
        child.stdout.readline()
        started = time.monotonic()
        child.end(0)
        taken.append(time.monotonic() - started)
    assert min(taken) < 0.1
