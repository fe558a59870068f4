"""Every stable word that is raised has its sentence, in both languages."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import hanse.core.certify.data
from hanse.core.certify.data.bakeoff import BakeOffRefused
from hanse.core.certify.data.dataset import DataNote
from hanse.core.certify.data.evaluating import LeftOut
from hanse.core.certify.data.faults import named, shown
from hanse.core.sentences import LANGUAGES, catalogue, say

FOLDER = Path(hanse.core.certify.data.__path__[0])
WORDS = {  # the call, which of its arguments is the word, and where its sentence stands
    "DatasetRefused": (1, "dataset.refused.rule."),
    "OutputsUnusable": (0, "dataset.outputs.reason."),
    "CostsRefused": (0, "dataset.costs.rule."),
    "_refused": (2, "dataset.recipe.reason."),
    "Unmeasurable": (0, "quality.left_out.reason."),
    "BakeOffRefused": ("reason", "bakeoff.refused.reason."),
    "DataNote": (0, ""),
}


def codes():
    for path in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            place, prefix = WORDS.get(node.func.id, (None, ""))
            if isinstance(place, str):
                given = [one.value for one in node.keywords if one.arg == place]
            else:
                given = [] if place is None else node.args[place : place + 1]
            for one in given:
                for word in ast.walk(one):
                    if isinstance(word, ast.Constant) and isinstance(word.value, str):
                        yield prefix + word.value


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_has_its_sentence(language):
    found = set(codes())
    assert len(found) > 70
    assert sorted(found - set(catalogue(language))) == []


def test_notes_and_reasons_are_said_with_their_values():
    note = DataNote("dataset.note.outside_range", "age", 3)
    values = {"column": note.column, "count": note.count}
    assert "age: 3 values" in say(note.code, values, "en")
    left = LeftOut("roc_auc", "", "no_scores")
    said = say(left.code, {"metric": left.metric, "reason": left.reason}, "en")
    assert said == "roc_auc is not measured. The model gives no scores."
    fault = BakeOffRefused(reason="count", found=21, expected=20)
    assert "20" in say(fault.code, fault.values, "zh_CN")


def test_long_values_and_lists_are_cut_for_a_sentence():
    assert shown("x" * 100) == "x" * 60 + "…"
    assert named(str(i) for i in range(10))[-1] == "… +2"
    assert named(["a", "b"]) == ("a", "b")
