"""How a Private body reaches its reader: seven states, and what moves a message between them.

* A message is one Entry for one Identity.  What is known of it are facts: it was handed to a
  Device, nobody answered, a Mailbox promised to keep it, the reader has it, it lapsed.
* The state is a function of the *set* of facts: any order and any repetition of them ends in the
  same one.  Two things take facts back: a promise that ran out, and a person who sends again.
* A message rests when nothing is left to be done; the others are tried again ever more seldom.

Who is asked, and over what, is not known here; neither is what a Step means for an Order.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import Final


@unique
class DeliveryState(Enum):
    """How far a message has come."""

    QUEUED = "queued"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    OFFERING = "offering"  # to a Mailbox
    HELD = "held"  # by a Mailbox
    FETCHED = "fetched"  # the reader has it, and a Mailbox had kept it
    FAILED = "failed"


@unique
class DeliveryEvent(Enum):
    """What was learnt of a message."""

    SENDING = "sending"  # it is handed to a Device of the reader
    UNANSWERED = "unanswered"  # none of them took it
    HELD = "held"  # a Mailbox promised to keep it
    GOT = "got"  # a Device of the reader has it
    LAPSED = "lapsed"  # it is of no use any more
    EXPIRED = "expired"  # no promise of a Mailbox is left
    RESENT = "resent"  # a person sends it again


_S, _E = DeliveryState, DeliveryEvent
_COLUMNS: Final = (
    _S.QUEUED, _S.SENT, _S.OFFERING, _S.HELD, _S.ACKNOWLEDGED, _S.FETCHED, _S.FAILED,
)  # fmt: skip
# What each event makes of the seven states above, in their order.
_ROWS: Final = {
    _E.SENDING: (
        _S.SENT, _S.SENT, _S.OFFERING, _S.HELD, _S.ACKNOWLEDGED, _S.FETCHED, _S.FAILED,
    ),
    _E.UNANSWERED: (
        _S.OFFERING, _S.OFFERING, _S.OFFERING, _S.HELD, _S.ACKNOWLEDGED, _S.FETCHED, _S.FAILED,
    ),
    _E.HELD: (
        _S.HELD, _S.HELD, _S.HELD, _S.HELD, _S.FETCHED, _S.FETCHED, _S.FAILED,
    ),
    # The reader has it, whatever was thought before; with a promise out it is FETCHED (``after``).
    _E.GOT: (
        _S.ACKNOWLEDGED, _S.ACKNOWLEDGED, _S.ACKNOWLEDGED, _S.FETCHED,
        _S.ACKNOWLEDGED, _S.FETCHED, _S.ACKNOWLEDGED,
    ),
    _E.LAPSED: (
        _S.FAILED, _S.FAILED, _S.FAILED, _S.FAILED, _S.ACKNOWLEDGED, _S.FETCHED, _S.FAILED,
    ),
    _E.EXPIRED: (
        _S.QUEUED, _S.SENT, _S.OFFERING, _S.OFFERING, _S.ACKNOWLEDGED, _S.FETCHED, _S.FAILED,
    ),
    _E.RESENT: (
        _S.QUEUED, _S.SENT, _S.OFFERING, _S.HELD, _S.QUEUED, _S.QUEUED, _S.QUEUED,
    ),
}  # fmt: skip
TRANSITIONS: Final = {
    (state, event): row[place]
    for event, row in _ROWS.items()
    for place, state in enumerate(_COLUMNS)
}
assert len(TRANSITIONS) == len(DeliveryState) * len(DeliveryEvent)

RESTING: Final = frozenset({_S.ACKNOWLEDGED, _S.FETCHED, _S.FAILED})

_MINUTE_MS: Final = 60 * 1000
RETRY_MS: Final = (
    30 * 1000, _MINUTE_MS, 2 * _MINUTE_MS, 5 * _MINUTE_MS, 15 * _MINUTE_MS, 30 * _MINUTE_MS,
)  # fmt: skip
LATER_MS: Final = 60 * _MINUTE_MS


def after(state: DeliveryState, event: DeliveryEvent, *, is_promised: bool) -> DeliveryState:
    """Return what ``state`` becomes; ``is_promised`` while a Mailbox's promise is out."""
    found = TRANSITIONS[state, event]
    if event is DeliveryEvent.GOT and is_promised:
        return DeliveryState.FETCHED
    return found


def retry_ms(tries: int) -> int:
    """Return how long to wait after that many tries, at least one."""
    assert tries >= 1
    return RETRY_MS[tries - 1] if tries <= len(RETRY_MS) else LATER_MS
