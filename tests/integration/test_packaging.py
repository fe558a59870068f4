"""What is shipped: the sdist, the wheel made from it, and a Hanse installed from that wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("app", "ui", "core", "network", "resources")
BESIDE = ("examples",)  # `hanse demo` runs them


def run(*command: object, cwd: Path) -> str:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME") and not name.startswith("PIP_")
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment | {"PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("hanse-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as packed:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # from 3.11.4 on
        packed.extractall(folder, **safely)
    (source,) = folder.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    (built,) = folder.glob("hanse-*.whl")
    return built


def shipped() -> set[str]:
    """Every file of the five folders and of those beside them, as the wheel names it."""
    return {
        f"hanse/{path.relative_to(ROOT).as_posix()}"
        for layer in (*LAYERS, *BESIDE)
        for path in (ROOT / layer).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def test_sdist_holds_what_a_builder_and_a_tester_need(sdist: Path) -> None:
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {
        *("pyproject.toml", "hatch_build.py", "dev.py", "README.md", "LICENSE", "CHANGELOG.md"),
        *("requirements/dev.txt", "requirements/versions.txt", "requirements.txt"),
        *("tests/conftest.py", "core/py.typed", "app/version.py", ".ci/run"),
    } <= names
    assert not [name for name in names if name.startswith((".venv", ".links", ".git/"))]


def test_wheel_holds_every_file_of_the_folders_that_are_shipped_and_nothing_else(
    wheel: Path,
) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
    assert names == shipped()
    assert {f"hanse/{layer}/py.typed" for layer in LAYERS} <= names


def test_hanse_installed_from_the_wheel_runs_without_the_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "empty environment"
    venv.create(environment, with_pip=False)
    places = {
        name: Path(sysconfig.get_path(name, "venv", {"base": environment, "platbase": environment}))
        for name in ("purelib", "scripts")
    }
    python = places["scripts"] / Path(sys.executable).name
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install"),
        *("--no-deps", "--no-index", "--quiet", wheel),
        cwd=tmp_path,
    )
    # The libraries come from here, without the network.  Only their folder is named: a .pth in it,
    # such as the one that links to the checkout, is not read again.
    libraries = sysconfig.get_path("purelib")
    (places["purelib"] / "libraries.pth").write_text(libraries + "\n", encoding="utf-8")
    where = run(python, "-c", "import hanse.app; print(*hanse.app.__path__)", cwd=tmp_path)
    assert Path(where.strip()) == places["purelib"] / "hanse" / "app"
    version = run(places["scripts"] / "hanse", "--version", cwd=tmp_path)
    assert "0.1.0" in version
