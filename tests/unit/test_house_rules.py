"""What linters do not know: breaches that are bugs, each a pattern and a sentence.

Add a rule here when a review finds the same bug a second time; a matter of taste is no rule.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("app", "ui", "core", "network", "resources")
NOT_OURS = {
    *(".git", ".venv", ".links", "__pycache__", "node_modules", "build", "dist", ".benchmarks"),
    "folders",  # of tests/golden: what programs wrote, not people
    *(".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".import_linter_cache"),
}
TEXTS = {".py", ".toml", ".md", ".txt", ".json", ".mako", ".ini", ".cfg", ".yml", ".yaml", ""}


@dataclass(frozen=True, slots=True)
class Rule:
    """What may not be written where, why, and one line that breaks it."""

    sentence: str
    pattern: str
    breach: str
    folders: tuple[str, ...] = LAYERS
    except_in: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = (".py",)


RULES = [
    Rule(
        "money and scores are exact: integers, never floats",
        r"\bfloat\(",
        "amount = float(text)",
        folders=("core/market", "core/trade"),
    ),
    Rule(
        "time is an argument; only core/clock.py asks the machine for it",
        r"\b(datetime\.now|utcnow|date\.today|time\.time|time_ns|localtime)\(",
        "now = time.time()",
        folders=("core",),
        except_in=("core/clock.py",),
    ),
    Rule(
        "chance is an argument; only core/clock.py asks the machine for it",
        r"^\s*(import|from) (random|secrets|uuid)\b|\burandom\(",
        "import secrets",
        folders=("core",),
        except_in=("core/clock.py",),
    ),
    Rule(
        "a question to the person goes through ui/dialogs",
        r"\bQMessageBox\b",
        "QMessageBox.question(self, title, text)",
        folders=("ui",),
        except_in=("ui/dialogs",),
    ),
    Rule(
        "colours come from the theme, or the dark one has holes",
        r"""["']#[0-9a-fA-F]{3,8}["']|\bQColor\(\s*["'\d]""",
        'pen.setColor("#ff0000")',
        folders=("ui",),
        except_in=("ui/theme",),
    ),
    Rule(
        "recv of multiprocessing unpickles what it gets: use recv_bytes with a length",
        r"\.recv\(",
        "message = connection.recv()",
    ),
    Rule(
        "a bound with a number of its own stands in core/limits.py; facts such as 2**63 need not",
        r"^[A-Z0-9_]+_MAX\s*:\s*Final\b[^=]*=\s*(?!2\*\*)\d",
        "NAME_CHARACTERS_MAX: Final = 80",
        except_in=("core/limits.py",),
    ),
    Rule(
        "only the stand-in knows the library that is left out",
        "fast" + "ecdsa",
        "import fast" + "ecdsa",
        except_in=("network/transport/standin.py",),
    ),
    Rule(
        "data files are read with importlib.resources: __file__ is wrong in a bundle",
        r"\b__file__\b",
        "folder = Path(__file__).parent",
        except_in=(  # where the program itself lies: to be read, or started again
            "core/certify/foreign_main.py",
            "core/certify/lockdown/linux.py",
            "core/certify/lockdown/macos.py",
            "core/certify/lockdown/outer.py",
        ),
    ),
    Rule(
        "notes to ourselves are settled before they are committed",
        r"\b(TODO|FIXME|XXX)\b",
        "# TODO: bound this",
        folders=(*LAYERS, "tests"),
        except_in=("tests/unit/test_house_rules.py",),
    ),
    Rule(
        "no sleep in a test: wait for the event, or use the fake clock",
        r"\btime\.sleep\(",
        "time.sleep(0.1)",
        folders=("tests",),
        except_in=("tests/unit/test_house_rules.py",),
    ),
    Rule(
        "no path of one machine",
        r"(?<![\w.])/(work|root)/",
        "see /" + "work/notes.md",
        folders=(".",),
        suffixes=tuple(TEXTS),
    ),
    Rule(
        "no package registry is named: a firm has its own",
        r"pypi\.org|pythonhosted|registry\.npmjs|deb\.debian\.org",
        "--index-url https://pypi" + ".org/simple",
        folders=(".",),
        except_in=("tests/unit/test_house_rules.py",),
        suffixes=tuple(TEXTS),
    ),
]


def files(rule: Rule) -> list[Path]:
    found = []
    for folder in rule.folders:
        for place, folders, names in os.walk(ROOT / folder):
            folders[:] = sorted(set(folders) - NOT_OURS)
            found += [Path(place, name) for name in sorted(names)]
    return [
        path
        for path in found
        if path.suffix in rule.suffixes
        and not path.relative_to(ROOT).as_posix().startswith(rule.except_in or ("\0",))
        and b"\0" not in path.read_bytes()[:8192]  # a picture or a database has no lines
    ]


@pytest.mark.parametrize("rule", RULES, ids=[rule.sentence for rule in RULES])
def test_rule_holds(rule: Rule) -> None:
    pattern = re.compile(rule.pattern)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files(rule)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found, rule.sentence


@pytest.mark.parametrize("rule", RULES, ids=[rule.sentence for rule in RULES])
def test_rule_finds_its_breach(rule: Rule) -> None:
    assert re.search(rule.pattern, rule.breach)


def test_no_file_is_named_after_nothing() -> None:
    homeless = {"utils.py", "helpers.py", "common.py", "misc.py", "manager.py"}
    found = [path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")]
    assert found
    assert not [path for path in found if path.name in homeless]


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_is_a_typed_package(layer: str) -> None:
    assert (ROOT / layer / "py.typed").is_file()
    assert (ROOT / layer / "__init__.py").is_file()


def test_hanse_itself_is_a_namespace_package() -> None:
    import hanse  # noqa: PLC0415  a namespace package has nothing to import at the top

    assert getattr(hanse, "__file__", None) is None


def test_every_module_begins_with_its_theory() -> None:
    silent = [
        path
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
        if "__pycache__" not in path.parts
        and not path.read_text(encoding="utf-8").lstrip().startswith(('"""', 'r"""'))
    ]
    assert not silent
