# ruff: noqa: SIM905  a hundred names read better as words
"""From inside a locked child: every attack is stopped, has its cause, and leaves us untouched."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the locks of other systems are not verified", allow_module_level=True)

from hanse.core.certify.child import EXIT_NO_SANDBOX, Child, last_words, no_sandbox
from hanse.core.certify.client import WorkerClient
from hanse.core.model.running import NoSandbox, Stage, WorkerFailed, WorkerLimits
from hanse.core.sentences import LANGUAGES, catalogue, say

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
if os.uname().machine != "x86_64":
    BY_LIST.remove("old_creat")  # of old architectures only
NOT_THERE = ["open_in_another_way", "new_process_by_clone3"]
REFUSED = (
    dict.fromkeys(BY_LIST, "EPERM")
    | dict.fromkeys(BY_LANDLOCK, "EACCES")
    | dict.fromkeys(NOT_THERE, "ENOSYS")
)
# A Conversion may write, but only into its scratch folder: there Landlock says no, not the list.
# What changes modes and times is answered as done, and is not.
CONVERTED = (
    REFUSED
    | dict.fromkeys(
        """
        write_new_file write_old_file append_to_old_file empty_by_opening nameless_file
        make_folder remove_file rename_file write_into_stage write_staged_file
        own_memory_for_writing
        """.split(),
        "EACCES",
    )
    | dict.fromkeys(
        """
        change_mode change_times change_mode_of_staged_file
        executable_map executable_map_of_a_file executable_later own_processors
        read_accounts
        """.split(),
        "done",
    )
)
del CONVERTED["staged_pipe_reopened_for_writing"]  # its own, and it has it
# What works without a lock: the attacks are real.
BARE = """
    tcp udp unix_abstract socketpair write_new_file write_old_file make_folder change_mode
    change_times read_secret list_home follow_link_out dots_out by_root_of_process
    by_folder_held_open by_descriptor_of_a_name write_into_stage execute_by_spawning fork
    many_forks signal signal_thread look_at_limits limits priority processors proc_environ
    proc_cmdline signal_by_owner_of_pipe own_processors executable_map executable_later
    file_in_memory
""".split()


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
        number: signal.signal(number, lambda got, _: one.received.append(got)) for number in signals
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


@pytest.mark.parametrize(("profile", "nobody"), [("run", False), ("inspect", False), ("run", True)])
def test_everything_a_model_does_not_need_is_refused(attack, profile, nobody):
    if nobody and os.geteuid() != 0:
        pytest.skip("we are an ordinary user already")
    child = attack(profile=profile, nobody=nobody)
    assert differing(child.make(*REFUSED), REFUSED) == {}
    assert child.make("read_stage") == {"read_stage": "done"}
    assert child.end().status == 0


@pytest.mark.parametrize("nobody", [False, True], ids=["as_we_are", "as_nobody"])
def test_a_conversion_may_write_into_its_scratch_folder_only(attack, place, nobody):
    if nobody and os.geteuid() != 0:
        pytest.skip("we are an ordinary user already")
    child = attack(profile="convert", nobody=nobody, write_bytes=MIB, scratch=str(place.scratch))
    assert differing(child.make(*CONVERTED), CONVERTED) == {}
    assert child.make("fill_the_scratch_folder") == {"fill_the_scratch_folder": "EFBIG"}
    assert (place.scratch / "big").stat().st_size == MIB
    assert child.end().status == 0


def test_the_attacks_are_real(place):
    """Each works on a process of no importance, from a child that is not locked."""
    text = "import signal, sys; signal.signal(signal.SIGUSR1, signal.SIG_IGN); print(1, flush=True)"
    command = (sys.executable, "-c", text + "; sys.stdin.read()")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as prey:
        prey.stdout.readline()
        child = Attacker(**place.asked(profile="none", target=prey.pid))
        try:
            assert child.locked is None
            assert differing(child.make(*BARE), dict.fromkeys(BARE, "done")) == {}
        finally:
            child.end()
            place.close()
            prey.communicate()


def test_the_layers_in_force_are_named(attack):
    locked = attack().locked
    layers, grade = locked
    assert grade == "full"
    assert {"no_new_privs", "not_dumpable", "limit_memory", "limit_cpu"} <= set(layers)
    assert layers[-1] == "seccomp:allow/1"
    assert layers[-2].startswith("landlock:")


def test_too_much_memory_is_an_error_the_child_survives(attack):
    child = attack(memory_bytes=512 * MIB)
    said = child.make("memory_bomb", "five_thousand_threads", "read_stage")
    assert said["memory_bomb"].startswith("MemoryError after ")
    assert 256 < int(said["memory_bomb"].split()[2]) < 512
    assert said["five_thousand_threads"] == "can't start new thread"
    assert said["read_stage"] == "done"
    assert child.end().usage.peak_rss_bytes < 600 * MIB


@pytest.mark.parametrize(
    ("name", "by"),
    [("segmentation_fault", "SIGSEGV"), ("call_of_another_machine", "SIGSYS")],
)
def test_what_the_system_ends_has_its_cause(attack, name, by):
    if name == "call_of_another_machine" and os.uname().machine != "x86_64":
        pytest.skip("this machine has one way to call only")
    child = attack()
    child.send(name)
    assert child.child.stdout.readline() == b""
    ending = child.end()
    assert (ending.signal_name, ending.is_limit) == (by, False)
    assert ending.said.startswith(by)


def test_a_busy_loop_ends_with_its_processor_time_whether_it_listens_or_not(attack):
    loops = {"busy_loop": "SIGXCPU", "busy_loop_that_does_not_listen": "SIGKILL"}
    children = {name: attack(cpu_seconds=1) for name in loops}
    for name, child in children.items():
        child.send(name)
    for name, child in children.items():
        assert child.child.stdout.readline() == b""
        ending = child.end()
        assert (ending.signal_name, ending.is_limit) == (loops[name], True)
        assert 1000 <= ending.usage.cpu_ms < 5000


@pytest.mark.parametrize("name", ["sleep_for_ever", "flood_of_answers"])
def test_what_goes_on_is_ended_by_us_at_once(attack, name):
    child = attack()
    child.send(name)
    if name == "flood_of_answers":
        assert child.child.stdout.read(MIB) == b"\xff" * MIB  # the rest waits in the pipe
    started = time.monotonic()
    ending = child.end(0)
    assert time.monotonic() - started < 1
    assert (ending.signal_name, ending.was_killed, ending.is_limit) == ("SIGKILL", True, False)


def test_a_flood_of_errors_ends_the_child(attack):
    child = attack()
    child.send("flood_of_errors")
    assert child.child.stdout.readline() == b""
    child.end()
    assert child.child.flooded
    assert len(child.child.errors) <= 256 * 1024


def test_the_program_says_what_a_flood_is(place):
    command = (*COMMAND[:2], "-c", "import os\nwhile True: os.write(1, b'\\xff' * 65536)")
    limits = WorkerLimits(1024 * MIB, cpu_seconds=20, wall_seconds=20.0)
    with pytest.raises(WorkerFailed) as failed:
        WorkerClient(command).start(Stage(place.stage), limits, "run")
    assert failed.value.kind == "protocol"
    place.check_unharmed()


@pytest.mark.parametrize(
    ("sabotage", "layer"),
    [
        ("no_landlock", "landlock"),
        ("landlock_rule", "landlock"),
        ("landlock_of_nothing", "landlock"),
        ("no_seccomp", "seccomp"),
        ("seccomp_program", "seccomp"),
        ("seccomp_of_nothing", "seccomp"),
        ("limit", "limit_memory"),
        ("flags", "no_new_privs"),
        ("thread", "one_thread"),
    ],
)
def test_without_a_layer_nothing_is_run(attack, sabotage, layer):
    child = attack(sabotage=sabotage)
    assert child.locked is None
    ending = child.end()
    assert ending.status == EXIT_NO_SANDBOX
    missing = no_sandbox(ending, child.child.errors)
    assert isinstance(missing, NoSandbox)
    assert missing.values["layer"] == layer
    assert missing.values["reason"]
    for language in LANGUAGES:
        sentence = say(missing.code, missing.values, language)
        assert catalogue(language)[f"word.layer.{layer}"] in sentence
        assert "not_in_force" not in sentence
