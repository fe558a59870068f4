"""Every code has a sentence in every language, and no sentence lies unused."""

from __future__ import annotations

import ast
import errno
import importlib
import os
import pkgutil
import re
import string
from pathlib import Path

import pytest

import hanse.app
import hanse.core
import hanse.network
from hanse.app.command_table import COMMANDS, GLOBAL_OPTIONS
from hanse.core.errors import HanseError
from hanse.core.model.ids import identity_text
from hanse.core.sentences import (
    LANGUAGES,
    catalogue,
    language_of,
    pick_language,
    say,
    show_size,
    show_time,
)

ROOT = Path(__file__).parents[3]
HAN = re.compile(r"[\u4e00-\u9fff]")
# Nothing here is a word of Chinese: placeholders, names, and what is typed as it stands.
SAME_IN_BOTH = {"value", "value.size", "metavar.url", "confirm.yes_words"}


def modules(package):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if ".migrations." not in found.name:  # run by alembic, which they need around them
            yield importlib.import_module(found.name)


def error_classes():
    for package in (hanse.core, hanse.app, hanse.network):
        list(modules(package))
    found, waiting = [], [HanseError]
    while waiting:
        for child in waiting.pop().__subclasses__():
            waiting.append(child)
            if child.__module__.startswith("hanse."):
                found.append(child)
    return [one for one in found if one.code != HanseError.code]


def placeholders(sentence):
    return sorted(name for _, name, _, _ in string.Formatter().parse(sentence) if name)


def literals():
    found = set()
    for layer in ("app", "core", "network", "ui"):
        for path in (ROOT / layer).rglob("*.py"):
            tree = ast.parse(path.read_text("utf-8"))
            found |= {
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
    return found


def test_both_languages_have_the_same_codes():
    assert set(catalogue("en")) == set(catalogue("zh_CN"))


@pytest.mark.parametrize("code", sorted(catalogue("en")))
def test_both_languages_say_the_same_values(code):
    assert placeholders(catalogue("en")[code]) == placeholders(catalogue("zh_CN")[code])


def test_every_error_has_a_sentence_that_names_only_its_values():
    wrong = {}
    for error in error_classes():
        sentence = catalogue("en").get(error.code)
        if sentence is None:
            wrong[error.code] = error.text
        elif extra := set(placeholders(sentence)) - set(error.fields):
            wrong[error.code] = extra
    assert wrong == {}


def test_no_two_errors_share_a_code_unless_one_is_the_other():
    by_code = {}
    for error in error_classes():
        other = by_code.setdefault(error.code, error)
        assert issubclass(error, other) or issubclass(other, error)


def test_every_command_and_parameter_has_its_help():
    known = catalogue("en")
    for command in COMMANDS:
        assert command.help in known
        for depth in range(1, len(command.words)):
            assert "help." + ".".join(command.words[:depth]) in known
        for parameter in (*command.parameters, *GLOBAL_OPTIONS):
            assert parameter.help in known
            assert not parameter.metavar or parameter.metavar in known


def test_no_sentence_lies_unused():
    used = literals() | {error.code for error in error_classes()}
    used |= {os.strerror(number) for number in errno.errorcode}  # what the system says of files
    used.add("")  # a value that is empty has its own word
    for command in COMMANDS:
        used |= {"help." + ".".join(command.words[:end]) for end in (1, 2)}
    unused = []
    for code in catalogue("en"):
        head, _, last = code.rpartition(".")
        is_word = code.startswith("word.") and code.split(".", 2)[2] in used
        is_named = code.startswith(("label.", "word.bool.", "doctor.state.")) and last in {
            *used,
            "true",
            "false",
        }
        is_own_word = head.rpartition(".")[0] in used and last in used
        if not (code in used or is_word or is_named or is_own_word):
            unused.append(code)
    assert unused == []


@pytest.mark.parametrize("code", sorted(set(catalogue("zh_CN")) - SAME_IN_BOTH))
def test_chinese_is_chinese(code):
    sentence = catalogue("zh_CN")[code]
    bare = re.sub(r"\{\w+\}", "", sentence)
    is_frame = not re.search(r"[A-Za-z]{2}", bare.replace("hanse", "").replace("URL", ""))
    assert HAN.search(sentence) or is_frame
    # Between ideographs stands Chinese punctuation.
    assert not re.search(r"[\u4e00-\u9fff][,;:!?()]|[,;:!?()][\u4e00-\u9fff]", sentence)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_has_stray_spaces(language):
    for code, sentence in catalogue(language).items():
        assert sentence == " ".join(sentence.split()), code


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("zh", "zh_CN"),
        ("zh-CN", "zh_CN"),
        ("zh_CN.UTF-8", "zh_CN"),
        ("zh-Hans", "zh_CN"),
        ("zh_Hans_CN", "zh_CN"),
        ("ZH_cn.gb18030@stroke", "zh_CN"),
        ("zh_TW", "zh_CN"),
        ("en", "en"),
        ("en_GB.UTF-8", "en"),
        ("C", "en"),
        ("C.UTF-8", "en"),
        ("POSIX", "en"),
        ("de_DE.UTF-8", None),
        ("", None),
        ("zhuang", None),
    ],
)
def test_a_tag_asks_for_a_language(text, language):
    assert language_of(text) == language


def test_the_first_that_asks_for_a_language_gets_it():
    environ = {"HANSE_LANG": "zh", "LC_ALL": "en", "LANG": "zh_CN.UTF-8"}
    assert pick_language("en", environ, "zh_CN") == "en"
    assert pick_language(None, environ, "en") == "zh_CN"
    assert pick_language(None, {"LC_ALL": "en", "LC_MESSAGES": "zh"}, "zh_CN") == "en"
    assert pick_language(None, {"LC_MESSAGES": "zh", "LANG": "en"}, None) == "zh_CN"
    assert pick_language(None, {"LANG": "zh_CN.UTF-8"}, "en") == "zh_CN"
    assert pick_language(None, {"LANG": "de_DE"}, "zh_CN") == "zh_CN"
    assert pick_language(None, {}, None) == "en"


def test_values_look_the_same_everywhere():
    path = Path("a", "b")
    assert say("value", {"value": path}, "en") == str(path)
    assert say("value", {"value": b"\x01\xff"}, "en") == "01ff"
    assert say("value", {"value": 1234567}, "en") == "1,234,567"
    assert say("value", {"value": 2026}, "en") == "2026"
    assert say("value", {"value": None}, "en") == "-"
    assert say("value", {"value": ""}, "en") == "-"
    assert say("value", {"value": True}, "zh_CN") == "是"
    assert say("value", {"value": ("x", "y")}, "en") == "x, y"
    assert say("value", {"value": ("x", "y")}, "zh_CN") == "x、y"
    assert say("value.size", {"size_bytes": 1_500_000}, "en") == "1.5 MB"


def test_an_identity_is_written_as_everywhere():
    identity = bytes(range(32))
    values = {"author": b"\2" * 32, "identity": identity, "entries": 3, "head": b"\3" * 32}
    assert identity_text(identity) in say("verify.device_feed", values, "en")


def test_a_stable_word_is_said_in_the_language_of_the_person():
    values = {"path": Path("x"), "reason": "older_than_sent"}
    assert "older than what was sent" in say("store.copied", values, "en")
    assert "比已发出的内容旧" in say("store.copied", values, "zh_CN")
    assert "签名不符" in say(
        "verification.failed", {"where": "1", "reason": "bad_signature"}, "zh_CN"
    )
    assert "odd" in say("verification.failed", {"where": "1", "reason": "odd"}, "en")


def test_braces_in_a_value_are_not_placeholders():
    assert "{path}" in say("file.unreadable", {"path": "{path}", "detail": "{x!r}"}, "en")


def test_a_code_without_a_sentence_is_our_bug():
    with pytest.raises(KeyError):
        say("no.such.code", {}, "en")


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (268435456, "268.4 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_a_size_has_decimal_units(size, shown):
    assert show_size(size) == shown


def test_a_time_that_no_calendar_has_is_shown_as_it_is():
    assert show_time(2**62) == f"{2**62} ms"
    assert show_time(0).startswith(("1970-01-01", "1969-12-31"))
