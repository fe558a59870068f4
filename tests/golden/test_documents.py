"""Documents that say what is: their paths exist, their words are used, their bytes are ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hanse.app.command_table import COMMANDS
from hanse.core.crypto.phrase import parse_phrase, root_secret
from hanse.core.engine.accounts import REASONS
from hanse.core.keystore.guards import CopyState
from hanse.core.ledger.entry import build_entry, sign_entry
from hanse.core.ledger.feed import BodyState, FeedState
from hanse.core.ledger.kinds import INNER_KINDS, KINDS, Identity1, encode_body
from hanse.core.ledger.quotas import Tier
from hanse.core.ledger.tree import Peaks
from hanse.core.model.trial import TrialState
from hanse.core.store.drafts import DraftState
from hanse.core.store.jobs import JobState
from tests.golden import make_protocol
from tests.vectors import make_feeds, make_keys

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md")),
        *DOCS.rglob("*.md"),
        ROOT / "tests" / "vectors" / "README.md",
    ]
)
GLOSSARY = (DOCS / "glossary.md").read_text(encoding="utf-8")
PROTOCOL = (DOCS / "protocol.md").read_text(encoding="utf-8")

LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
CODE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"\bhanse ((?:[a-z]+)(?: [a-z]+)?)")
WORDS = {command.words for command in COMMANDS} | {command.words[:1] for command in COMMANDS}


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- links, paths, commands -----------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_somewhere(page):
    broken = []
    for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
        if target and "://" not in target and not (page.parent / target).exists():
            broken.append(target)
    assert broken == []


def test_every_path_on_the_map_exists():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = {
        found
        for found in CODE.findall(text)
        if re.fullmatch(r"[.\w/-]+", found) and ("/" in found or found.endswith((".py", ".toml")))
    }
    assert len(named) > 40
    not_ours = {"store/", *KINDS}  # in an Account's folder; the names of kinds
    assert [it for it in sorted(named - not_ours) if not (ROOT / it).exists()] == []


def test_every_source_folder_is_on_the_map():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    folders = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "core").iterdir()
        if path.is_dir() and path.name[0] not in "_."
    ]
    assert [folder for folder in folders if f"`{folder}/`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_shown_is_one(page):
    text = page.read_text(encoding="utf-8")
    shown = [match for code in CODE.findall(text) for match in COMMAND.findall(code)]
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        shown += [match for line in block.splitlines() for match in COMMAND.findall(line)]
    unknown = [
        words
        for words in shown
        if tuple(words.split()) not in WORDS and tuple(words.split()[:1]) not in WORDS
    ]
    assert unknown == []
    groups = {command.words[0] for command in COMMANDS if len(command.words) == 2}
    wrong = [
        words
        for words in shown
        if words.split()[0] in groups
        and len(words.split()) == 2
        and tuple(words.split()) not in WORDS
    ]
    assert wrong == []


@pytest.mark.parametrize("page", [it for it in PAGES if page_id(it) != "docs/cli.md"], ids=page_id)
def test_every_option_shown_is_one(page):
    text = page.read_text(encoding="utf-8")
    options = {
        parameter.name
        for command in COMMANDS
        for parameter in command.parameters
        if parameter.is_option
    } | {"--help", "--json", "--data-dir", "--lang", "--passphrase-file", "--version"}
    lines = [code for code in CODE.findall(text) if code.startswith("hanse ")]
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        lines += [line for line in block.splitlines() if line.startswith("hanse ")]
    shown = {option for line in lines for option in re.findall(r"(?<!\S)--[a-z-]+", line)}
    assert shown - options == set()


# --- words ----------------------------------------------------------------------------------


def test_every_kind_is_in_the_glossary_or_the_protocol():
    known = GLOSSARY + PROTOCOL
    assert [kind for kind in (*KINDS, *INNER_KINDS) if f"`{kind}`" not in known] == []


@pytest.mark.parametrize(
    "states",
    [BodyState, FeedState, CopyState, DraftState, JobState, TrialState],
    ids=lambda it: it.__name__,
)
def test_every_state_is_in_the_glossary(states):
    assert [it.value for it in states if f"`{it.value}`" not in GLOSSARY] == []


def test_tiers_and_reasons_have_words():
    assert [it.value for it in Tier if it.value not in GLOSSARY] == []
    assert [reason for reason in REASONS if f"`{reason}`" not in PROTOCOL] == []


def test_no_word_is_explained_twice():
    rows = re.findall(r"^\| ([A-Z][^|]*?) \|", GLOSSARY, re.MULTILINE)
    words = [word for row in rows for word in row.split(", ")]
    assert sorted({word for word in words if words.count(word) > 1}) == []


# --- decisions ------------------------------------------------------------------------------


def test_every_decision_is_numbered_and_in_the_index():
    folder = DOCS / "decisions"
    records = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert f"({path.name})" in index
        assert text.startswith(f"# {path.name[:4]}: ")
        heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert heads == ["Context", "Options", "Decision", "Consequences"]


# --- the protocol ---------------------------------------------------------------------------


def test_the_made_parts_of_the_protocol_are_those_of_the_program():
    assert make_protocol.document(PROTOCOL) == PROTOCOL


def test_every_kind_has_its_fields_in_the_protocol():
    for kind, rule in KINDS.items():
        section = PROTOCOL.partition(f"#### `{kind}`\n")[2].partition("####")[0]
        assert [
            name for name in rule.body.__struct_fields__ if f"| `{name}` |" not in section
        ] == []


def test_the_example_is_the_first_vector():
    first = json.loads(make_feeds.FILE.read_text(encoding="utf-8"))["feeds"][0]
    assert first["note"] == make_feeds.EXAMPLE
    shown = re.sub(r"\s+", "", PROTOCOL.partition("made: example")[2])
    for entry in first["entries"]:
        for part in ("header", "signature", "body"):
            assert entry[part] in shown


def test_the_program_writes_the_first_entry_of_the_example_from_the_phrase():
    secret = root_secret(parse_phrase(make_keys.ENGLISH))
    root = secret.root_signer(0)
    body = Identity1(
        salt=secret.identity_salt(0),
        identity=root.public_key,
        r=0,
        epoch=0,
        box=secret.seeds(0).box_secret().public_key,
        rotated_from=None,
    )
    unsigned = build_entry(
        root.public_key, None, Peaks(), "identity/1", encode_body(body), now_ms=0
    )
    written = make_feeds.example()[0].entries[0]
    assert sign_entry(unsigned, root).entry_id == written.id
