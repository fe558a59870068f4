"""From inside a locked child: every attack is stopped, has its cause, and leaves us untouched."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the locks of other systems are not verified", allow_module_level=True)

from hanse.core.certify import lockdown
from hanse.core.certify.child import EXIT_NO_SANDBOX, Child, last_words, no_sandbox
from hanse.core.certify.client import WorkerClient
from hanse.core.model.control import Control
from hanse.core.model.running import NoSandbox, Stage, WorkerFailed, WorkerLimits

ATTACKER = Path(__file__).with_name("attacker.py")
COMMAND = (sys.executable, "-I", str(ATTACKER))
SECONDS_MAX = 30.0  # for what a child does in one test, on a machine that does other things too
MIB = 1024**2

# What is refused by the list of system calls, and what by Landlock.
BY_LIST = """
    tcp udp listening unix_abstract unix_named socketpair netlink
    write_new_file write_old_file append_to_old_file empty_by_opening nameless_file old_creat
    truncate make_folder make_pipe remove_file rename_file hard_link symbolic_link
    change_mode change_owner change_times set_attribute make_swap
    write_into_stage write_staged_file change_mode_of_staged_file
    staged_pipe_reopened_for_writing own_memory_for_writing change_root
    execute execute_by_spawning fork many_forks new_process_by_clone thread_in_a_namespace
    signal signal_group signal_thread signal_thread_old signal_queued descriptor_of_process
    signal_by_descriptor limits look_at_limits priority processors scheduler disk_priority group
    trace read_memory write_memory compare move_memory
    signal_by_owner_of_pipe signal_number_of_pipe own_limits_by_number dumpable_again be_traced
    own_priority_up own_processors
    executable_map executable_map_of_a_file executable_later executable_by_key
    file_in_memory secret_memory shared_memory personality
    io_uring bpf keys add_key userfaultfd perf new_namespace other_namespace mount
    new_file_system open_tree move_mount file_by_handle name_to_handle module clock host_name
    kernel_log watch_files another_filter another_ruleset no_such_call
""".split()
BY_LANDLOCK = """
    read_secret read_shadow read_accounts list_home list_root follow_link_out dots_out
    by_root_of_process by_working_folder by_folder_held_open by_descriptor_of_a_name
    proc_environ proc_mem proc_maps proc_cmdline proc_status proc_fd
""".split()
NOT_THERE = ["open_in_another_way", "new_process_by_clone3"]
REFUSED = (
    dict.fromkeys(BY_LIST, "EPERM")
    | dict.fromkeys(BY_LANDLOCK, "EACCES")
    | dict.fromkeys(NOT_THERE, "ENOSYS")
)
# A Conversion may write, but only into its scratch folder: Landlock says no instead of the list.
# What changes modes and times is answered as done, and is not.
WRITES = """
    write_new_file write_old_file append_to_old_file empty_by_opening make_folder remove_file
    write_into_stage write_staged_file own_memory_for_writing_of_others
""".split()
AS_IF = "change_mode change_times change_mode_of_staged_file".split()
ALLOWED_IN_CONVERT = "executable_map executable_map_of_a_file executable_later own_processors".split()
READ_IN_CONVERT = "read_accounts proc_cmdline proc_status".split()


class Attacker:
    """A locked child and what it said; ended with the test."""

    def __init__(self, **asked):
        self.child = Child(COMMAND, Path(asked["scratch"]) if asked["scratch"] else None)
        self._watch = threading.Timer(SECONDS_MAX, self.child.kill)
        self._watch.start()
        self.send(json.dumps(asked))
        line = self.child.stdout.readline()
        self.locked = json.loads(line) if line.strip() else None

    def send(self, line):
        self.child.write(line.encode() + b"\n", SECONDS_MAX)

    def make(self, *names):
        """Make attacks and return what came of each."""
        found = {}
        for name in names:
            self.send(name)
            line = self.child.stdout.readline()
            assert line, f"{name}: {last_words(self.end(), self.child.errors)}"
            found.update([json.loads(line)])
        return found

    def end(self, seconds=SECONDS_MAX):
        ending = self.child.end(seconds)
        self._watch.cancel()
        self._watch.join()
        return ending


class Place:
    """What there is to steal and to break, and how all of it was before."""

    def __init__(self, folder):
        self.stage, self.scratch, self.home = (
            folder / name for name in ("stage", "scratch", "home")
        )
        for one in (self.stage, self.scratch, self.home):
            one.mkdir()
        self.victim, self.secret = self.home / "victim", self.home / "secret"
        self.victim.write_bytes(b"kept")
        self.secret.write_bytes(b"secret")
        (self.stage / "model").write_bytes(bytes(4096))
        (self.stage / "link_out").symlink_to(self.secret)
        (folder / "secret").write_bytes(b"secret")
        for one in (folder, self.stage, self.home):
            one.chmod(0o755)
        self.scratch.chmod(0o777)
        self.received = []
        self.sockets = {
            "tcp": socket.create_server(("127.0.0.1", 0)),
            "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "abstract": socket.socket(socket.AF_UNIX),
            "named": socket.socket(socket.AF_UNIX),
        }
        self.port = self.sockets["tcp"].getsockname()[1]
        self.abstract = f"hanse-test-{os.getpid()}-{self.port}"
        self.sockets["udp"].bind(("127.0.0.1", self.port))
        self.sockets["abstract"].bind("\0" + self.abstract)
        self.sockets["named"].bind(os.path.relpath(self.home / "named"))
        for name in ("abstract", "named"):
            self.sockets[name].listen()
        self.before = self.look()

    def asked(self, **more):
        return {
            "profile": "run",
            "stage": str(self.stage),
            "scratch": str(self.scratch),
            "memory_bytes": 1024 * MIB,
            "cpu_seconds": 20,
            "write_bytes": 0,
            "target": os.getpid(),
            "victim": str(self.victim),
            "secret": str(self.secret),
            "port": self.port,
            "abstract": self.abstract,
            "nobody": False,
            "sabotage": "",
        } | more

    def look(self):
        limits = {
            name: resource.getrlimit(getattr(resource, name))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        }
        files = {
            str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.lstat().st_nlink)
            for folder in (self.stage, self.home)
            for path in (folder, *sorted(folder.rglob("*")))
        }
        libc = ctypes.CDLL(None)
        return {
            "limits": limits,
            "priority": os.getpriority(os.PRIO_PROCESS, 0),
            "processors": os.sched_getaffinity(0),
            "scheduler": os.sched_getscheduler(0),
            "group": os.getpgid(0),
            "disk": libc.syscall(_number("ioprio_get"), 1, os.getpid()),
            "files": files,
            "contents": (self.victim.read_bytes(), self.secret.read_bytes()),
        }

    def check_unharmed(self):
        assert self.look() == self.before
        assert self.received == []
        for name, one in self.sockets.items():
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(1) if name == "udp" else one.accept()

    def close(self):
        for one in self.sockets.values():
            one.close()


def _number(name):
    pyseccomp = pytest.importorskip("pyseccomp")
    return pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)


@pytest.fixture
def place(monkeypatch):
    folder = Path(tempfile.mkdtemp(prefix="attacks-"))  # an ordinary user must get there as well
    monkeypatch.chdir(folder)  # the name of a socket must be short
    one = Place(folder)
    signals = (signal.SIGUSR1, signal.SIGIO, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGCONT)
    kept = {
        number: signal.signal(number, lambda got, _: one.received.append(got))
        for number in signals
    }
    yield one
    for number, handler in kept.items():
        signal.signal(number, handler)
    one.close()
    shutil.rmtree(folder)


@pytest.fixture
def attack(place):
    started = []

    def start(**more):
        started.append(Attacker(**place.asked(**more)))
        return started[-1]

    yield start
    for one in started:
        one.end(0)
    place.check_unharmed()


def differing(found, expected):
    return {name: said for name, said in found.items() if said != expected[name]}


@pytest.mark.parametrize("nobody", [False, True], ids=["as_we_are", "as_nobody"])
@pytest.mark.parametrize("profile", ["run", "inspect"])
def test_everything_a_model_does_not_need_is_refused(attack, profile, nobody):
    if nobody and os.geteuid() != 0:
        pytest.skip("we are an ordinary user already")
    child = attack(profile=profile, nobody=nobody)
    assert differing(child.make(*REFUSED), REFUSED) == {}
    assert child.make("read_stage") == {"read_stage": "done"}
    assert child.end().status == 0
