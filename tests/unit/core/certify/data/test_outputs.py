"""Answers are found among outputs that a stranger's model wrote."""

from __future__ import annotations

import numpy as np
import pytest

from hanse.core.certify.data.faults import OutputsUnusable, RecipeRefused, UnknownLabel
from tests.fakes.data_sets import judged, step

PROB = np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3]])


def test_label_and_probabilities_of_sklearn_are_told_apart():
    of = judged([0, 1, 1], {"label": [0, 1, 0], "probabilities": PROB})
    assert of.said.tolist() == [0, 1, 0]
    assert of.scores.tolist() == PROB.tolist()
    assert of.is_probability
    assert of.positive == 1
    assert of.labels == ("0", "1")


def test_labels_in_words_are_those_of_the_card_or_come_in_their_order():
    words = np.array(["no", "yes", "no"])
    of = judged(["no", "yes", "yes"], {"label": words, "probabilities": PROB})
    assert (of.labels, of.truth.tolist(), of.said.tolist()) == (("no", "yes"), [0, 1, 1], [0, 1, 0])
    of = judged(["no", "yes", "yes"], {"probabilities": PROB[:, ::-1]}, labels=("yes", "no"))
    assert (of.truth.tolist(), of.said.tolist()) == ([1, 0, 0], [1, 0, 1])


def test_numbers_in_the_data_may_be_names_or_places():
    assert judged([1, 2, 2], {"prob": PROB}, labels=("1", "2")).truth.tolist() == [0, 1, 1]
    assert judged([0, 1, 1], {"prob": PROB}, labels=("cat", "dog")).truth.tolist() == [0, 1, 1]


def test_the_highest_score_is_the_answer_where_there_is_no_label():
    of = judged([0, 1, 1], {"logits": np.array([[[3.0, 1]], [[-1, 2]], [[0, 1]]])})
    assert of.said.tolist() == [0, 1, 1]
    assert not of.is_probability


def test_one_score_a_row_speaks_for_the_second_class():
    of = judged([0, 1, 1], {"y": [[0.1], [0.9], [0.4]]})
    assert of.said.tolist() == [0, 1, 0]
    assert of.is_probability
    logits = judged([0, 1, 1], {"y": [-2.0, 3.0, 0.5]})
    assert logits.said.tolist() == [0, 1, 1]
    assert not logits.is_probability


def test_steps_behind_the_model_come_first():
    softmax = judged([0, 1], {"z": [[0.0, np.log(3)], [np.log(4), 0]]}, post=(step("softmax"),))
    assert softmax.is_probability
    assert softmax.scores.round(9).tolist() == [[0.25, 0.75], [0.8, 0.2]]
    outputs = {"label": [0, 0, 0], "probabilities": PROB}
    threshold = judged([0, 1, 1], outputs, post=(step("threshold", 0.25),))
    assert threshold.said.tolist() == [0, 1, 1]
    argmax = judged([0, 1, 1], outputs, post=(step("argmax"),))
    assert argmax.said.tolist() == [0, 1, 0]


def test_a_step_names_the_output_where_several_would_do():
    outputs = {"a": PROB, "b": PROB[:, ::-1]}
    with pytest.raises(OutputsUnusable) as fault:
        judged([0, 1, 1], outputs)
    assert fault.value.reason == "several"
    of = judged([0, 1, 1], outputs, post=(step("argmax", tensor="b"),))
    assert of.said.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("outputs", "more", "reason"),
    [
        ({"prob": PROB[:2]}, {}, "rows"),
        ({"prob": np.array(0.5)}, {}, "rows"),
        ({"prob": np.where(PROB > 0.7, np.nan, PROB)}, {}, "not_finite"),
        ({}, {}, "no_answer"),
        ({"picture": np.zeros((3, 4, 4))}, {}, "no_answer"),
        ({"prob": PROB}, {"labels": ("a", "b", "c")}, "label_count"),
        ({"label": [0, 7, 1], "prob": PROB}, {"labels": ("0", "1")}, "label"),
    ],
)
def test_outputs_that_cannot_be_judged_say_why(outputs, more, reason):
    with pytest.raises(OutputsUnusable) as fault:
        judged([0, 1, 1], outputs, **more)
    assert fault.value.reason == reason


def test_scores_whose_labels_nobody_named_are_not_guessed():
    with pytest.raises(OutputsUnusable) as fault:
        judged(["a", "c", "d"], {"prob": PROB})
    assert fault.value.reason == "labels_unknown"
    with pytest.raises(UnknownLabel) as told:
        judged(["a", "b", "zebra"], {"label": np.array(["a", "b", "b"]), "prob": PROB})
    assert told.value.values == {"found": ("zebra",), "known": ("a", "b")}


def test_a_positive_label_must_be_one():
    assert judged([0, 1, 1], {"prob": PROB}, labels=("n", "y"), positive="n").positive == 0
    with pytest.raises(UnknownLabel):
        judged([0, 1, 1], {"prob": PROB}, labels=("n", "y"), positive="maybe")


@pytest.mark.parametrize(("op", "reason"), [("nms", "later"), ("scale", "not_after")])
def test_a_step_that_has_no_place_behind_the_model_is_refused(op, reason):
    with pytest.raises(RecipeRefused) as fault:
        judged([0, 1, 1], {"prob": PROB}, post=(step(op),))
    assert fault.value.values["reason"] == reason


def test_several_figures_are_one_output_or_one_for_each_target():
    truth = np.arange(6.0).reshape(3, 2)
    of = judged(truth, {"variable": truth}, "regression", targets=("p", "q"))
    assert of.values.tolist() == truth.tolist()
    apart = {"q": truth[:, 1:], "p": truth[:, :1], "more": truth}
    of = judged(truth, apart, "regression", targets=("p", "q"))
    assert of.values.tolist() == truth.tolist()
    with pytest.raises(OutputsUnusable) as fault:
        judged(truth[:, 0], {"variable": truth}, "regression")
    assert fault.value.reason == "width"


def test_a_ranking_needs_something_to_rank():
    with pytest.raises(OutputsUnusable) as fault:
        judged([0, 1, 1], {"score": [0.1, 0.2, 0.3]}, "ranking")
    assert fault.value.reason == "no_ranking"
    with pytest.raises(OutputsUnusable) as fault:
        judged([0, -1], {"score": [0.1, 0.2]}, "ranking", groups=np.array(["a", "a"]))
    assert fault.value.reason == "relevance"
