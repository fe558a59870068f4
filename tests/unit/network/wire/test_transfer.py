"""The messages of ``/hanse/piece/1``: what answers what, and what nobody may say."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.ledger.codec import decode_any
from hanse.core.limits import (
    PIECE_BITMAP_SIZE_BYTES_MAX,
    PIECE_CALLS_OPEN_MAX,
    PIECE_GETS_OPEN_MAX,
    PIECE_HASHES_MAX,
    PIECE_OBJECT_SIZE_BYTES_MAX,
    PIECE_SIZE_BYTES,
)
from hanse.core.model.transfer import HashLayer
from hanse.network.wire.frames import ProtocolViolation, encode_frame
from hanse.network.wire.transfer import (
    STREAM_CALL,
    Answering,
    Asking,
    Cancel,
    Excuse,
    Get,
    Hashes,
    Have,
    Piece,
    Ref,
    Small,
    Sorry,
    WantHashes,
    WantHave,
    WantSmall,
    is_bitmap,
)

ROOT = b"r" * 32
REF = Ref(ROOT, 3 * PIECE_SIZE_BYTES + 5)


def asked(asking: Asking) -> dict[str, int]:
    """Ask one question of each sort and return the calls."""
    return {
        "small": asking.want_small(ROOT, 100)[0],
        "have": asking.want_have(REF)[0],
        "hashes": asking.want_hashes(REF, HashLayer.PIECES, 1, 3)[0],
        "piece": asking.get(REF, 3)[0],
        "rest": asking.get(REF, 0, 1000)[0],
    }


def answers_to(calls: dict[str, int]) -> dict[str, bytes]:
    return {
        "small": encode_frame(Small(calls["small"], 7)) + b"content",
        "have": encode_frame(Have(calls["have"], b"\x0f", 2)),
        "hashes": encode_frame(Hashes(calls["hashes"], 96)) + bytes(96),
        "piece": encode_frame(Piece(calls["piece"], 5)) + b"piece",
        "rest": encode_frame(Piece(calls["rest"], PIECE_SIZE_BYTES - 1000))
        + bytes(PIECE_SIZE_BYTES - 1000),
    }


def broken(act, *values) -> str:
    with pytest.raises(ProtocolViolation) as caught:
        act(*values)
    return caught.value.values["reason"]


# --- as they stand on the wire -------------------------------------------------------------------


def test_messages_are_lists_of_a_number_a_call_and_their_fields():
    ref = [ROOT, REF.size]
    known = {
        WantSmall(1, ROOT): [1, 1, ROOT],
        Small(1, 7): [2, 1, 7],
        WantHave(2, REF): [3, 2, ref],
        Have(2, None, 4): [4, 2, None, 4],
        Have(2, b"\x0f", 0): [4, 2, b"\x0f", 0],
        WantHashes(3, REF, HashLayer.LEAVES, 64, 10): [5, 3, ref, 1, 64, 10],
        Hashes(3, 320): [6, 3, 320],
        Get(4, REF, 3, 0, 5): [7, 4, ref, 3, 0, 5],
        Piece(4, 5): [8, 4, 5],
        Cancel(4): [9, 4],
        Sorry(4, Excuse.BUSY, 1000): [10, 4, "busy", 1000],
    }
    for message, fields in known.items():
        assert decode_any(encode_frame(message)[4:]) == fields


def test_questions_arrive_as_they_were_asked():
    asking, answering = Asking(), Answering()
    frames = b"".join(
        frame
        for _, frame in (
            asking.want_small(ROOT, 100),
            asking.want_have(REF),
            asking.want_hashes(REF, HashLayer.LEAVES, 0, 193),
            asking.get(REF, 1),
            asking.get(REF, 3, 2),
        )
    )
    found = answering.feed(frames)
    assert found == [
        WantSmall(1, ROOT),
        WantHave(2, REF),
        WantHashes(3, REF, HashLayer.LEAVES, 0, 193),
        Get(4, REF, 1, 0, PIECE_SIZE_BYTES),
        Get(5, REF, 3, 2, 3),
    ]
    assert answering.open_calls == 5


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("portion", [1 << 30, 1000, 1], ids=["whole", "parts", "bytewise"])
@pytest.mark.parametrize("seed", range(3))
def test_answers_come_in_any_order_and_any_portions(portion, seed):
    asking = Asking()
    calls = asked(asking)
    frames = answers_to(calls)
    if portion == 1:  # a million times one byte takes seconds, and says no more than a hundred
        frames.pop("rest")
    names = list(frames)
    random.Random(seed).shuffle(names)
    whole = b"".join(frames[name] for name in names)
    found = []
    for start in range(0, len(whole), portion):
        found += asking.feed(whole[start : start + portion])
    assert [it.reply.call for it in found] == [calls[name] for name in names]
    assert all(it.question.call == it.reply.call for it in found)
    assert asking.open_calls == len(calls) - len(frames)


def test_a_tail_belongs_to_its_question():
    asking = Asking()
    calls = asked(asking)
    (answer,) = asking.feed(answers_to(calls)["small"])
    assert (answer.question, answer.reply, answer.tail) == (
        WantSmall(calls["small"], ROOT),
        Small(calls["small"], 7),
        b"content",
    )
    (answer,) = asking.feed(answers_to(calls)["piece"])
    assert answer.tail == b"piece"


def test_sorry_answers_any_question():
    asking = Asking()
    for call in asked(asking).values():
        (answer,) = asking.feed(encode_frame(Sorry(call, Excuse.NOT_HELD, 0)))
        assert answer.reply.code == "not_held"
    assert asking.open_calls == 0


def test_a_sorry_about_the_stream_answers_no_call():
    asking = Asking()
    calls = asked(asking)
    assert asking.feed(encode_frame(Sorry(STREAM_CALL, Excuse.BAD_FRAME, 0))) == []
    assert asking.open_calls == len(calls)


WRONG_ANSWERS = {
    "to_nothing": (lambda _: Piece(99, 5), "unexpected"),
    "have_to_nothing": (lambda _: Have(99, None, 0), "unexpected"),
    "another_sort": (lambda calls: Small(calls["piece"], 5), "unexpected"),
    "have_for_a_piece": (lambda calls: Have(calls["piece"], None, 0), "unexpected"),
    "a_shorter_piece": (lambda calls: Piece(calls["piece"], 4), "too_big"),
    "a_longer_piece": (lambda calls: Piece(calls["piece"], 6), "too_big"),
    "a_larger_blob": (lambda calls: Small(calls["small"], 101), "too_big"),
    "fewer_hashes": (lambda calls: Hashes(calls["hashes"], 64), "too_big"),
    "a_longer_bitmap": (lambda calls: Have(calls["have"], b"\x0f\x00", 0), "too_big"),
    "bits_behind_the_last": (lambda calls: Have(calls["have"], b"\x1f", 0), "too_big"),
}


@pytest.mark.parametrize(("made", "reason"), WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
def test_a_wrong_answer_is_found_before_its_tail_is_waited_for(made, reason):
    asking = Asking()
    frame = encode_frame(made(asked(asking)))
    assert broken(asking.feed, frame) == reason


def test_a_call_is_answered_once():
    asking = Asking()
    calls = asked(asking)
    asking.feed(answers_to(calls)["have"])
    assert broken(asking.feed, answers_to(calls)["have"]) == "unexpected"


def test_what_answers_a_cancelled_call_is_dropped():
    asking = Asking()
    calls = asked(asking)
    assert asking.cancel(calls["piece"]) == encode_frame(Cancel(calls["piece"]))
    assert asking.cancel(calls["piece"]) == b""
    assert asking.cancel(calls["have"]) == b""  # only a GET is worth a message
    assert asking.cancel(99) == b""
    assert asking.open_gets == 2  # until it is answered, one way or the other
    answers = answers_to(calls)
    assert asking.feed(answers["piece"] + answers["have"]) == []
    assert asking.open_calls == 3


def test_what_came_of_a_piece_is_kept_when_the_stream_breaks():
    asking = Asking()
    calls = asked(asking)
    asking.feed(answers_to(calls)["rest"][:5000])
    question, came = asking.arriving()
    get, held = asking.broken_tail()
    assert question == get == Get(calls["rest"], REF, 0, 1000, PIECE_SIZE_BYTES - 1000)
    assert len(held) == came > 4000


def test_nothing_is_kept_of_a_broken_blob_or_a_cancelled_piece():
    asking = Asking()
    calls = asked(asking)
    assert asking.arriving() is None
    assert asking.broken_tail() is None
    asking.feed(answers_to(calls)["small"][:-2])
    assert asking.broken_tail() is None
    asking = Asking()
    calls = asked(asking)
    asking.cancel(calls["rest"])
    asking.feed(answers_to(calls)["rest"][:5000])
    assert asking.broken_tail() is None


def test_questions_do_not_pass_for_answers():
    assert broken(Asking().feed, encode_frame(Get(1, REF, 0, 0, 5))) == "bad_frame"


# --- questions -----------------------------------------------------------------------------------


WRONG_QUESTIONS = {
    "a_piece_behind_the_last": (Get(1, REF, 4, 0, 1), "too_big"),
    "more_than_the_piece_has": (Get(1, REF, 3, 0, 6), "too_big"),
    "more_behind_an_offset": (Get(1, REF, 0, 1, PIECE_SIZE_BYTES), "too_big"),
    "more_than_the_layer_has": (WantHashes(1, REF, HashLayer.PIECES, 2, 3), "too_big"),
    "leaves_behind_the_last": (WantHashes(1, REF, HashLayer.LEAVES, 193, 1), "too_big"),
    "a_cancel_of_nothing": (Cancel(1), "unexpected"),
    "an_answer": (Sorry(1, "busy", 0), "bad_frame"),
    "a_short_root": ([3, 1, [b"r", 5]], "bad_frame"),
    "no_size": ([3, 1, [ROOT, 0]], "bad_frame"),
    "too_large_an_object": ([3, 1, [ROOT, PIECE_OBJECT_SIZE_BYTES_MAX + 1]], "bad_frame"),
    "too_many_hashes": ([5, 1, [ROOT, 1 << 40], 1, 0, PIECE_HASHES_MAX + 1], "bad_frame"),
    "another_layer": ([5, 1, [ROOT, 5], 2, 0, 1], "bad_frame"),
    "more_than_a_piece": ([7, 1, [ROOT, 1 << 30], 0, 0, PIECE_SIZE_BYTES + 1], "bad_frame"),
    "no_bytes": ([7, 1, [ROOT, 5], 0, 0, 0], "bad_frame"),
    "a_negative_call": ([1, -1, ROOT], "bad_frame"),
    "a_long_call": ([1, 1 << 32, ROOT], "bad_frame"),
    "one_field_more": ([1, 1, ROOT, 0], "bad_frame"),
    "an_unknown_number": ([11, 1], "bad_frame"),
    "a_map": ({"call": 1}, "bad_frame"),
}


@pytest.mark.parametrize(("question", "reason"), WRONG_QUESTIONS.values(), ids=WRONG_QUESTIONS)
def test_what_no_file_could_answer_is_a_violation(question, reason):
    assert broken(Answering().feed, encode_frame(question)) == reason


def test_a_call_is_open_once():
    answering = Answering()
    answering.feed(encode_frame(WantHave(1, REF)))
    assert broken(answering.feed, encode_frame(WantHave(1, REF))) == "unexpected"


def test_a_call_may_be_used_again_when_it_was_answered():
    answering = Answering()
    answering.feed(encode_frame(WantHave(1, REF)))
    assert answering.answer(Have(1, None, 0)) == encode_frame(Have(1, None, 0))
    assert not answering.has_open(1)
    assert answering.feed(encode_frame(WantHave(1, REF))) == [WantHave(1, REF)]


def test_so_many_gets_and_calls_are_open_at_once():
    answering = Answering()
    for call in range(PIECE_GETS_OPEN_MAX):
        answering.feed(encode_frame(Get(call, REF, 0, 0, 5)))
    for call in range(PIECE_GETS_OPEN_MAX, PIECE_CALLS_OPEN_MAX):
        answering.feed(encode_frame(WantSmall(call, ROOT)))
    assert broken(answering.feed, encode_frame(WantSmall(100, ROOT))) == "unexpected"
    answering.answer(Sorry(31, "busy", 0))
    assert broken(answering.feed, encode_frame(Get(100, REF, 0, 0, 5))) == "unexpected"


def test_a_cancel_that_crossed_the_answer_means_nothing_and_a_second_one_is_a_violation():
    answering = Answering()
    answering.feed(encode_frame(Get(1, REF, 3, 0, 5)))
    answering.answer(Piece(1, 5))
    assert answering.feed(encode_frame(Cancel(1))) == []
    assert broken(answering.feed, encode_frame(Cancel(1))) == "unexpected"


def test_the_longest_bitmap_travels():
    ref = Ref(ROOT, PIECE_OBJECT_SIZE_BYTES_MAX)
    asking = Asking()
    call, _ = asking.want_have(ref)
    (answer,) = asking.feed(encode_frame(Have(call, b"\xff" * PIECE_BITMAP_SIZE_BYTES_MAX, 4)))
    assert len(answer.reply.bitmap) == PIECE_BITMAP_SIZE_BYTES_MAX


@given(st.integers(1, 100), st.binary(max_size=14))
def test_a_bitmap_has_a_bit_for_each_piece_and_none_behind(pieces, raw):
    expected = len(raw) * 8 >= pieces > (len(raw) - 1) * 8
    expected = expected and int.from_bytes(raw, "little") < 1 << pieces
    assert is_bitmap(raw, pieces) == expected


# --- whatever comes ------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["asking", "answering"])
@pytest.mark.parametrize("portion", [1 << 20, 1], ids=["whole", "bytewise"])
def test_whatever_comes_there_are_messages_or_a_violation(side, portion):
    chance = random.Random(11)
    for _ in range(400):
        asking = Asking()
        frames = list(answers_to(asked(asking)).values())[:4]
        reader = asking
        if side == "answering":
            reader = Answering()
            frames = [
                encode_frame(it) for it in (WantHave(1, REF), Get(2, REF, 0, 0, 9), Cancel(2))
            ]
        raw = bytearray(b"".join(chance.choices(frames, k=3)))
        for _ in range(chance.randrange(5)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        del raw[chance.randrange(len(raw)) :]
        with suppress(ProtocolViolation):  # and nothing else
            for start in range(0, len(raw), portion):
                reader.feed(raw[start : start + portion])
