"""The lock and the list of dependencies say the same as pyproject.toml, and name no machine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKED_EXTRAS = ("sklearn", "keras", "tflite", "images", "evm", "keyring")
HASHED = ["dev", "build", "run", *(f"extra-{extra}" for extra in LOCKED_EXTRAS)]
LEFT_OUT = "fastecdsa"


def parsed(texts: list[str]) -> list[Requirement]:
    return [Requirement(text) for text in texts]


def runtime() -> list[Requirement]:
    return parsed(PROJECT["project"]["dependencies"])


def extra(name: str) -> list[Requirement]:
    return parsed(PROJECT["project"]["optional-dependencies"][name])


def group(name: str) -> list[Requirement]:
    listed = PROJECT["dependency-groups"][name]
    included = [entry["include-group"] for entry in listed if isinstance(entry, dict)]
    own = parsed([entry for entry in listed if isinstance(entry, str)])
    return own + [requirement for other in included for requirement in group(other)]


def direct() -> set[str]:
    every = runtime() + group("dev")
    for name in PROJECT["project"]["optional-dependencies"]:
        every += extra(name)
    return {requirement.name for requirement in every}


def lines(name: str) -> list[str]:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def locked(name: str) -> dict[str, Version]:
    found = [re.match(r"([a-z0-9-]+)==([^ ]+)", line) for line in lines(name)]
    return {match[1]: Version(match[2]) for match in found if match}


def assert_locked(requirements: list[Requirement], versions: dict[str, Version]) -> None:
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        assert name in versions, requirement
        assert requirement.specifier.contains(versions[name]), requirement


def test_lock_holds_every_direct_dependency_in_the_range_asked_for() -> None:
    assert_locked(runtime(), locked("run"))
    assert_locked(runtime() + group("dev"), locked("dev"))
    assert_locked(group("build"), locked("build"))


def test_every_extra_is_locked_but_torch_whose_cpu_builds_come_from_an_index_of_its_own() -> None:
    assert set(PROJECT["project"]["optional-dependencies"]) == {*LOCKED_EXTRAS, "torch"}


@pytest.mark.parametrize("name", LOCKED_EXTRAS)
def test_extra_is_locked_on_top_of_run_and_is_there_for_the_tests(name: str) -> None:
    assert_locked(extra(name), locked("run") | locked(f"extra-{name}"))
    assert_locked(extra(name), locked("dev"))
    assert not set(locked("run")) & set(locked(f"extra-{name}"))


@pytest.mark.parametrize("name", [*HASHED, "versions"])
def test_one_version_of_everything_in_every_file(name: str) -> None:
    reference = locked("dev")
    assert {package: reference[package] for package in locked(name)} == locked(name)


@pytest.mark.parametrize("name", HASHED)
def test_every_locked_package_has_a_hash(name: str) -> None:
    text = "\n".join(lines(name)) + "\n"
    blocks = re.findall(
        r"^[a-z0-9-]+==[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", text, re.MULTILINE
    )
    assert len(blocks) == len(locked(name))


@pytest.mark.parametrize("name", [*HASHED, "versions"])
def test_lock_names_no_index_and_no_folder(name: str) -> None:
    for line in lines(name):
        assert "://" not in line
        assert not line.startswith("-")
        assert "index-url" not in line
        assert not re.search(r"(^|\s)/\w", line)


@pytest.mark.parametrize("name", [*HASHED, "versions"])
def test_library_that_needs_a_compiler_stays_out_of_the_lock(name: str) -> None:
    assert LEFT_OUT not in locked(name)


def test_requirements_for_a_plain_pip_are_two_lines() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert text == "-c requirements/versions.txt\n-e .\n"


def test_every_direct_dependency_is_described() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    described = {
        canonicalize_name(name) for name in re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    }
    asked_for = {canonicalize_name(name) for name in direct()}
    assert asked_for - described == set()
    assert described - asked_for == set()
