"""The buyer's side of a Trial: ask, hand over files, take what comes back, say what it decides.

* Committed first: inputs and true answers are fixed, and their root is signed in the REQUEST,
  before the seller says anything.  Which of them are asked, and in which order, neither picks.
* Queries are a function of the commitment and the grant, so the same one again is the same bytes.
* What comes back is checked whole before anything of it is kept: who signed it, for which Trial
  and Artifact, chained from the GRANT.  The same file again changes nothing.
* The seller sees the inputs that are asked, never the true answers; the buyer reads of an output
  what the grant shows.

What may be granted is ``hanse.core.trade``'s to say; running a sealed model is
``trial_sealed``'s, judging after delivery ``trial_replaying``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.crypto.blobs import open_blob
from hanse.core.engine.certify_target import Named, target_of
from hanse.core.engine.trial_data import read_own_data, wanted_of
from hanse.core.engine.trial_file import Message, TrialFile, read_trial_file, write_trial_file
from hanse.core.engine.trial_inputs import InputFiles, draw_inputs
from hanse.core.engine.trial_keys import keep_keys, keys_kept
from hanse.core.engine.trial_post import (
    PartyUnknown,
    StepRefused,
    append_step,
    enclosed,
    read_step,
    take_entries,
)
from hanse.core.engine.trial_records import (
    BUYER,
    BuyerNotes,
    encode_notes,
    exchanges_of,
    keep_step,
    notes_of,
    trial_of,
    trial_row,
)
from hanse.core.engine.trial_showing import view_of
from hanse.core.engine.trial_subject import NotSealed, sealed_files, subject_of
from hanse.core.engine.trial_views import HONEST_OPEN, TrialView, VerdictView
from hanse.core.errors import Refused, RejectedEntry, VerificationFailed, WrongUse
from hanse.core.ledger.kinds import Trial1
from hanse.core.limits import (
    TRIAL_FILE_MESSAGES_MAX,
    TRIAL_FILE_SIZE_BYTES_MAX,
)
from hanse.core.market.trial_plan import plan as plan_trial
from hanse.core.market.trial_plan import verdict as judge_answers
from hanse.core.model.card import MICRO
from hanse.core.model.ids import EntryId, IdentityId, identity_text
from hanse.core.model.trial import (
    Exchange,
    Query,
    TrialClose,
    TrialCommit,
    TrialGrant,
    TrialRefusal,
    TrialRequest,
    TrialState,
)
from hanse.core.store.trials import KeptGrant, TrialAnswer, TrialRow
from hanse.core.trade.trial_messages import read_answer, sign_query
from hanse.core.trade.trial_rules import (
    DAY_MS,
    check_answer,
    check_grant,
    check_local,
    is_right,
    query_order,
    TrialRefused,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.trial_data import OwnData
    from hanse.core.engine.trial_inputs import KeptInputs
    from hanse.core.engine.trial_post import Step
    from hanse.core.engine.trial_subject import Subject
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner
    from hanse.core.model.trial import Granted, Plan, SignedQuery, Way
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

ASKED_DAYS: Final = 14  # how long a REQUEST may be granted
_ACCURACY: Final = "accuracy"
_ROOM_BYTES: Final = TRIAL_FILE_SIZE_BYTES_MAX * 3 // 4  # for messages; Entries need the rest
_LABELLED: Final = ("classification", "regression")
