"""Model cards and Drafts as bytes: canonical DAG-CBOR, bounded, and read back strictly.

* A card is signed through its hash, so one card has one encoding: every field stands in
  it, "not stated" as null or empty, and other encodings are refused.
* A card that breaks a bound is not written; what is read was checked like anything from
  a stranger.
* A Draft is this person's own: fields it does not have take their defaults, so that an
  older one can be opened, and what is wrong in it stays for ``listings`` to say.
"""

from __future__ import annotations

from hanse.core.errors import BadShape, NotCanonical, Refused
from hanse.core.ledger.codec import Unencodable, decode, encode
from hanse.core.limits import CARD_SIZE_BYTES_MAX, DRAFT_SIZE_BYTES_MAX
from hanse.core.market.card_faults import faults_of
from hanse.core.model.card import ModelCard
from hanse.core.model.listing import Draft


class CardUnfit(Refused):
    """A Model card breaks a bound of one of its fields, or is too large as a whole."""

    code = "card.unfit"
    text = "the model card cannot be signed: {where}: {detail}"
    fields = ("where", "detail")


class DraftUnfit(Refused):
    """A Draft cannot be kept, or a kept one cannot be read; nothing was changed."""

    code = "draft.unfit"
    text = "the draft cannot be kept or read: {detail}"
    fields = ("detail",)


def encode_card(card: ModelCard) -> bytes:
    """Return the one encoding of ``card``, or raise ``CardUnfit``."""
    for fault in faults_of(card):
        raise CardUnfit(where=fault.path, detail=f"{fault.kind}: {fault.found}")
    raw = encode(card)
    if len(raw) > CARD_SIZE_BYTES_MAX:
        raise CardUnfit(where="card", detail=f"{len(raw)} B > {CARD_SIZE_BYTES_MAX} B")
    return raw


def read_card(raw: bytes) -> ModelCard:
    """Read a card, or raise ``BadShape`` or ``NotCanonical``."""
    if len(raw) > CARD_SIZE_BYTES_MAX:
        raise BadShape(f"a card of {len(raw)} bytes, limit {CARD_SIZE_BYTES_MAX}")
    card = decode(raw, ModelCard)
    for fault in faults_of(card):
        raise BadShape(f"{fault.kind}: {fault.found} - at `$.{fault.path}`")
    if encode(card) != raw:
        raise NotCanonical("a card that leaves fields out")
    return card


def encode_draft(draft: Draft) -> bytes:
    """Return the bytes of a Draft for keeping, or raise ``DraftUnfit``."""
    try:
        raw = encode(draft)
    except Unencodable as error:
        raise DraftUnfit(detail=str(error)) from error
    read_draft(raw)
    return raw


def read_draft(raw: bytes) -> Draft:
    """Read a kept Draft, or raise ``DraftUnfit``."""
    if len(raw) > DRAFT_SIZE_BYTES_MAX:
        raise DraftUnfit(detail=f"{len(raw)} B > {DRAFT_SIZE_BYTES_MAX} B")
    try:
        return decode(raw, Draft)
    except (BadShape, NotCanonical) as error:
        raise DraftUnfit(detail=error.detail) from error
