"""Selling and finding models at the terminal, over the real engine, good and bad input."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
from importlib.resources import as_file, files

import pytest

from hanse.core.engine.home import Home
from hanse.core.errors import (
    EXIT_DONE,
    EXIT_ENVIRONMENT,
    EXIT_NO,
    EXIT_REFUSED,
    EXIT_WRONG_USE,
)
from hanse.core.keystore.guards import FolderLock
from hanse.core.model.control import Control
from hanse.core.sentences import LANGUAGES
from tests.fakes.chance import SeededChance
from tests.fakes.terminal import Terminal

MODEL_NAME = "图像识别模型"
DONE = {"en": "Model '{}' has been published.", "zh_CN": "模型 '{}' 已发布。"}
FAILED = {"en": "Model '{}' could not be published.", "zh_CN": "模型 '{}' 发布失败。"}
FIRST_SEED = 1
SEEDS = itertools.count(100)  # one for each model file, so that no two are the same
HAN = re.compile(r"[\u4e00-\u9fff]")
PICKLE = b"\x80\x04}\x94\x8c\x01a\x94K\x01s."  # {"a": 1}
YEAR_MS = 365 * 24 * 60 * 60 * 1000
UNTESTED = ("--untested",)  # starts one Worker less, where the Level does not matter


class Shop:
    """One seller at a terminal."""

    def __init__(self, base, name="Anna", *, is_confirmed=True):
        base.mkdir(parents=True, exist_ok=True)
        environ = {"HANSE_CONFIG_DIR": str(base / "config")}
        self.term = Terminal(base, environ=environ, chance=SeededChance(name))
        self.folder = base / "data"
        where = ("--data-dir", self.folder)
        made = self.term.json("account", "create", "--name", name, *where, *self.term.secret)
        self.identity = made["account"]["identity"]
        if is_confirmed:
            phrase = self.term.file("phrase", " ".join(made["phrase"]) + "\n")
            self.ok("account", "confirm", "--phrase-file", phrase)

    @property
    def common(self):
        return ("--data-dir", self.folder, *self.term.secret)

    def run(self, *arguments, **options):
        return self.term.run(*arguments, *self.common, **options)

    def ok(self, *arguments, **options):
        return self.term.ok(*arguments, *self.common, **options)

    def json(self, *arguments, **options):
        return self.term.json(*arguments, *self.common, **options)

    def publish(self, path, *more, name="N", price="100", **options):
        """Publish without looking inside the model twice; return the result."""
        given = ("--name", name, "--description", "d", "--price", price, "--yes", "--as-is")
        return self.json("listing", "publish", path, *given, *more, **options)

    def refused(self, path, *more, language="en", name="N", price="1"):
        """Publish what cannot be, and return status and printed lines."""
        given = ("--name", name, "--description", "d", "--price", price, "--yes")
        status = self.run("listing", "publish", path, *given, *more, "--lang", language)
        return status, self.out

    @property
    def out(self):
        return self.term.console.out_text.split("\n")

    @property
    def said(self):
        return self.term.console.err_text


def weights(path, seed=None):
    """Write a small sound model file, another one for each ``seed``."""
    seed = next(SEEDS) if seed is None else seed
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + seed.to_bytes(8, "little"))
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("listings")


@pytest.fixture(scope="module")
def shop(base):
    """A seller who offers one converted model with two licences and one of weights alone."""
    shop = Shop(base / "anna")
    sample = files("hanse.resources").joinpath("sample_models", "demand-forecast", "model.onnx")
    with as_file(sample) as path:
        shutil.copyfile(path, base / "model.onnx")
    terms = ("--price-term", "launch=-20.00", "--tier", "standard=commercial-1")
    more = ("--tier", "team=saas-1:250", "--sector", "零售", "--tag", "demand", "--currency", "EUR")
    shop.first = shop.json(
        *("listing", "publish", base / "model.onnx", "--name", MODEL_NAME, "--price", "100"),
        *("--description", "用于图像识别的AI模型", "--yes", "--lang", "zh_CN", *terms, *more),
    )
    second = ("--currency", "USD")
    path = weights(base / "w.safetensors", FIRST_SEED)
    shop.second = shop.publish(path, *second, name="Fraud detection")
    return shop


@pytest.fixture(scope="module")
def bob(base, shop):
    """Another seller, who has heard of the first."""
    bob = Shop(base / "bob", "Bob")
    feed = base / "anna.hanse-feed"
    shop.ok("ledger", "export", feed)
    bob.ok("ledger", "import", feed)
    return bob


@pytest.fixture
def tidy(bob):
    """A seller without Drafts, who leaves none behind."""
    yield bob
    for draft in bob.json("listing", "drafts"):
        bob.ok("listing", "draft", draft["draft_id"], "--drop", "--yes")


@pytest.fixture
def own(tidy, tmp_path):
    """A seller with one Listing that may be changed."""
    path = weights(tmp_path / "w.safetensors")
    tidy.first = tidy.publish(path, *UNTESTED, name=f"Model {path.parent.name}")
    return tidy


@pytest.fixture(scope="module")
def kept(base, bob):
    """A Listing of the other seller that stays as it is, and its file."""
    path = weights(base / "kept.safetensors")
    return bob.publish(path, *UNTESTED, name="Kept"), path


# --- publishing -----------------------------------------------------------------------------


def test_published_is_one_result_with_every_id(shop):
    first = shop.first
    assert first["transaction"] == {
        "model_name": MODEL_NAME,
        "model_description": "用于图像识别的AI模型",
        "model_file": "model.onnx",
        "price": "100",
        "status": "published",
    }
    assert {len(first[name]) for name in ("listing", "release", "artifact", "author")} == {64}
    assert (first["level"], shop.second["level"]) == (2, 1)  # weights alone do not run


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_success_line_is_the_first_and_exact(tidy, tmp_path, language):
    path = weights(tmp_path / "x.safetensors")
    given = ("--name", "图像 '识别'", "--description", "d", "--price", "1", "--yes", "--as-is")
    out = tidy.ok("listing", "publish", path, *given, "--lang", language)
    assert out.split("\n")[0] == DONE[language].format("图像 '识别'")
    own = [it for it in tidy.json("listing", "mine") if it["title"] == "图像 '识别'"]
    assert any(it["listing"] in out for it in own)


def test_the_lines_are_utf8_bytes_under_the_c_locale(tidy, tmp_path):
    path = weights(tmp_path / "c.safetensors")
    arguments = ["listing", "publish", str(path), "--name", MODEL_NAME, "--description", "用"]
    arguments += ["--price", "100", "--yes", "--as-is", *UNTESTED]
    common = [str(one) for one in tidy.common]
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "hanse.app.cli",
            "--lang",
            "zh_CN",
            *common,
            *arguments,
        ],
        env={"LC_ALL": "C", "LANG": "C", **tidy.term.environ, "HOME": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (EXIT_DONE, b"")
    assert done.stdout.startswith(DONE["zh_CN"].format(MODEL_NAME).encode() + b"\n")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_person_sees_what_will_be_signed_and_says_no(tidy, tmp_path, language):
    path = weights(tmp_path / "n.safetensors")
    before = len(tidy.json("ledger", "show"))
    answers = [MODEL_NAME, "用于识别", "12.50", "n"]
    status = tidy.run("listing", "publish", path, "--as-is", "--lang", language, answers=answers)
    assert status == EXIT_NO
    assert (
        tidy.out[0]
        == {"en": "Cancelled; the draft is kept.", "zh_CN": "已取消，草稿已保存。"}[language]
    )
    for kind in ("listing/1", "release/1", "price/1"):
        assert kind in tidy.said
    assert tidy.term.console.shown[-1] == ""
    assert len(tidy.json("ledger", "show")) == before
    [draft] = tidy.json("listing", "drafts")
    assert (draft["state"], draft["draft"]["title"]) == ("DRAFTED", MODEL_NAME)


def test_a_person_who_goes_away_while_asked_has_said_no(tidy, tmp_path):
    path = weights(tmp_path / "n.safetensors")
    given = ("--name", "N", "--description", "d", "--price", "1", "--as-is")
    assert tidy.run("listing", "publish", path, *given, answers=[]) == EXIT_NO


def test_what_is_signed_is_what_was_shown(tidy, tmp_path):
    path = weights(tmp_path / "s.safetensors")
    given = ("--name", "N", "--description", "d", "--price", "1", "--as-is")
    tidy.ok("listing", "publish", path, *given, answers=["y"])
    said = tidy.said
    shown = re.findall(r"^  entry +([0-9a-f]{64})$", said, re.MULTILINE)
    newest = tidy.json("ledger", "show", "--tail", "4")
    assert [it["entry_id"] for it in newest] == shown or [
        it["entry_id"] for it in reversed(newest)
    ] == shown
    assert "The certificate states:" in said
    assert "Tested here before publishing" in said


def test_a_cancelled_work_says_how_to_go_on(tidy, tmp_path, monkeypatch):
    path = weights(tmp_path / "k.safetensors")

    def interrupted(self, stage, done, total):
        self.report(stage, done, total)
        signal.raise_signal(signal.SIGINT)
        checkpoint(self, stage, done, total)

    checkpoint = Control.checkpoint
    monkeypatch.setattr(Control, "checkpoint", interrupted)
    status, out = tidy.refused(path, language="zh_CN")
    assert (status, out) == (
        EXIT_NO,
        ["已取消，没有签署任何内容。再次运行同一命令即可从中断处继续。"],
    )
    monkeypatch.undo()
    assert tidy.publish(path)["seq"]


# --- bad input ------------------------------------------------------------------------------


def bad_files(base):
    empty = base / "empty.onnx"
    empty.write_bytes(b"")
    pickled = base / "pickled.onnx"
    pickled.write_bytes(PICKLE)
    folder = base / "folder"
    folder.mkdir(exist_ok=True)
    weights(folder / "w.safetensors")
    link = folder / "out"
    if not link.is_symlink():
        link.symlink_to("/etc/hostname")
    return {
        "missing": (base / "nothing.onnx", EXIT_WRONG_USE, "nothing.onnx"),
        "empty": (empty, EXIT_WRONG_USE, "empty.onnx"),
        "link out": (folder, EXIT_WRONG_USE, "/etc/hostname"),
        "pickle": (pickled, EXIT_REFUSED, "pickle"),
    }


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("which", ["missing", "empty", "link out", "pickle"])
def test_a_bad_file_gets_its_sentence_and_leaves_nothing(shop, tmp_path, which, language):
    path, code, named = bad_files(tmp_path)[which]
    drafts = shop.json("listing", "drafts")
    status, out = shop.refused(path, language=language)
    assert (status, out[0]) == (code, FAILED[language].format("N"))
    assert len(out) == 2
    assert named in out[1]
    assert bool(HAN.search(out[1])) == (language == "zh_CN")
    assert shop.json("listing", "drafts") == drafts


BAD_WORDS = [
    (("--price", "-1"), "-1 "),
    (("--price", "12.345", "--currency", "EUR"), "12.345 EUR"),
    (("--price", "abc"), "abc"),
    (("--price", "1,5"), "1,5"),
    (("--currency", "dollars"), "USD"),
    (("--name", "n" * 121), "121"),
    (("--name", "a\x07b"), ""),
    (("--sector", "finanse"), "finance"),
    (("--task", "image-clasification"), "image-classification"),
    (("--licence", "comercial"), "commercial-1"),
    (("--language", "english"), "english"),
    (("--release-version", "one"), "one"),
    (("--tag", "!"), "!"),
    (("--capacity", "0"), "0"),
    (("--valid-until", "2001-01-01"), "2001"),
    (("--valid-until", "soon"), "soon"),
    (("--tier", "x"), "x"),
    (("--base", "deadbeefdeadbeef"), "deadbeefdeadbeef"),
    (("--card", "/nothing.toml"), "nothing.toml"),
    (("--spdx", "EUPL-1.2"), "EUPL-1.2"),
]


@pytest.mark.parametrize(
    ("more", "named", "language"),
    [(*case, LANGUAGES[number % 2]) for number, case in enumerate(BAD_WORDS)],
    ids=lambda it: " ".join(it)[:30] if isinstance(it, tuple) else "",
)
def test_bad_words_are_told_before_a_byte_is_copied(shop, base, more, named, language):
    before = shop.json("store", "show")
    status, out = shop.refused(base / "model.onnx", *more, language=language)
    assert status == EXIT_WRONG_USE
    name = dict([more[:2]]).get("--name", "N")
    assert out[0] == FAILED[language].format(name)
    assert named in out[1]
    assert all(HAN.search(one) for one in out if one) or language == "en"
    assert shop.json("store", "show")["objects"] == before["objects"]


def test_every_problem_is_told_at_once(shop, base):
    more = ("--currency", "XYZ", "--sector", "x", "--tier", "y", "--tag", "!", "--trial", "z")
    status, out = shop.refused(base / "model.onnx", *more, name="", price="")
    assert status == EXIT_WRONG_USE
    assert len(out) == 1 + 7
    assert out[0] == FAILED["en"].format("model.onnx")
    error = shop.json("listing", "publish", base / "model.onnx", "--yes", status=EXIT_WRONG_USE)
    assert error["code"] == "publish.failed"
    assert len(error["values"]["reasons"]) == 3


def test_a_phrase_that_is_not_confirmed_forbids_to_sell(tmp_path):
    shop = Shop(tmp_path, is_confirmed=False)
    path = weights(tmp_path / "w.safetensors")
    status, out = shop.refused(path, language="zh_CN")
    assert (status, len(out)) == (EXIT_REFUSED, 2)
    assert "hanse account confirm" in out[1]
    kept = shop.json("listing", "publish", path, "--draft-only", "--as-is")
    assert kept["draft"]["state"] == "PREPARED"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_locked_account_or_nobody_to_ask_is_said_at_once(shop, base, tmp_path, language):
    given = ("listing", "publish", base / "model.onnx", "--name", "N", "--description", "d")
    given = (*given, "--price", "1", "--lang", language)
    assert shop.run(*given) == EXIT_WRONG_USE
    assert "--yes" in shop.said
    wrong = tmp_path / "wrong"
    wrong.write_text("not the passphrase", "utf-8")
    wrong.chmod(0o600)
    arguments = (*given, "--yes", "--data-dir", shop.folder)
    assert shop.term.run(*arguments, "--passphrase-file", wrong) == EXIT_REFUSED
    assert shop.term.run(*arguments) == EXIT_WRONG_USE
    assert "--passphrase-file" in shop.said
    assert shop.term.run(*arguments, "--data-dir", tmp_path / "none") == EXIT_WRONG_USE
    assert "hanse account create" in shop.said


def test_a_folder_that_another_process_holds_is_an_environment_fault(shop, base):
    with FolderLock(shop.folder):
        status = shop.run("listing", "publish", base / "model.onnx", "--yes")
    assert status == EXIT_ENVIRONMENT


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_model_that_somebody_offers_already_names_him(shop, tidy, tmp_path, language):
    (tmp_path / "copied").mkdir()
    copied = weights(tmp_path / "copied" / "w.safetensors", FIRST_SEED)
    status, out = tidy.refused(copied, "--as-is", language=language)
    assert (status, out[0]) == (EXIT_REFUSED, FAILED[language].format("N"))
    for named in ("Fraud detection", "Anna", shop.identity, shop.second["release"]):
        assert named in out[1]
    # What he said to do: name it as the base.
    [draft] = tidy.json("listing", "drafts")
    base = ("--base", shop.second["release"][:10])
    error = tidy.json(
        "listing", "resume", draft["draft_id"][:8], "--yes", *base, status=EXIT_REFUSED
    )
    assert "Fraud detection" in error["values"]["reasons"][0]  # its licence forbids it


def test_the_same_files_twice_name_the_own_listing(tidy, kept):
    first, path = kept
    status, out = tidy.refused(path, "--as-is")
    assert status == EXIT_REFUSED
    assert first["listing"] in out[1]
    assert "hanse listing resume" in out[-1]


# --- Drafts ---------------------------------------------------------------------------------


def test_a_draft_is_kept_shown_mended_and_published(tidy, tmp_path):
    path = weights(tmp_path / "d.safetensors")
    more = ("--sector", "finance", "--draft-only", "--as-is", "--name", "Scores")
    kept = tidy.json("listing", "publish", path, *more)["draft"]
    short = kept["draft_id"][:8]
    assert (kept["state"], kept["draft"]["title"]) == ("PREPARED", "Scores")
    shown = tidy.ok("listing", "draft", short, "--lang", "zh_CN")
    assert "缺少价格。" in shown
    assert "Art. 5" in shown
    table = tidy.ok("listing", "drafts")
    assert short in table
    given = ("--description", "d", "--price", "5", "--sector", "", "--yes")
    assert tidy.ok("listing", "resume", short, *given).split("\n")[0] == DONE["en"].format("Scores")
    assert tidy.json("listing", "drafts") == []
    [newest] = [it for it in tidy.json("listing", "mine") if it["title"] == "Scores"]
    assert (newest["sectors"], newest["lang"]) == ([], "en")
    assert tidy.run("listing", "resume", kept["draft_id"], "--yes") != EXIT_DONE


def test_a_draft_is_dropped_after_a_yes(tidy, tmp_path):
    path = weights(tmp_path / "d.safetensors")
    kept = tidy.json("listing", "publish", path, "--draft-only", "--as-is")["draft"]
    assert tidy.run("listing", "draft", kept["draft_id"], "--drop", answers=["n"]) == EXIT_NO
    tidy.ok("listing", "draft", kept["draft_id"], "--drop", "--yes")
    assert "listing publish" in tidy.ok("listing", "drafts")
    error = tidy.json("listing", "draft", kept["draft_id"], status=EXIT_WRONG_USE)
    assert error["code"] == "draft.unknown"
    error = tidy.json("listing", "draft", "12345678", status=EXIT_WRONG_USE)
    assert error == {"code": "id.nothing", "values": {"found": "12345678", "thing": "draft"}}


def test_a_draft_with_unclear_words_is_not_kept(tidy, tmp_path):
    path = weights(tmp_path / "d.safetensors")
    assert tidy.run("listing", "publish", path, "--draft-only", "--tier", "x") == EXIT_WRONG_USE
    assert tidy.json("listing", "drafts") == []


# --- afterwards -----------------------------------------------------------------------------


def test_a_listing_is_amended_paused_opened_and_withdrawn(own):
    short = own.first["listing"][:8]
    own.ok("listing", "amend", short, "--price", "120", "--name", "二号模型", answers=["y"])
    assert {"listing/1", "price/1"} <= set(re.findall(r"\w+/1", own.said))
    assert "二号模型" in own.ok("listing", "search", "二号")
    own.ok("listing", "pause", short, "--yes")
    assert "Found: 0" in own.ok("listing", "search", "二号")
    assert "[paused]" in own.ok("listing", "search", "二号", "--paused")
    own.ok("listing", "open", short, "--yes")
    assert "Found: 1" in own.ok("listing", "search", "二号")
    assert own.run("listing", "withdraw", short, answers=["n"]) == EXIT_NO
    own.ok("listing", "withdraw", short, "--yes")
    assert "Found: 0" in own.ok("listing", "search", "二号", "--paused", "--expired")
    assert "已撤下" in own.ok("listing", "show", short, "--lang", "zh_CN")
    assert own.run("listing", "open", short, "--yes", "--lang", "zh_CN") == EXIT_REFUSED
    assert "二号模型" in own.out[0]


def test_an_amendment_that_breaks_rules_says_all_of_them(bob, kept):
    short = kept[0]["listing"][:8]
    error = bob.run("listing", "amend", short, "--price", "-1", "--tag", "!", "--yes")
    assert (error, len(bob.out)) == (EXIT_REFUSED, 2)
    assert bob.run("listing", "amend", short, "--valid-until", "soon", "--yes") == EXIT_REFUSED
    assert bob.run("listing", "amend", short, "--yes") == EXIT_REFUSED
    assert "Nothing" in bob.out[0]


def test_a_retired_listing_names_its_successor(own, tmp_path):
    second = own.publish(weights(tmp_path / "two.safetensors"), *UNTESTED, name="Two")
    first = own.first["listing"]
    assert own.run("listing", "retire", first, "--successor", first, "--yes") == EXIT_REFUSED
    own.ok("listing", "retire", first, "--successor", second["listing"][:12], "--yes")
    assert second["listing"] in own.ok("listing", "show", first[:8])


def test_a_listing_that_expired_leaves_the_results_until_it_is_renewed(tmp_path):
    own = Shop(tmp_path / "cleo", "Cleo")
    path = weights(tmp_path / "w.safetensors")
    listing = own.publish(path, *UNTESTED, name="Bob")["listing"]
    own.term.clock.advance(YEAR_MS + 1)
    assert "Found: 0" in own.ok("listing", "search", "Bob")
    assert "Found: 1" in own.ok("listing", "search", "Bob", "--expired")
    assert "expired" in own.ok("listing", "show", listing)
    assert own.run("listing", "renew", listing, "--until", "never", "--yes") == EXIT_WRONG_USE
    assert own.run("listing", "renew", listing, "--until", "2001-01-01", "--yes") == EXIT_REFUSED
    own.ok("listing", "renew", listing[:8], "--until", "2029-06-01", "--yes")
    assert "Found: 1" in own.ok("listing", "search", "Bob")


def test_a_new_release_keeps_what_is_not_said_and_tells_what_changed(own, tmp_path):
    card = tmp_path / "card.toml"
    for number, value in ((1, "0.8"), (2, "0.9")):
        card.write_text(f'[[claims]]\nmetric = "accuracy"\nvalue = {value}\n', "utf-8")
        path = weights(tmp_path / f"r{number}.safetensors")
        arguments = ("--listing", own.first["listing"][:8], "--card", card, "--notes", "better")
        made = own.json("listing", "publish", path, "--yes", "--as-is", *UNTESTED, *arguments)
        assert made["listing"] == own.first["listing"]
    shown = own.json("listing", "show", own.first["listing"])
    row = shown["listing"]["row"]
    assert row["title"].startswith("Model ")
    assert [it["version"] for it in row["releases"]] == ["1.0.0", "1.1.0", "1.2.0"]
    [change] = shown["metric_changes"][made["release"]]
    assert (change["before_micro"], change["after_micro"]) == (800_000, 900_000)
    assert "accuracy: 0.8 → 0.9" in own.ok("listing", "show", own.first["listing"])


def test_a_listing_of_somebody_else_is_not_changed(shop, bob):
    error = bob.json("listing", "pause", shop.second["listing"], status=EXIT_WRONG_USE)
    assert error["code"] == "listing.not_yours"
    assert "Anna" in bob.ok("listing", "show", shop.second["listing"][:8])


# --- looking --------------------------------------------------------------------------------


def test_words_of_either_language_find_the_listing(shop):
    for words in (("图像",), ("识",), ("image",), ("recognition",), ()):
        assert MODEL_NAME in shop.ok("listing", "search", *words)
    assert "找到：0" in shop.ok("listing", "search", "没有这个词", "--lang", "zh_CN")


def test_a_row_has_the_price_of_the_language_and_what_one_decides_by(shop):
    out = shop.ok("listing", "search", "图像", "--lang", "zh_CN")
    for shown in (MODEL_NAME, "Anna", "商业使用", shop.first["listing"][:12]):
        assert shown in out
    row = shop.json("listing", "search", "图像")["rows"][0]
    assert (row["seller"], row["identity"]) == ("Anna", shop.identity)
    assert (row["currency"], row["exponent"], row["sectors"]) == ("EUR", 2, ["retail"])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--sector", "零售"), 1),
        (("--sector", "finance"), 0),
        (("--task", "图像分类"), 1),
        (("--format", "onnx"), 1),
        (("--format", "onnx", "--format", "safetensors"), 2),
        (("--licence", "commercial-1"), 2),
        (("--licence", "MIT"), 0),
        (("--right", "commercial", "--right", "fine-tune"), 2),
        (("--right", "resale"), 0),
        (("--trial", "sealed"), 0),
        (("--language", "zh-CN"), 1),
        (("--currency", "EUR", "--price-from", "50", "--price-to", "200"), 1),
        (("--currency", "eur", "--price-to", "1"), 0),
        (("--size-to", "1kB"), 1),
        (("--level", "1"), 2),
        (("--level", "2"), 1),
        (("--level", "3"), 0),
        (("--followed",), 0),
        (("--sort", "newest"), 2),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, tuple) else "",
)
def test_filters_choose(shop, options, found):
    assert shop.json("listing", "search", *options)["count"] == found


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--sector", "finanse"), "search.unknown_filter"),
        (("--right", "sell"), "search.unknown_filter"),
        (("--trial", "never"), "search.unknown_filter"),
        (("--price-to", "5"), "search.price_without_currency"),
        (("--sort", "price-up"), "search.price_without_currency"),
        (("--price-to", "x", "--currency", "EUR"), "money.unreadable"),
        (("--currency", "euros"), "money.unknown_currency"),
        (("--currency", "EUR", "--price-from", "9", "--price-to", "1"), "search.empty_range"),
        (("--size-to", "big"), "size.bad"),
        (("--level", "9"), "search.bad_query"),
        (("--seller", "hanse:id:x"), "id.bad"),
        (("--sort", "cheap"), "usage.bad_value"),
        (("--limit", "0"), "search.page_out_of_range"),
        (("--after", "nonsense"), "search.malformed_cursor"),
        (("--save", ""), "search.saved_bad"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, tuple) else "",
)
def test_a_bad_filter_is_named(shop, options, code):
    error = shop.json("listing", "search", *options, status=EXIT_WRONG_USE)
    assert error["code"] == code


def test_pages_follow_each_other_by_the_command_line_they_give(shop):
    first = shop.json("listing", "search", "--limit", "1")
    text = shop.ok("listing", "search", "--limit", "1")
    [command] = re.findall(r"More: hanse (.*)", text)
    second = shop.term.json(*command.split())
    rows = [it["listing"] for it in (*first["rows"], *second["rows"])]
    assert sorted(rows) == sorted([shop.first["listing"], shop.second["listing"]])
    assert second["next"] is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_facets_are_counted_in_the_words_of_the_language(shop, language):
    out = shop.ok("listing", "search", "--facets", "--lang", language)
    sector = {"en": "sector: retail 1", "zh_CN": "行业：零售 1"}[language]
    assert sector in out


def test_a_search_is_kept_looked_at_and_forgotten(tidy, tmp_path):
    tidy.ok("listing", "search", "--sector", "retail", "--save", "零售模型")
    more = ("--sector", "retail", *UNTESTED)
    tidy.publish(weights(tmp_path / "f.safetensors"), *more, name="Shelf")
    [kept] = tidy.json("listing", "searches")
    assert (kept["name"], kept["new"]) == ("零售模型", 1)
    assert "Shelf" in tidy.ok("listing", "look", "零售模型")
    assert tidy.json("listing", "searches")[0]["new"] == 0
    tidy.ok("listing", "searches", "--forget", "零售模型")
    assert "--save" in tidy.ok("listing", "searches")
    error = tidy.json("listing", "look", "零售模型", status=EXIT_WRONG_USE)
    assert error["code"] == "search.saved_unknown"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_listing_is_shown_whole(shop, language):
    out = shop.ok("listing", "show", shop.first["listing"][:8], "--lang", language)
    for part in (MODEL_NAME, "Anna", shop.identity, "team", "launch"):
        assert part in out
    for name in ("listing", "release", "artifact"):
        assert shop.first[name] in out
    shown = shop.json("listing", "show", shop.first["listing"])["listing"]
    assert shown["price"]["amount"] == {"amount": 10_000, "currency": "EUR", "exponent": 2}
    assert [tier["name"] for tier in shown["tiers"]] == ["standard", "team"]
    assert shown["row"]["valid_until_ms"] > shop.term.clock.now_ms()


def test_a_price_is_base_and_named_terms_and_each_tier_adds(shop):
    out = shop.ok("listing", "price", shop.first["listing"], "--explain")
    for amount in ("€100.00", "launch", "€20.00", "€80.00", "€250.00"):
        assert amount in out
    found = shop.json("listing", "price", shop.first["listing"])
    assert (found["base"]["amount"], found["total"]["amount"]) == (10_000, 8_000)
    assert found["terms"] == [{"name": "launch", "amount": -2_000}]
    assert [it["amount"] for it in found["tiers"]] == [8_000, 25_000]


def test_exports_are_written_and_nothing_is_overwritten(shop, tmp_path):
    bom, card = tmp_path / "bom.json", tmp_path / "card.md"
    shop.ok("listing", "export", shop.first["listing"], "--bom", bom, "--card", card)
    assert json.loads(bom.read_text("utf-8"))["specVersion"] == "1.6"
    assert MODEL_NAME in card.read_text("utf-8")
    before = bom.read_bytes()
    error = shop.json(
        *("listing", "export", shop.first["listing"], "--bom", bom), status=EXIT_REFUSED
    )
    assert error["code"] == "file.exists"
    assert bom.read_bytes() == before
    error = shop.json("listing", "export", shop.first["listing"], status=EXIT_WRONG_USE)
    assert error["code"] == "listing.export_what"
    nowhere = tmp_path / "none" / "bom.json"
    status = shop.run("listing", "export", shop.first["listing"], "--bom", nowhere)
    assert status == EXIT_ENVIRONMENT


@pytest.mark.parametrize("command", ["show", "price"])
@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("deadbeef", "id.nothing"),
        ("ab" * 32, "listing.unknown"),
        ("abc", "id.too_few_digits"),
        ("模型", "id.bad"),
        ("ab" * 33, "id.bad"),
    ],
)
def test_a_wrong_id_is_said(shop, command, typed, code):
    assert shop.json("listing", command, typed, status=EXIT_WRONG_USE)["code"] == code


@pytest.mark.parametrize("which", ["sectors", "tasks", "licences", "currencies", "formats"])
def test_a_vocabulary_has_ids_and_names_of_both_languages(shop, which):
    found = shop.json("listing", "vocabulary", which)
    assert list(found) == [which]
    assert len(found[which]) > 3
    assert all(set(row) == {"id", "en", "zh_CN"} for row in found[which])
    every = shop.ok("listing", "vocabulary", "--lang", "zh_CN")
    assert found[which][0]["id"] in every
    assert shop.run("listing", "vocabulary", "colours") == EXIT_WRONG_USE


def test_what_only_reads_works_beside_a_process_that_holds_the_folder(shop, tmp_path):
    listing = shop.first["listing"]
    with FolderLock(shop.folder):
        for command in (
            ("listing", "search", "图像", "--facets"),
            ("listing", "searches"),
            ("listing", "show", listing[:8]),
            ("listing", "price", listing),
            ("listing", "mine"),
            ("listing", "drafts"),
            ("listing", "vocabulary"),
            ("listing", "export", listing, "--card", tmp_path / "card.md"),
            ("peer", "followed"),
            ("store", "show"),
            ("store", "quota"),
        ):
            shop.ok(*command)
    assert Home(shop.folder, tmp_path).keystore.exists()


# --- follows and the content store --------------------------------------------------------------


def test_an_identity_is_followed_vouched_for_and_left(shop, bob):
    assert bob.run("peer", "follow", shop.identity, answers=["n"]) == EXIT_NO
    bob.ok("peer", "follow", shop.identity, "--yes")
    assert bob.json("listing", "search", "--followed")["count"] == 2
    bob.ok("peer", "follow", shop.identity, "--vouch", "--yes")
    assert bob.json("peer", "followed") == [
        {"identity": shop.identity, "name": "Anna", "weight": 3}
    ]
    assert "担保" in bob.ok("peer", "followed", "--lang", "zh_CN")
    bob.ok("peer", "follow", shop.identity, "--stop", "--yes")
    assert "hanse peer follow" in bob.ok("peer", "followed")
    for arguments, code in (
        ((bob.identity, "--yes"), "follow.self"),
        (("hanse:id:x", "--yes"), "id.bad"),
        ((shop.identity, "--vouch", "--stop"), "usage.exclude_each_other"),
    ):
        assert bob.json("peer", "follow", *arguments, status=EXIT_WRONG_USE)["code"] == code


def test_damage_is_found_and_mended_from_the_sealed_form(own, tmp_path):
    shown = own.json("store", "show")
    assert (shown["by_whose"]["own"] > 0, shown["quota_bytes"] > 0) == (True, True)
    original = (tmp_path / "w.safetensors").read_bytes()
    held = [path for path in (own.folder / "store" / "blobs").rglob("*") if path.is_file()]
    plain = [path for path in held if path.read_bytes() == original]
    assert len(plain) == 1
    plain[0].chmod(0o600)
    plain[0].write_bytes(b"\0" * plain[0].stat().st_size)
    [found] = [it for it in own.json("store", "check") if it["healed"]]
    assert (found["artifact"], found["lost"]) == (own.first["artifact"], 0)
    assert "sound" in own.ok("store", "check")


def test_what_cannot_be_mended_is_no(tmp_path):
    own = Shop(tmp_path / "dan", "Dan")
    own.publish(weights(tmp_path / "w.safetensors"), *UNTESTED)
    for path in (own.folder / "store" / "blobs").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"\0" * path.stat().st_size)
    status = own.run("store", "check", "--lang", "zh_CN")
    assert status == EXIT_NO
    assert "损坏" in own.term.console.out_text


def test_a_quota_is_set_as_people_write_it(tidy):
    tidy.ok("store", "quota", "20GB")
    assert tidy.json("store", "quota") == {"quota_bytes": 20 * 10**9}
    assert tidy.json("store", "quota", "lots", status=EXIT_WRONG_USE)["code"] == "size.bad"
    error = tidy.json("store", "quota", "999999999TB", status=EXIT_WRONG_USE)
    assert error["code"] == "storage.bad_quota"
    assert "0" in tidy.ok("store", "clean")
