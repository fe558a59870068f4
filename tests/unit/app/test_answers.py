"""The one object of ``--json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from hanse.app.answers import Answer, answer_json, error_json, plain
from hanse.core.errors import EXIT_DONE, EXIT_NO, VerificationFailed, WrongPassphrase
from hanse.core.model.ids import identity_text


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Thing:
    identity: bytes
    identities: tuple[bytes, ...]
    device: bytes
    path: Path
    colour: Colour
    body: dict[str, object]


def test_values_become_what_json_can_say():
    one = b"\1" * 32
    thing = Thing(one, (one,), one, Path("a"), Colour.RED, {"identity": one, "n": None})
    assert plain(thing) == {
        "identity": identity_text(one),
        "identities": [identity_text(one)],
        "device": "01" * 32,
        "path": "a",
        "colour": "red",
        "body": {"identity": identity_text(one), "n": None},
    }


def test_done_is_ok_with_its_result():
    answer = Answer({"n": 1})
    assert answer.exit_code == EXIT_DONE
    assert json.loads(answer_json(answer)) == {"ok": True, "result": {"n": 1}}


def test_a_no_has_the_error_and_all_that_was_found():
    answer = Answer({"n": 1}, (), VerificationFailed(where="x", reason="y"))
    assert answer.exit_code == EXIT_NO
    assert json.loads(answer_json(answer)) == {
        "ok": False,
        "error": {"code": "verification.failed", "values": {"where": "x", "reason": "y"}},
        "result": {"n": 1},
    }


def test_an_error_has_its_code_and_values_and_nothing_else():
    text = error_json(WrongPassphrase.code, {"path": Path("p"), "raw": b"\xff"})
    assert json.loads(text) == {
        "ok": False,
        "error": {"code": "keystore.wrong_passphrase", "values": {"path": "p", "raw": "ff"}},
    }


def test_chinese_stays_readable_and_what_is_dangerous_is_escaped():
    assert "账户" in answer_json(Answer("账户"))
    for text in ("\u202e", "\ud800", "\x1b["):
        written = answer_json(Answer(text))
        assert written.isascii()
        assert json.loads(written)["result"] == text
