"""The pages for people, run: every ``hanse`` line of their ``sh`` blocks, in order, literally.

A line ``# on PLACE`` says at whose computer the next lines are typed; each place has its own
home, and the files of the current folder are carried along.  DEVICE, ENTRY, LISTING,
CERTIFICATE, JOB, TRIAL and DRAFT stand for what a page says they stand for.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hanse.app.bootstrap import Bootstrap
from hanse.app.cli import main
from hanse.core.errors import EXIT_DONE
from hanse.core.keystore.keystore import KdfCost
from hanse.core.limits import KDF_MEMORY_BYTES_MIN, KDF_OPS_MIN
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.fakes.console import FakeConsole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
PASSPHRASE = "a long enough passphrase"
CHEAP = KdfCost(KDF_OPS_MIN, KDF_MEMORY_BYTES_MIN)
SAMPLES = ROOT / "resources" / "sample_models"
WORD = re.compile(r"(?<!\S)(\d+) ([a-z]+)")


class Person(FakeConsole):
    """Answers what is asked, from what was shown before."""

    def __init__(self, phrase: str) -> None:
        super().__init__(has_person=True)
        self.phrase = phrase

    def ask(self, question: str) -> str:
        self.questions.append(question)
        if shown := dict(WORD.findall("\n".join(self.errs))):
            words = [shown[str(number)] for number in range(1, 25) if str(number) in shown]
            self.phrase = " ".join(words) if len(words) == 24 else self.phrase
        if match := re.search(r"Word (\d+) of the phrase", question):
            return self.phrase.split()[int(match[1]) - 1]
        for part, answer in (
            ("assphrase", PASSPHRASE),
            ("phrase", self.phrase),
            ("[y/", "y"),
            ("Enter", ""),
        ):
            if part in question:
                return answer
        raise AssertionError(question)


@dataclass
class Story:
    """Places, their homes, and one phrase for each name."""

    base: Path
    monkeypatch: pytest.MonkeyPatch
    clock: FakeClock = field(default_factory=lambda: FakeClock(1_800_000_000_000))
    chance: SeededChance = field(default_factory=lambda: SeededChance("how to"))
    phrases: dict[str, str] = field(default_factory=dict)
    who: str = "Anna"

    def go_to(self, place: str) -> None:
        home = self.base / place.replace(" ", "-")
        for name, part in {
            "HOME": "",
            "XDG_DATA_HOME": "data",
            "XDG_CONFIG_HOME": "config",
            "XDG_STATE_HOME": "state",
        }.items():
            self.monkeypatch.setenv(name, str(home / part))
        self.who = "Bo" if place.startswith("Bo") else "Anna"

    def run(self, line: str) -> str:
        console = Person(self.phrases.get(self.who, ""))
        self.clock.advance(60_000)
        bootstrap = Bootstrap(
            console=console, environ={}, clock=self.clock, chance=self.chance, kdf=CHEAP
        )
        arguments = shlex.split(line)
        assert arguments.pop(0) == "hanse"
        status = main(arguments, bootstrap)
        self.phrases[self.who] = console.phrase
        assert status == EXIT_DONE, (line, console.out_text, console.err_text)
        return console.out_text

    def ask(self, line: str) -> list[dict[str, object]]:
        result = self.result(line)
        assert isinstance(result, list)
        return result

    def result(self, line: str) -> object:
        return json.loads(self.run(line + " --json"))["result"]

    def stands_for(self, line: str) -> str:
        """Put in what the words in capitals mean on the page."""
        for word, find in self.words().items():
            if word in line:
                line = line.replace(word, find())
        return line

    def words(self) -> dict[str, Callable[[], str]]:
        return {
            "DEVICE": lambda: next(
                str(it["device"])[:12]
                for it in self.ask("hanse account devices")
                if not it["is_this"]
            ),
            "ENTRY": lambda: str(self.ask("hanse ledger show")[0]["entry_id"]),
            "LISTING": self.listing,
            "CERTIFICATE": lambda: str(self.certificates()[0]["cert"])[:12],
            "JOB": lambda: str(self.ask("hanse job list")[0]["job"]),
            "TRIAL": lambda: str(self.ask("hanse trial list")[0]["trial"])[:12],
            "DRAFT": lambda: str(self.ask("hanse listing drafts")[0]["draft_id"])[:12],
        }

    def listing(self) -> str:
        """Return the newest own Listing, or the one that was found."""
        rows = self.ask("hanse listing mine") or self.result("hanse listing search")["rows"]
        return str(rows[0]["listing"])[:12]

    def certificates(self) -> list[dict[str, object]]:
        return self.result(f"hanse certificate list {self.listing()}")["certificates"]


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """Anna has registered on her laptop, made a backup and exported her Feeds; Bo is there too."""
    folder = tmp_path / "stick"
    (folder / "tests" / "vectors").mkdir(parents=True)
    for file in (ROOT / "tests" / "vectors").glob("*.json"):
        shutil.copy(file, folder / "tests" / "vectors")
    monkeypatch.chdir(folder)
    return Story(tmp_path, monkeypatch)


def tell(story: Story, *lines: str) -> None:
    for line in lines:
        if line.startswith("# on "):
            story.go_to(line.removeprefix("# on "))
        else:
            story.run(story.stands_for(line))


def lines_of(page: str) -> Iterator[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith(("hanse ", "# on ")):
                yield line


def test_the_first_account_in_the_readme(story):
    lines = list(lines_of("README.md"))
    assert len(lines) > 10
    tell(story, *lines)
    assert story.ask("hanse ledger feeds")
    story.go_to("Bo's laptop")
    assert {row["is_own"] for row in story.ask("hanse ledger feeds")} == {True, False}


def test_backup_and_restore(story):
    tell(
        story,
        "# on the laptop",
        "hanse account create --name Anna",
        "hanse ledger export anna.hanse-feed",
    )
    tell(story, *lines_of("docs/how-to/backup-and-restore.md"))
    assert len(story.ask("hanse account devices")) == 2
    story.go_to("the new laptop")
    assert len(story.ask("hanse account devices")) == 2


def test_a_lost_laptop(story):
    tell(
        story,
        "# on Bo's computer",
        "hanse account create --name Bo",
        "# on the old laptop",
        "hanse account create --name Anna",
        "hanse account profile --about old",
        "hanse backup make anna.hanse-backup",
    )
    tell(story, *lines_of("docs/how-to/lost-laptop.md"))
    states = [row["state"] for row in story.ask("hanse account devices")]
    assert sorted(states) == ["live", "revoked"]
    # The new phrase is the one that counts now.
    story.run("hanse account confirm")
    story.run("hanse ledger verify")


def test_verify_a_file(story):
    tell(
        story,
        "# on the laptop",
        "hanse account create --name Anna",
        "hanse account profile --about words",
    )
    tell(story, *lines_of("docs/how-to/verify-a-file.md"))


def test_sell_a_model(story):
    shutil.copy(ROOT / "examples" / "image_recognition_model.h5", ".")
    shutil.copy(
        ROOT / "resources" / "sample_models" / "image-recognition" / "model.onnx",
        "better_model.onnx",
    )
    tell(story, *lines_of("docs/how-to/sell.md"))
    rows = story.ask("hanse listing mine")
    assert [row["state"] for row in rows] == ["withdrawn"]
    assert json.loads(Path("bom.json").read_text(encoding="utf-8"))["specVersion"] == "1.6"


def test_describe_a_model_in_a_file(story):
    page = (ROOT / "docs/how-to/model-card.md").read_text(encoding="utf-8")
    (card,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    Path("card.toml").write_text(card, encoding="utf-8")
    shutil.copy(ROOT / "resources" / "sample_models" / "fraud-detection" / "model.onnx", ".")
    named = "--name Fraud --description Finds --price 1 --sector finance"
    tell(
        story,
        "# on the laptop",
        "hanse account create --name Anna",
        f"hanse listing publish model.onnx {named} --card card.toml --draft-only",
    )
    (draft,) = story.ask("hanse listing drafts")
    assert draft["state"] == "DRAFTED"
    assert draft["draft"]["card"]["claims"][0]["value_micro"] == 974_000
    assert not [one for one in draft["problems"] if not one["is_warning"]]


def copy_sample(name: str) -> None:
    for file, copy in (("model.onnx", "model.onnx"), ("sample.csv", "rows.csv")):
        shutil.copy(SAMPLES / name / file, copy)


def test_certify_a_model(story):
    copy_sample("diagnosis")
    for line in lines_of("docs/how-to/certify.md"):
        tell(story, line)
    newest, at_publishing = story.certificates()
    assert (newest["level"], at_publishing["level"]) == (3, 2)
    assert newest["revocation"] is not None
    story.go_to("Bo's laptop")
    assert [it["role"] for it in story.certificates()] == ["tester", "seller", "seller"]
    assert story.certificates()[0]["verdict"] == "agree"


class PassingClock(FakeClock):
    """Time that passes while somebody waits for it."""

    def now_ms(self) -> int:
        self.advance(500)
        return super().now_ms()


def test_try_before_you_buy(story):
    copy_sample("fraud-detection")
    shutil.copy(SAMPLES / "fraud-detection" / "model.onnx", "own.onnx")
    story.clock = PassingClock(story.clock.now_ms())
    for line in lines_of("docs/how-to/try-before-you-buy.md"):
        tell(story, line)
    assert Path("table.csv").read_text(encoding="utf-8").count("\n") == 3


def test_run_a_model(story):
    copy_sample("fraud-detection")
    tell(story, *lines_of("docs/how-to/run.md"))
    answers = Path("answers.csv").read_text(encoding="utf-8").splitlines()
    assert len(answers) == 201
    assert answers[0].startswith("amount,")


def test_every_how_to_page_is_run():
    # docs/how-to/node.md is of a program that stays: integration/test_node.py and test_holder.py
    pages = {path.name for path in (ROOT / "docs" / "how-to").glob("*.md")}
    told = Path(__file__).read_text(encoding="utf-8")
    assert [page for page in pages if f"docs/how-to/{page}" not in told] == []
