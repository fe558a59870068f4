"""What of an output is sealed, and what is shown."""

from __future__ import annotations

import numpy as np
import pytest

from hanse.core.certify.trial_outputs import (
    AnswerTooLarge,
    agree_kept,
    follows,
    kept_of,
    project,
    read_arrays,
    read_kept,
    shown_fits,
    write_arrays,
    write_kept,
)
from hanse.core.errors import BadShape
from hanse.core.ledger.codec import encode
from hanse.core.limits import TRIAL_SHOWN_TEXT_CHARACTERS_MAX, TRIAL_SHOWN_VALUES_MAX

QUERY = b"q" * 32
SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.5]], np.float32)


def test_arrays_are_read_as_they_were_written():
    arrays = {
        "x": SCORES,
        "n": np.arange(6, dtype=np.int64).reshape(2, 3),
        "t": np.array(["eins", "二"]),
        "b": np.array([True, False]),
        "s": np.array(3.5, np.float64),
    }
    again = read_arrays(write_arrays(arrays))
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        assert np.array_equal(again[name], array)
        assert again[name].shape == array.shape


@pytest.mark.parametrize("raw", [b"", b"\x80", encode({"x": 1}), encode([1])])
def test_other_bytes_are_no_arrays(raw):
    with pytest.raises((BadShape, Exception)) as caught:
        read_arrays(raw)
    assert caught.value.code in ("codec.bad_shape", "codec.not_canonical")


# --- shown ----------------------------------------------------------------------------------


def test_top1_shows_the_place_of_the_highest_score_of_each_row():
    assert project({"p": SCORES}, "top1") == {"p": (1, 0)}
    assert project({"p": SCORES[0]}, "top1") == {"p": (1,)}


def test_top1_shows_labels_and_texts_as_they_are():
    outputs = {
        "label": np.array([7, 3], np.int64),
        "word": np.array(["cat"]),
        "is": np.array([True]),
    }
    assert project(outputs, "top1") == {"label": (7, 3), "word": ("cat",), "is": (1,)}


def test_top1_of_one_score_says_yes_or_no():
    assert project({"p": np.array([[0.4], [0.6]], np.float32)}, "top1") == {"p": (0, 1)}
    assert project({"p": np.array([[100], [200]], np.uint8)}, "top1") == {"p": (0, 1)}
    assert project({"p": np.array([[-1], [0]], np.int8)}, "top1") == {"p": (0, 1)}


def test_top1_of_quantised_scores_is_their_highest():
    assert project({"p": np.array([[3, 250, 9]], np.uint8)}, "top1") == {"p": (1,)}


def test_regression_shows_two_significant_digits():
    values = np.array([1234.5, -0.000456, 0.0, np.inf], np.float32)
    assert project({"y": values}, "digits2") == {"y": ("1.2e+03", "-4.6e-04", "0.0e+00", "inf")}
    assert project({"y": np.array([1999], np.int64)}, "digits2") == {"y": ("2.0e+03",)}


def test_text_is_cut_at_256_tokens():
    words = " ".join(f"w{number}" for number in range(300))
    (text,) = project({"t": np.array([words])}, "tokens256")["t"]
    assert text == " ".join(f"w{number}" for number in range(256))
    (signs,) = project({"t": np.array(["模型" * 200])}, "tokens256")["t"]
    assert len(signs) == 256
    (run,) = project({"t": np.array(["x" * 100_000])}, "tokens256")["t"]
    assert len(run) <= TRIAL_SHOWN_TEXT_CHARACTERS_MAX
    assert project({"ids": np.arange(300)}, "tokens256")["ids"] == tuple(range(256))


def test_full_shows_numbers_that_read_back():
    (value,) = project({"y": np.array([1 / 3], np.float32)}, "full")["y"]
    assert np.float32(value) == np.float32(1 / 3)
    assert project({"n": np.array([5])}, "full") == {"n": (5,)}


def test_no_more_is_shown_than_the_limits():
    shown = project({"a": np.arange(5000), "b": np.arange(10)}, "top1")
    assert len(shown["a"]) == TRIAL_SHOWN_VALUES_MAX
    assert shown["b"] == ()
    long = project({"t": np.array(["y" * 8000] * 20)}, "full")["t"]
    assert sum(map(len, long)) <= 64 * 1024


# --- sealed ---------------------------------------------------------------------------------


def test_small_outputs_are_kept_whole():
    kept = read_kept(write_kept(kept_of({"p": SCORES}, QUERY)))
    assert not kept["p"].is_sample
    assert np.array_equal(kept["p"].values, SCORES)
    assert follows(project({"p": SCORES}, "top1"), kept, "top1")


def large():
    rng = np.random.default_rng(5)
    return {"small": SCORES, "map": rng.normal(size=(1, 300, 300)).astype(np.float32)}


def test_of_large_outputs_elements_are_drawn_by_the_query():
    kept = read_kept(write_kept(kept_of(large(), QUERY)))
    assert kept["map"].is_sample
    assert kept["map"].shape == (1, 300, 300)
    assert kept["map"].values.shape == (4096,)
    assert not kept["small"].is_sample
    again, other = kept_of(large(), QUERY), kept_of(large(), b"o" * 32)
    assert np.array_equal(again["map"].values, kept["map"].values)
    assert not np.array_equal(other["map"].values, kept["map"].values)
    assert agree_kept(kept, again).agrees


def test_a_difference_in_a_drawn_element_is_seen():
    changed = large()
    changed["map"] = changed["map"] * np.float32(1.01)
    found = agree_kept(kept_of(large(), QUERY), kept_of(changed, QUERY))
    assert (found.agrees, found.tensor) == (False, "map")


def test_another_shape_is_a_difference():
    kept = kept_of({"p": SCORES}, QUERY)
    assert not agree_kept(kept, kept_of({"p": SCORES[:1]}, QUERY)).agrees
    assert not agree_kept(kept, kept_of({"q": SCORES}, QUERY)).agrees
    assert not agree_kept(
        kept_of(large(), QUERY), kept_of({**large(), "map": SCORES}, QUERY)
    ).agrees


def test_what_fits_no_answer_is_refused():
    many = {f"o{number}": SCORES for number in range(65)}
    with pytest.raises(AnswerTooLarge):
        kept_of(many, QUERY)
    texts = {"t": np.array(["z" * 300_000] * 3)}
    with pytest.raises(AnswerTooLarge):
        write_kept(kept_of(texts, QUERY))


def test_a_sample_of_another_length_is_no_answer():
    rows = {
        "p": {
            "shape": [1, 300, 300],
            "is_sample": True,
            "values": {"dtype": "float32", "shape": [2], "data": bytes(8)},
        }
    }
    with pytest.raises(BadShape, match="sample"):
        read_kept(encode(rows))
    rows["p"]["is_sample"] = False
    with pytest.raises(BadShape):
        read_kept(encode(rows))


# --- shown against sealed -------------------------------------------------------------------


@pytest.mark.parametrize("shown", [{"p": (0, 0)}, {"p": (1,)}, {"p": (1, 0, 0)}, {"q": (1, 0)}, {}])
def test_what_does_not_follow_is_seen(shown):
    assert not follows(shown, kept_of({"p": SCORES}, QUERY), "top1")


def test_of_a_sampled_output_the_delivered_model_tells_whether_it_was_shown_truly():
    outputs = large()
    shown = project(outputs, "top1")
    kept = kept_of(outputs, QUERY)
    assert follows(shown, kept, "top1")
    assert shown_fits(shown, outputs, "top1", {"map": 1e-4, "small": 1e-4}) == ""
    lied = {**shown, "map": (shown["map"][0] + 1, *shown["map"][1:])}
    assert follows(lied, kept, "top1")
    assert shown_fits(lied, outputs, "top1", {"map": 1e-4, "small": 1e-4}) == "map"
    assert not follows({**shown, "small": (2, 2)}, kept, "top1")


def test_a_near_tie_is_no_lie():
    scores = {"p": np.array([[0.5, 0.500001]], np.float32)}
    assert shown_fits({"p": (0,)}, scores, "top1", {"p": 1e-5}) == ""
    assert shown_fits({"p": (0,)}, scores, "top1", {"p": 1e-8}) == "p"
    one = {"p": np.array([[0.500001]], np.float32)}
    assert shown_fits({"p": (0,)}, one, "top1", {"p": 1e-5}) == ""
    assert shown_fits({"p": (0,)}, one, "top1", {"p": 1e-8}) == "p"


def test_more_values_than_there_are_fit_nothing():
    rows = {"p": np.array([[0.5, 0.1]], np.float32)}
    assert shown_fits({"p": (0, 0)}, rows, "top1", {"p": 1e-5}) == "p"
    assert shown_fits({"p": (7,)}, rows, "top1", {"p": 1e-5}) == "p"
    one = {"p": np.array([[0.5]], np.float32)}
    assert shown_fits({"p": (1, 1)}, one, "top1", {"p": 1e-5}) == "p"


def test_two_digits_may_round_either_way():
    values = {"y": np.array([1.2500001], np.float64)}
    assert shown_fits({"y": ("1.2e+00",)}, values, "digits2", {"y": 1e-5}) == ""
    assert shown_fits({"y": ("1.1e+00",)}, values, "digits2", {"y": 1e-5}) == "y"
    assert shown_fits({"y": ("many",)}, values, "digits2", {"y": 1e-5}) == "y"
    assert shown_fits({"y": (1, 2)}, values, "digits2", {"y": 1e-5}) == "y"
    assert shown_fits({"n": (1,)}, {"n": np.array([2])}, "top1", {}) == "n"
