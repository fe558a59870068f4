"""A Draft may be wrong, never changes, and says what follows from its card."""

from __future__ import annotations

import msgspec
import pytest

from hanse.core.model.card import (
    CHECKLIST,
    AnswersTrial,
    BaseModel,
    Lineage,
    ModelCard,
    OpenTrial,
    SealedTrial,
    Trials,
)
from hanse.core.model.listing import Draft


def test_a_new_draft_states_nothing():
    draft = Draft()
    assert (draft.trials, draft.base, draft.price, draft.artifact) == ((), (), "", None)
    assert draft.card.checklist == ("not_stated",) * len(CHECKLIST) == ("not_stated",) * 8


def test_a_draft_goes_on_as_another_one():
    draft = Draft(title="a")
    assert msgspec.structs.replace(draft, title="b").title == "b"
    with pytest.raises(AttributeError):
        draft.title = "c"


def test_the_ways_to_try_follow_from_the_card():
    ways = Trials(
        open=OpenTrial(),
        sealed_local=SealedTrial(runs=1, days=1),
        signed_answers=AnswersTrial(per_buyer=1, per_30d=1),
    )
    assert Draft(card=ModelCard(trial=ways)).trials == ("open", "sealed", "answers")
    sealed = msgspec.structs.replace(ways, open=None, signed_answers=None)
    assert Draft(card=ModelCard(trial=sealed)).trials == ("sealed",)


def test_base_releases_are_named_once_and_others_not_at_all():
    mine = BaseModel(name="Mine", release=b"r" * 32)
    lineage = Lineage(base_models=(mine, BaseModel(name="Elsewhere"), mine))
    assert Draft(card=ModelCard(lineage=lineage)).base == (b"r" * 32,)
