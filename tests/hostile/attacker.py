# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH123, PTH208, PTH211
"""A child that was taken over: ``python -I attacker.py``, in the place of a Worker.

It locks itself as a Worker does, then makes the attacks it is asked for.  It stands for native
code of a runtime that a model file made do what it likes, so it calls the kernel by number.

One JSON object comes first: ``profile`` ("none" for no lock), ``stage``, ``scratch``,
``memory_bytes``, ``cpu_seconds``, ``write_bytes``, ``target`` (a process to attack), ``victim``
and ``secret`` (files outside), ``port`` and ``abstract`` (sockets), ``nobody`` (drop root first),
``sabotage`` (a part to take out of the lock).  Then one name of an attack a line; the answer is
``[name, what happened]``, where that is ``done``, the name of an error, or words.
"""

from __future__ import annotations

import codecs
import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path

import pyseccomp

from hanse.core.certify import lockdown
from hanse.core.certify.lockdown import landlock, linux, rlimits

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
ATTACKS: dict = {}
CLONE_THREAD, CLONE_NEWNS = 0x10000, 0x20000
AT_FDCWD = -100
X32 = 0x40000000
asked: dict = {}


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def call(name: str, *arguments: object) -> int:
    """Make a system call by its number, whatever the C library thinks of it."""
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    if number < 0:
        number = {"memfd_secret": 447, "fchmodat2": 452, "process_madvise": 440}[name]
    return numbered(number, *arguments)


def numbered(number: int, *arguments: object) -> int:
    ctypes.set_errno(0)
    wide = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    done = libc.syscall(ctypes.c_long(number), *wide)
    if done < 0:
        raise OSError(ctypes.get_errno(), name_of(ctypes.get_errno()))
    return done


def name_of(number: int) -> str:
    return errno.errorcode.get(number, str(number))


def simple(name: str, call_name: str, *arguments: object) -> None:
    ATTACKS[name] = lambda: call(call_name, *arguments)


# --- network --------------------------------------------------------------------------------------


@attack
def tcp():
    with socket.socket() as one:
        one.connect(("127.0.0.1", asked["port"]))
        one.sendall(b"stolen")


@attack
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"stolen", ("127.0.0.1", asked["port"]))


@attack
def listening():
    with socket.socket(socket.AF_INET6) as one:
        one.bind(("::1", 0))


@attack
def unix_abstract():
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("\0" + asked["abstract"])


@attack
def unix_named():
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(Path(asked["victim"]).with_name("named")))


simple("socketpair", "socketpair", 1, 1, 0, ctypes.create_string_buffer(8))
simple("netlink", "socket", 16, 3, 0)


# --- files ----------------------------------------------------------------------------------------


def opened(path: object, flags: int) -> None:
    os.close(os.open(str(path), flags, 0o600))


def beside(name: str) -> Path:
    return Path(asked["victim"]).with_name(name)


@attack
def write_new_file():
    opened(beside("planted"), os.O_WRONLY | os.O_CREAT)


@attack
def write_old_file():
    opened(asked["victim"], os.O_RDWR)


@attack
def append_to_old_file():
    opened(asked["victim"], os.O_WRONLY | os.O_APPEND)


@attack
def empty_by_opening():
    opened(asked["victim"], os.O_RDONLY | os.O_TRUNC)


@attack
def nameless_file():
    opened(Path(asked["victim"]).parent, os.O_WRONLY | os.O_TMPFILE)


@attack
def old_creat():
    call("creat", asked["victim"].encode(), 0o600)


@attack
def open_in_another_way():
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, 0)
    call("openat2", AT_FDCWD, asked["secret"].encode(), how, ctypes.sizeof(how))


@attack
def truncate():
    call("truncate", asked["victim"].encode(), 0)


@attack
def make_folder():
    os.mkdir(beside("planted_folder"))


@attack
def make_pipe():
    os.mkfifo(beside("planted_pipe"))


@attack
def remove_file():
    os.unlink(asked["victim"])


@attack
def rename_file():
    os.rename(asked["victim"], beside("planted"))


@attack
def hard_link():
    os.link(asked["secret"], beside("planted"))


@attack
def symbolic_link():
    os.symlink(asked["secret"], beside("planted"))


@attack
def change_mode():
    os.chmod(asked["victim"], 0o777)


@attack
def change_owner():
    os.chown(asked["victim"], 65534, 65534)


@attack
def change_times():
    os.utime(asked["victim"], (1, 1))


@attack
def set_attribute():
    os.setxattr(asked["victim"], "user.planted", b"x")


@attack
def read_secret():
    opened(asked["secret"], os.O_RDONLY)


@attack
def read_shadow():
    opened("/etc/shadow", os.O_RDONLY)


@attack
def read_accounts():
    opened("/etc/passwd", os.O_RDONLY)


@attack
def list_home():
    os.listdir(Path(asked["secret"]).parent)


@attack
def list_root():
    os.listdir("/")


@attack
def make_swap():
    call("swapon", asked["victim"].encode(), 0)


# --- out of the stage, and into it ----------------------------------------------------------------


def in_stage(name: str) -> Path:
    return Path(asked["stage"]) / name


@attack
def read_stage():
    opened(in_stage("model"), os.O_RDONLY)


@attack
def write_into_stage():
    opened(in_stage("planted"), os.O_WRONLY | os.O_CREAT)


@attack
def write_staged_file():
    opened(in_stage("model"), os.O_RDWR)


@attack
def change_mode_of_staged_file():
    with open(in_stage("model"), "rb") as file:
        os.fchmod(file.fileno(), 0o777)


@attack
def follow_link_out():
    opened(in_stage("link_out"), os.O_RDONLY)


@attack
def dots_out():
    opened(str(in_stage("..")) + "/" + Path(asked["secret"]).name, os.O_RDONLY)


@attack
def by_root_of_process():
    opened("/proc/self/root" + asked["secret"], os.O_RDONLY)


@attack
def by_working_folder():
    opened("/proc/self/cwd" + asked["secret"], os.O_RDONLY)


@attack
def by_folder_held_open():
    folder = os.open("/", os.O_PATH | os.O_DIRECTORY)  # a name only; nothing can be read by it
    try:
        opened(f"/proc/self/fd/{folder}{asked['secret']}", os.O_RDONLY)
    finally:
        os.close(folder)


@attack
def by_descriptor_of_a_name():
    named = os.open(asked["secret"], os.O_PATH)
    try:
        opened(f"/proc/self/fd/{named}", os.O_RDONLY)
    finally:
        os.close(named)


@attack
def staged_pipe_reopened_for_writing():
    opened("/proc/self/fd/0", os.O_WRONLY)


@attack
def own_memory_for_writing():
    opened("/proc/self/mem", os.O_RDWR)


@attack
def change_root():
    os.chroot(asked["stage"])


# --- programs and processes -----------------------------------------------------------------------


def ended(number: int) -> None:
    os.waitpid(number, 0)


@attack
def execute():
    call("execve", b"/bin/true", (ctypes.c_char_p * 2)(b"true", None), None)


@attack
def execute_by_spawning():
    ended(os.posix_spawn("/bin/true", ["true"], {}))


@attack
def fork():
    number = os.fork()
    if number == 0:
        os._exit(0)
    ended(number)


@attack
def many_forks():
    made = 0
    said = ""
    for _ in range(200):
        try:
            number = os.fork()
        except OSError as error:
            said = name_of(error.errno)
            continue
        if number == 0:
            os._exit(0)
        ended(number)
        made += 1
    if made == 0:
        raise OSError(getattr(errno, said), said)


@attack
def new_process_by_clone():
    number = call("clone", signal.SIGCHLD, 0, 0, 0, 0)
    if number == 0:
        os._exit(0)
    ended(number)


@attack
def new_process_by_clone3():
    how = (ctypes.c_uint64 * 8)(0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    number = call("clone3", how, ctypes.sizeof(how))
    if number == 0:
        os._exit(0)
    ended(number)


# The kernel itself refuses these flags together, with EINVAL: what is looked at is who says no.
simple("thread_in_a_namespace", "clone", CLONE_THREAD | CLONE_NEWNS, 0, 0, 0, 0)


@attack
def five_thousand_threads():
    over = threading.Event()
    started = []
    threading.stack_size(1024**2)
    try:
        for _ in range(5000):
            one = threading.Thread(target=over.wait)
            one.start()
            started.append(one)
    except RuntimeError as error:
        return str(error)
    finally:
        over.set()
        for one in started:
            one.join()
    return "done"


# --- the parent -----------------------------------------------------------------------------------


def on_target(name: str, call_name: str, *arguments: object) -> None:
    """Attack a process: ``TARGET`` stands for its number."""

    def run() -> None:
        call(call_name, *(asked["target"] if one == "TARGET" else one for one in arguments))

    ATTACKS[name] = run


NOTHING = ctypes.create_string_buffer(256)
NO_TIME = (ctypes.c_uint64 * 2)(1, 1)
ONE_CPU = ctypes.create_string_buffer(b"\x01" + bytes(127), 128)
on_target("signal", "kill", "TARGET", signal.SIGUSR1)
on_target("signal_group", "kill", -1, signal.SIGCONT)
on_target("signal_thread", "tgkill", "TARGET", "TARGET", signal.SIGUSR1)
on_target("signal_thread_old", "tkill", "TARGET", signal.SIGUSR1)
on_target("signal_queued", "rt_sigqueueinfo", "TARGET", signal.SIGUSR1, NOTHING)
on_target("descriptor_of_process", "pidfd_open", "TARGET", 0)
on_target("signal_by_descriptor", "pidfd_send_signal", 0, signal.SIGUSR1, None, 0)
on_target("limits", "prlimit64", "TARGET", resource.RLIMIT_CPU, NO_TIME, None)
on_target("look_at_limits", "prlimit64", "TARGET", resource.RLIMIT_CPU, None, NOTHING)
on_target("priority", "setpriority", 0, "TARGET", 19)
on_target("processors", "sched_setaffinity", "TARGET", 128, ONE_CPU)
on_target("scheduler", "sched_setscheduler", "TARGET", 3, NOTHING)
on_target("disk_priority", "ioprio_set", 1, "TARGET", 3 << 13)
on_target("group", "setpgid", "TARGET", 0)
on_target("trace", "ptrace", 0x4206, "TARGET", 0, 0)  # PTRACE_SEIZE
on_target("read_memory", "process_vm_readv", "TARGET", NOTHING, 1, NOTHING, 1, 0)
on_target("write_memory", "process_vm_writev", "TARGET", NOTHING, 1, NOTHING, 1, 0)
on_target("compare", "kcmp", "TARGET", "TARGET", 1, 0, 0)
on_target("move_memory", "migrate_pages", "TARGET", 1, NOTHING, NOTHING)


def of_process(name: str) -> None:
    """Open a file of a process in ``/proc``."""
    ATTACKS[f"proc_{name}"] = lambda: opened(f"/proc/{asked['target']}/{name}", os.O_RDONLY)


for one in ("environ", "mem", "maps", "cmdline", "status"):
    of_process(one)


@attack
def proc_fd():
    os.listdir(f"/proc/{asked['target']}/fd")


@attack
def signal_by_owner_of_pipe():
    fcntl.fcntl(0, fcntl.F_SETOWN, asked["target"])


@attack
def signal_number_of_pipe():
    fcntl.fcntl(0, 10, signal.SIGUSR1)  # F_SETSIG


@attack
def own_limits_up():
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))


@attack
def own_limits_by_number():
    call("prlimit64", 0, resource.RLIMIT_FSIZE, (ctypes.c_uint64 * 2)(0, 0), None)


simple("dumpable_again", "prctl", 4, 1, 0, 0, 0)
simple("be_traced", "prctl", 0x59616D61, -1, 0, 0, 0)
simple("own_priority_up", "setpriority", 0, 0, -20)
simple("own_processors", "sched_setaffinity", 0, 128, ONE_CPU)


# --- code -----------------------------------------------------------------------------------------


@attack
def executable_map():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


@attack
def executable_map_of_a_file():
    with open(in_stage("model"), "rb") as file:
        mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()


@attack
def executable_later():
    memory = libc.valloc
    memory.restype = ctypes.c_void_p
    place = memory(ctypes.c_size_t(mmap.PAGESIZE))
    call("mprotect", place, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)
    call("mprotect", place, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE)


simple("executable_by_key", "pkey_mprotect", 0, 0, 4, -1)
simple("file_in_memory", "memfd_create", b"x", 0)
simple("secret_memory", "memfd_secret", 0)
simple("shared_memory", "shmget", 0, 4096, 0o1600)
simple("personality", "personality", 0x0400000)


# --- the kernel -----------------------------------------------------------------------------------

simple("io_uring", "io_uring_setup", 4, NOTHING)
simple("bpf", "bpf", 0, NOTHING, 72)
simple("keys", "keyctl", 0, -3, 1)
simple("add_key", "add_key", b"user", b"x", b"y", 1, -2)
simple("userfaultfd", "userfaultfd", 1)
simple("perf", "perf_event_open", NOTHING, 0, -1, -1, 0)
simple("new_namespace", "unshare", 0x10000000)
simple("other_namespace", "setns", 0, 0)
simple("mount", "mount", b"none", b"/tmp", b"tmpfs", 0, None)
simple("new_file_system", "fsopen", b"tmpfs", 0)
simple("open_tree", "open_tree", AT_FDCWD, b"/", 0)
simple("move_mount", "move_mount", 0, b"", 0, b"", 0)
simple("file_by_handle", "open_by_handle_at", 0, NOTHING, 0)
simple("name_to_handle", "name_to_handle_at", AT_FDCWD, b"/", NOTHING, NOTHING, 0)
simple("module", "init_module", NOTHING, 0, b"")
simple("clock", "clock_settime", 0, NO_TIME)
simple("host_name", "sethostname", b"x", 1)
simple("kernel_log", "syslog", 3, NOTHING, 16)
simple("watch_files", "fanotify_init", 0, 0)
simple("another_filter", "seccomp", 0, 0, None)
simple("another_ruleset", "landlock_create_ruleset", None, 0, 1)
simple("no_such_call", "acct", None)


# --- too much -------------------------------------------------------------------------------------


@attack
def memory_bomb():
    held = []
    try:
        while True:
            held.append(bytearray(16 * 1024**2))
    except MemoryError:
        count = len(held)
        held.clear()
        return f"MemoryError after {count * 16} MiB"


@attack
def busy_loop():
    while True:
        pass


@attack
def busy_loop_that_does_not_listen():
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    busy_loop()


@attack
def sleep_for_ever():
    threading.Event().wait()


@attack
def segmentation_fault():
    ctypes.string_at(0)


@attack
def call_of_another_machine():
    numbered(X32 + 39)


@attack
def flood_of_errors():
    while True:
        os.write(2, b"e" * 65536)


@attack
def flood_of_answers():
    while True:
        os.write(1, b"\xff" * 65536)


@attack
def fill_the_scratch_folder():
    with open(Path(asked["scratch"]) / "big", "wb") as file:
        while True:
            file.write(bytes(1024**2))


# --- the lock, also with a part taken out ---------------------------------------------------------


def is_locked() -> bool:
    return asked["profile"] != "none"


def sabotage(how: str) -> None:
    """Take a part of the lock out, as a kernel or a library without it would."""
    if how == "no_landlock":
        landlock.abi = lambda: 0
    elif how == "landlock_rule":
        landlock._ADD_RULE = landlock._CREATE_RULESET  # a rule that is not taken
    elif how == "no_seccomp":
        linux._seccomp_number = lambda: None
    elif how == "seccomp_program":
        linux._with_own_number = lambda program: program[:-8]  # one that does not end
    elif how == "seccomp_of_nothing":
        linux._allow_only = lambda _program: None
    elif how == "landlock_of_nothing":
        landlock.restrict = lambda *_: "landlock"
    elif how == "limit":
        rlimits.resource.setrlimit = refuse
    elif how == "flags":
        linux._PR_SET_NO_NEW_PRIVS = 0xFFFF
    elif how == "thread":
        threading.Thread(target=threading.Event().wait, daemon=True).start()


def refuse(*_: object) -> None:
    raise ValueError("not allowed to raise maximum limit")


def lock() -> lockdown.Lock | None:
    lockdown.prepare_to_lock()
    codecs.lookup("ascii")  # what sockets would import late
    if asked["nobody"]:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    if not is_locked():
        return None
    sabotage(asked["sabotage"])
    return lockdown.lock_this_process(
        lockdown.LockPlan(
            profile=asked["profile"],
            stage=Path(asked["stage"]),
            scratch=Path(asked["scratch"]),
            memory_bytes=asked["memory_bytes"],
            cpu_seconds=asked["cpu_seconds"],
            write_bytes=asked["write_bytes"],
        )
    )


def outcome(name: str) -> str:
    try:
        said = ATTACKS[name]()
    except OSError as error:
        return name_of(error.errno or 0)
    return said if isinstance(said, str) else "done"


def main() -> None:
    asked.update(json.loads(sys.stdin.readline()))
    try:
        locked = lock()
    except lockdown.NoLayer as error:
        sys.stderr.write(f"no sandbox: {error.layer}: {error.reason}\n")
        sys.exit(70)
    sys.stdout.write(json.dumps(locked) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        name = line.strip()
        sys.stdout.write(json.dumps([name, outcome(name)]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
