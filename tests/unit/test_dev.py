"""dev.py: what it decides, and that it starts on every Python; the installing is run by CI."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dev() -> Any:
    spec = importlib.util.spec_from_file_location("dev_under_test", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(dev: Any, tmp_path: Path) -> Path:
    """A folder dev.py takes for the project: the stamped files and nothing else."""
    dev.ROOT = tmp_path
    dev.VENV = tmp_path / ".venv"
    dev.STAMP = dev.VENV / "stamp"
    (tmp_path / "requirements").mkdir()
    dev.VENV.mkdir()
    for name in dev.STAMPED_FILES:
        (tmp_path / name).write_text(name)
    return tmp_path


# --- any Python ----------------------------------------------------------------------------


def test_syntax_is_that_of_python_3_8() -> None:
    ast.parse((ROOT / "dev.py").read_text(encoding="utf-8"), feature_version=(3, 8))


def test_imports_only_the_standard_library() -> None:
    tree = ast.parse((ROOT / "dev.py").read_text(encoding="utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


def test_old_python_gets_a_sentence(
    dev: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev.sys, "version_info", (3, 10, 13))
    monkeypatch.setattr(dev.sys, "version", "3.10.13 (main)")
    assert dev.main(["test"]) == 4
    assert capsys.readouterr().err == "Hanse needs Python 3.11 or later; this is Python 3.10.13.\n"


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["nonsense"], 2), (["--help"], 0)])
def test_without_a_command_it_explains_itself(arguments: list[str], status: int) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "dev.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    shown = done.stdout if status == 0 else done.stderr
    for command in ("setup", "demo", "test", "bench", "lock"):
        assert f"\n  {command} " in shown


# --- what the machine must have ------------------------------------------------------------


def test_every_library_has_a_package(dev: Any) -> None:
    table = {**dev.LIBRARIES, **dev.WINDOW_LIBRARIES, **dev.WAYLAND_LIBRARIES}
    assert len(table) == 22
    assert dev.packages_wanted(table, without_ensurepip=False) == list(table.values())


def test_missing_ensurepip_asks_for_the_package_of_this_python(dev: Any) -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert dev.packages_wanted([], without_ensurepip=True) == [f"python{version}-venv"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lacks libraries")
def test_library_that_does_not_load_is_missing(dev: Any) -> None:
    assert dev.missing({"libhanse-has-no-such.so.7": "libhanse7", "libc.so.6": "libc6"}) == [
        "libhanse-has-no-such.so.7"
    ]


def test_missing_text_names_library_and_line(dev: Any) -> None:
    text = dev.missing_text(["libEGL.so.1"], ["libegl1"], apt=True)
    assert "lacks libEGL.so.1." in text
    assert (
        "\n  sudo apt-get update && sudo apt-get install -y --no-install-recommends libegl1\n"
        in text
    )
    assert "ensurepip" not in text


def test_missing_text_without_apt_names_no_command(dev: Any) -> None:
    text = dev.missing_text([], ["python3.11-venv"], apt=False)
    assert "lacks ensurepip." in text
    assert "apt-get" not in text
    assert "python3.11-venv" in text


@pytest.mark.skipif(os.name == "nt", reason="asks for the user id")
@pytest.mark.usefixtures("project")
def test_without_the_right_to_install_nothing_is_run(
    dev: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise AssertionError("no program may be started")

    monkeypatch.setattr(dev, "missing", lambda _: ["libEGL.so.1"])
    monkeypatch.setattr(dev, "apt_names", list)
    monkeypatch.setattr(dev, "run", refuse)
    monkeypatch.setattr(dev.os, "geteuid", lambda: 1000)
    assert dev.main(["setup"]) == 4
    assert "libegl1" in capsys.readouterr().err
    assert not dev.STAMP.exists()


# --- the stamp -----------------------------------------------------------------------------


@pytest.mark.usefixtures("project")
def test_environment_is_ready_only_with_its_own_stamp(dev: Any) -> None:
    assert not dev.is_ready()
    dev.STAMP.write_text(dev.stamp())
    assert dev.is_ready()


@pytest.mark.parametrize("place", range(4))
def test_each_stamped_file_makes_another_stamp(dev: Any, project: Path, place: int) -> None:
    before = dev.stamp()
    (project / dev.STAMPED_FILES[place]).write_text("changed")
    assert dev.stamp() != before


def test_another_python_or_another_folder_makes_another_stamp(
    dev: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dev.stamp()
    monkeypatch.setattr(dev.sys, "version", "3.99")
    other_python = dev.stamp()
    dev.ROOT = project / ".." / project.name
    assert len({before, other_python, dev.stamp()}) == 3


@pytest.mark.usefixtures("project")
def test_killed_set_up_starts_over(
    dev: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []

    def create(path: str, **_: object) -> None:
        made.append(path)

    def killed_in_step_two(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("venv.create", create)
    monkeypatch.setattr(dev, "provide_libraries", lambda _: None)
    monkeypatch.setattr(dev, "pip", killed_in_step_two)
    dev.STAMP.write_text("an older one")
    assert dev.main(["setup"]) == 130
    assert not dev.STAMP.exists()
    monkeypatch.setattr(dev, "pip", lambda *_: None)
    assert dev.main(["setup"]) == 0
    assert dev.is_ready()
    assert len(made) == 2
    assert dev.main(["setup"]) == 0
    assert len(made) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.usefixtures("project")
def test_second_set_up_waits_for_the_first_and_makes_nothing(
    dev: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise AssertionError("made twice")

    monkeypatch.setattr(dev, "make_environment", refuse)
    waiting = threading.Event()
    monkeypatch.setattr(dev, "say", lambda _: waiting.set())
    second = threading.Thread(target=dev.set_up)
    with dev.alone():
        second.start()
        assert waiting.wait(10)
        dev.STAMP.write_text(dev.stamp())
    second.join(10)
    assert not second.is_alive()


# --- running programs ----------------------------------------------------------------------


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_exit_status_of_the_program_is_passed_on(dev: Any) -> None:
    assert dev.run(python("raise SystemExit(7)")) == 7


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_program_ended_by_a_signal_counts_as_128_and_its_number(dev: Any) -> None:
    assert dev.run(python("import os; os.kill(os.getpid(), 9)")) == 137


def test_pip_failure_shows_its_last_words_and_stops(
    dev: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        dev, "module", lambda *_: python("print('ERROR: bad wheel'); raise SystemExit(1)")
    )
    with pytest.raises(dev.Stop, match="pip install failed"):
        dev.pip("install")
    assert "    ERROR: bad wheel\n" in capsys.readouterr().out


def test_unreachable_index_is_one_sentence(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        dev,
        "module",
        lambda *_: python("print('ERROR: Could not find a version'); raise SystemExit(1)"),
    )
    with pytest.raises(dev.Stop, match="index could not be reached"):
        dev.pip("install")


# --- the gates -----------------------------------------------------------------------------


@pytest.fixture
def gates(dev: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Let dev.py believe it ran the programs; give it the exit statuses in order."""

    def prepare(*statuses: int) -> list[list[str]]:
        ran: list[list[str]] = []
        left = list(statuses)

        def run(command: list[object], **changes: str) -> int:
            words = [Path(str(part)).name for part in command]
            ran.append([*words, *(f"{name}={value}" for name, value in changes.items())])
            return left.pop(0)

        monkeypatch.setattr(dev, "run", run)
        monkeypatch.setattr(dev, "set_up", lambda: None)
        return ran

    return prepare


def test_all_gates_run_and_the_worst_status_is_returned(
    dev: Any,
    gates: Callable[..., list[list[str]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = gates(0, 1, 0, 2, 0)
    assert dev.main(["test"]) == 2
    assert len(ran) == 5
    table = capsys.readouterr().out.partition("=== gates")[2].splitlines()[1:]
    assert [line.split()[:2] for line in table] == [
        ["lint", "FAILED"],
        ["layers", "passed"],
        ["types", "FAILED"],
        ["tests", "passed"],
    ]


def test_arguments_go_to_pytest_alone_and_without_a_screen(
    dev: Any, gates: Callable[..., list[list[str]]]
) -> None:
    ran = gates(5)
    assert dev.main(["test", "-k", "feed"]) == 5
    assert ran[0][1:] == ["-m", "pytest", "-k", "feed", "QT_QPA_PLATFORM=offscreen"]


def test_demo_keeps_the_screen(dev: Any, gates: Callable[..., list[list[str]]]) -> None:
    ran = gates(0)
    assert dev.main(["demo", "--quick"]) == 0
    assert [part.removesuffix(".exe") for part in ran[0]] == ["hanse", "demo", "--quick"]


def test_bench_runs_the_slow_tests_too_and_forgives_that_there_are_none(
    dev: Any, gates: Callable[..., list[list[str]]]
) -> None:
    ran = gates(0, 5)
    assert dev.main(["bench"]) == 0
    assert len(ran) == 2
    assert ran[0][3:6] == ["bench", "-m", ""]
    assert ran[1][3:5] == ["-m", "slow"]
