"""Sets Hanse up and runs its tools: ``python3 dev.py COMMAND [ARGUMENTS]``.

  setup   make or renew .venv from the locked packages; the others do this first by themselves
  demo    run `hanse demo` (ARGUMENTS go to it; --window shows it in the window)
  test    the four gates: lint, layers, types, tests; with ARGUMENTS only `pytest ARGUMENTS`
  bench   the benchmarks and the slow tests; with ARGUMENTS only `pytest tests/bench ARGUMENTS`
  docs    write again what is generated: docs/protocol.md, docs/cli.md, the golden help
  lock    rewrite requirements/*.txt from pyproject.toml (--upgrade takes newer versions)

Needs Python 3.11 and nothing else.  Only the standard library is used, Hanse is not imported,
and the syntax is that of Python 3.8, so that an old Python gets a sentence and no traceback.
Exit status: that of the command; 4 if this machine lacks something; 130 after Ctrl-C.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

TYPE_CHECKING = False  # as in typing, which takes longer to import than everything above
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "stamp"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
STAMPED_FILES = (
    "requirements/build.txt",
    "requirements/dev.txt",
    "pyproject.toml",
    "hatch_build.py",
)
PYTHON_AT_LEAST = (3, 11)
EXIT_ENVIRONMENT = 4
EXIT_INTERRUPTED = 130
PYTEST_FOUND_NOTHING = 5
GENERATORS = ("make_protocol", "make_help")

# Shared library -> the Debian package that holds it.  Qt, also without a screen; the Worker's lock.
LIBRARIES = {
    "libglib-2.0.so.0": "libglib2.0-0",
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libbrotlidec.so.1": "libbrotli1",
    "libseccomp.so.2": "libseccomp2",
}
WINDOW_LIBRARIES = {
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libX11-xcb.so.1": "libx11-xcb1",
}
WAYLAND_LIBRARIES = {
    "libwayland-client.so.0": "libwayland-client0",
    "libwayland-cursor.so.0": "libwayland-cursor0",
}

# torch is not locked: its CPU builds come from an index of its own.
EXTRAS = ("sklearn", "keras", "tflite", "images", "evm", "keyring")
# Serves P-256 keys only and needs a compiler: network/transport/standin.py does without it.
LEFT_OUT = "fastecdsa"
UNREACHABLE = ("Could not find a version", "Max retries exceeded", "ReadTimeoutError", "Retrying (")


class Stop(Exception):
    """The machine lacks something; the text says what, and what to do."""


def say(text: str) -> None:
    """Print at once, so that a log shows what was under way."""
    print(text, flush=True)


# --- running programs ----------------------------------------------------------------------


def run(command: Sequence[object], *, quiet: bool = False, **changes: str) -> int:
    """Run a program in the project and return its exit status; Ctrl-C is its own business."""
    environment = {**os.environ, **changes}
    for leak in ("PYTHONHOME", "PYTHONPATH"):
        environment.pop(leak, None)
    child = subprocess.Popen(
        [str(part) for part in command],
        cwd=str(ROOT),
        env=environment,
        stdout=subprocess.DEVNULL if quiet else None,
    )
    return wait_for(child)


def wait_for(child: subprocess.Popen[str] | subprocess.Popen[bytes]) -> int:
    """Let the program end by itself, also after Ctrl-C, which reaches it too."""
    interrupted = False
    while True:
        try:
            status = child.wait()
        except KeyboardInterrupt:
            interrupted = True
            continue
        if interrupted:
            raise KeyboardInterrupt
        return status if status >= 0 else 128 - status


def tool(name: str) -> Path:
    """Return where the environment keeps a program."""
    return BIN / (name + ".exe" if os.name == "nt" else name)


def module(name: str, *arguments: object) -> list[object]:
    """Return the command that runs a module with the environment's Python."""
    return [tool("python"), "-m", name, *arguments]


# --- what the machine must have ------------------------------------------------------------


def missing(libraries: dict[str, str]) -> list[str]:
    """Return the shared libraries that cannot be loaded; loading works on every distribution."""
    if not sys.platform.startswith("linux"):
        return []
    import ctypes

    absent = []
    for library in libraries:
        try:
            ctypes.CDLL(library)
        except OSError:
            absent.append(library)
    return absent


def packages_wanted(libraries: Iterable[str], *, without_ensurepip: bool) -> list[str]:
    """Return the Debian packages that bring these libraries, and pip for ``.venv``."""
    table = {**LIBRARIES, **WINDOW_LIBRARIES, **WAYLAND_LIBRARIES}
    venv = ["python{}.{}-venv".format(*sys.version_info)] if without_ensurepip else []
    return venv + [table[library] for library in libraries]


def apt_names(packages: Iterable[str]) -> list[str]:
    """Return the names this release uses: since the 64-bit time some end in ``t64``."""
    names = []
    for package in packages:
        renamed = subprocess.run(
            ["apt-cache", "show", package + "t64"], capture_output=True, check=False
        )
        names.append(package + "t64" if renamed.returncode == 0 else package)
    return names


def install_line(packages: Iterable[str]) -> str:
    """Return the one line a person runs who may install packages."""
    return "sudo apt-get update && sudo apt-get install -y --no-install-recommends " + " ".join(
        packages
    )


def missing_text(libraries: Sequence[str], packages: Sequence[str], *, apt: bool) -> str:
    """Say what this machine lacks and the line that brings it."""
    lacking = list(libraries) + ([] if len(packages) == len(libraries) else ["ensurepip"])
    start = "This machine lacks {}. ".format(", ".join(lacking))
    if apt:
        return start + f"Please run this, then try again:\n\n  {install_line(packages)}\n"
    return start + "Please install what holds them; on Debian: {}.".format(" ".join(packages))


def provide_libraries(libraries: dict[str, str]) -> None:
    """Install missing system libraries where we may; otherwise print the line and stop."""
    from importlib.util import find_spec
    from shutil import which

    absent = missing(libraries)
    without_ensurepip = find_spec("ensurepip") is None
    packages = packages_wanted(absent, without_ensurepip=without_ensurepip)
    if not packages:
        return
    apt = which("apt-get") is not None
    if not apt or os.geteuid() != 0:
        raise Stop(missing_text(absent, apt_names(packages) if apt else packages, apt=apt))
    say("Installing system packages (under a minute): {}".format(" ".join(packages)))
    if run(["apt-get", "update", "-qq"], quiet=True) != 0:
        say("apt-get update failed; trying with the lists that are there.")
    names = apt_names(packages)
    wait = "-oDPkg::Lock::Timeout=120"  # another apt may be at work
    install = ["apt-get", "install", "-y", "-qq", wait, "--no-install-recommends", *names]
    status = run(install, quiet=True, DEBIAN_FRONTEND="noninteractive")
    if status != 0 or missing(libraries):
        raise Stop("apt-get could not install everything. " + missing_text(absent, names, apt=True))


# --- the environment -----------------------------------------------------------------------


def stamp() -> str:
    """Return what the environment was made from; another value means: make it again."""
    digest = hashlib.sha256()
    for name in STAMPED_FILES:
        digest.update((ROOT / name).read_bytes() + b"\0")
    # The environment's programs hold its path: a moved or copied folder needs a new one.
    return f"{digest.hexdigest()} {sys.version!r} {ROOT.as_posix()}\n"


def is_ready() -> bool:
    """Tell whether the environment is the one the files ask for."""
    try:
        return STAMP.read_bytes() == stamp().encode("utf-8", "surrogateescape")
    except OSError:
        return False


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock of the environment; it goes with the process, however that ends."""
    with (ROOT / ".venv.lock").open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError:  # after ten seconds; ask again
                    continue
        else:
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say("Another dev.py is making the environment; waiting for it.")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def set_up() -> None:
    """Make the environment unless it is there; one process at a time."""
    if is_ready():
        return
    with alone():
        if not is_ready():
            make_environment()


def make_environment() -> None:
    """Make ``.venv`` from nothing; the stamp comes last, so a killed run starts over."""
    import venv

    started = time.monotonic()
    say("Making the environment in .venv (one to five minutes, 700 MB to fetch).")
    provide_libraries(LIBRARIES)
    say("1/4 An empty environment (ten seconds).")
    STAMP.unlink(missing_ok=True)
    venv.create(str(VENV), with_pip=True, clear=True)
    say("2/4 The tools that build, locked (some seconds).")
    pip("install", "--no-deps", "--require-hashes", "-r", "requirements/build.txt")
    say("3/4 The packages of requirements/dev.txt, locked (one to four minutes).")
    pip(
        *("install", "--no-deps", "--require-hashes", "--no-build-isolation"),
        *("-r", "requirements/dev.txt"),
    )
    drop_stale_types()
    say("4/4 Hanse itself, as links to this folder (some seconds).")
    pip("install", "--no-deps", "--no-build-isolation", "-e", ".")
    STAMP.write_bytes(stamp().encode("utf-8", "surrogateescape"))
    say(f"The environment is ready after {time.monotonic() - started:.0f} s.")


def drop_stale_types() -> None:
    """Remove the types of an old trio that ``trio-typing`` brings, and libp2p with it.

    They would hide the types trio itself has by now; nothing reads them when programs run.
    """
    for folder in (*VENV.glob("lib/python*/site-packages"), VENV / "Lib" / "site-packages"):
        shutil.rmtree(folder / "trio-stubs", ignore_errors=True)


def pip(*arguments: str) -> None:
    """Run the environment's pip, showing only how far it is; stop with its last words."""
    command = module("pip", "--disable-pip-version-check", "--no-input", *arguments)
    child = subprocess.Popen(
        [str(part) for part in [*command, "--progress-bar", "off"]],
        cwd=str(ROOT),
        env={**os.environ, "PIP_USER": "0"},  # a firm's "user = true" has no place here
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    lines = []
    fetched = 0
    assert child.stdout is not None
    try:
        with child.stdout as output:
            for line in output:
                lines.append(line.rstrip())
                fetched += line.startswith("Collecting ")
                if line.startswith("Collecting ") and fetched % 50 == 0:
                    say(f"    {fetched} packages")
    finally:
        status = wait_for(child)
    if status == 0:
        return
    for line in lines[-15:]:
        say("    " + line)
    if any(sign in line for line in lines for sign in UNREACHABLE):
        raise Stop(
            "The package index could not be reached, or lacks a package named above. Check the "
            "network, or the index and proxy in pip's configuration, and try again."
        )
    raise Stop(f"pip {arguments[0]} failed; its last words are above.")


# --- commands ------------------------------------------------------------------------------


def demo(arguments: list[str]) -> int:
    """Run the demonstration; a window needs more libraries than the environment."""
    if "--window" in arguments:
        wayland = WAYLAND_LIBRARIES if os.environ.get("WAYLAND_DISPLAY") else {}
        provide_libraries({**WINDOW_LIBRARIES, **wayland})
    set_up()
    return run([tool("hanse"), "demo", *arguments])


def test(arguments: list[str]) -> int:
    """Run the four gates, all of them, or pytest alone if arguments are given."""
    set_up()
    if arguments:
        return pytest(*arguments)
    gates = [("lint", lint), ("layers", layers), ("types", types), ("tests", all_tests)]
    rows = []
    for name, gate in gates:
        say("\n=== {} {}".format(name, "=" * (70 - len(name))))
        started = time.monotonic()
        status = gate()
        rows.append((name, status, time.monotonic() - started))
    say("\n=== gates " + "=" * 65)
    for name, status, seconds in rows:
        say("{:8}{:22}{:6.0f} s".format(name, "passed" if status == 0 else "FAILED", seconds))
    return max(status for _, status, _ in rows)


def lint() -> int:
    """Run ruff twice: its rules, and its layout."""
    rules = run(module("ruff", "check"))
    return max(rules, run(module("ruff", "format", "--check")))


def layers() -> int:
    """Run the contracts of pyproject.toml: who may import whom."""
    return run([tool("lint-imports")])


def types() -> int:
    """Run the type checker over all of Hanse."""
    return run(module("mypy", "--strict"))


def all_tests() -> int:
    """Run every test, on all cores: whichever is idle takes the next one."""
    return pytest("-n", "auto", "--dist", "worksteal")


def pytest(*arguments: str) -> int:
    """Run pytest without a screen: for the tests only, or ``demo --window`` would show nothing."""
    return run(module("pytest", *arguments), QT_QPA_PLATFORM="offscreen")


def bench(arguments: list[str]) -> int:
    """Run the benchmarks, and then the tests that are too slow for every day."""
    set_up()
    # A watchdog that prints every thread's stack while they run can crash a long benchmark.
    patient = ("-o", "faulthandler_timeout=0")
    status = pytest("tests/bench", "-m", "", *patient, *arguments)
    if arguments:
        return status
    slow = pytest("-m", "slow", "--ignore=tests/bench", *patient)
    return max(status, 0 if slow == PYTEST_FOUND_NOTHING else slow)


def lock(arguments: list[str]) -> int:
    """Rewrite the lock; what is in it stays unless ``--upgrade`` or pyproject.toml moves it."""
    if not tool("uv").exists():  # an environment made from an older lock can make the new one
        set_up()
    project = "pyproject.toml"
    extras = ["--extra=" + extra for extra in EXTRAS]
    hashes = "--generate-hashes"
    same = ["--constraint=requirements/dev.txt", "--no-annotate"]
    status = compile_lock("dev", project, "--group=dev", *extras, hashes, *arguments)
    status = status or compile_lock("build", "--group=build", hashes, *same)
    status = status or compile_lock("run", project, hashes, *same)
    status = status or compile_lock("versions", project, *extras, *same)
    for extra in extras:
        known = ["--no-emit-package=" + name for name in locked("run")]
        name = extra[2:].replace("=", "-")
        status = status or compile_lock(name, project, extra, hashes, *same, *known)
    return status


def locked(name: str) -> list[str]:
    """Return the names of the packages in one file of the lock."""
    lines = (ROOT / "requirements" / (name + ".txt")).read_text(encoding="utf-8").splitlines()
    return [line.partition("==")[0] for line in lines if "==" in line and line[0].isalnum()]


def compile_lock(name: str, *arguments: str) -> int:
    """Write one file: one set of versions for every platform and Python, and no index named."""
    file = f"requirements/{name}.txt"
    say(file)
    return run(
        [
            *(tool("uv"), "pip", "compile", "--quiet", "--universal", "--fork-strategy=fewest"),
            *("--python-version={}.{}".format(*PYTHON_AT_LEAST), "--python", tool("python")),
            *("--custom-compile-command=python3 dev.py lock", "--no-emit-package=" + LEFT_OUT),
            *("--output-file", file, *arguments),
        ]
    )


def docs(arguments: list[str]) -> int:
    """Write generated documents again; a test fails while they differ from the code."""
    del arguments
    set_up()
    return max(run(module("tests.golden." + name)) for name in GENERATORS)


def setup(arguments: list[str]) -> int:
    """Make the environment and nothing else."""
    del arguments
    set_up()
    return 0


COMMANDS = {
    "setup": setup,
    "demo": demo,
    "test": test,
    "bench": bench,
    "docs": docs,
    "lock": lock,
}


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    if sys.version_info < PYTHON_AT_LEAST:
        print(
            "Hanse needs Python {}.{} or later; this is Python {}.".format(
                *PYTHON_AT_LEAST, sys.version.split()[0]
            ),
            file=sys.stderr,
        )
        return EXIT_ENVIRONMENT
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if not arguments or arguments[0] not in COMMANDS:
        asked = bool(arguments) and arguments[0] in ("-h", "--help", "help")
        print(__doc__, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    try:
        return COMMANDS[arguments[0]](arguments[1:])
    except Stop as stop:
        print(stop, file=sys.stderr)
    except OSError as error:
        print(f"This machine refused: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:  # venv's own, from ensurepip
        print(f"An empty environment could not be made: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_ENVIRONMENT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
