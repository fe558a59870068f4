"""A licence of the seller's own: its text travels under the hash that was signed."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from hanse.core.model.listing import TierDraft
from hanse.core.trade.terms import own_terms, template
from tests.fakes.shop import plain_weights, publish, seller

if TYPE_CHECKING:
    from pathlib import Path

# As an editor on Windows saves it: other newlines, and one behind the end.
TEXT = "For schools only.\r\n\r\nNothing else is granted.\r\n"


def test_a_new_release_goes_on_with_a_licence_text_that_ends_in_a_newline(tmp_path: Path) -> None:
    terms = own_terms(TEXT, template("research-1").terms)
    tier = TierDraft(name="schools", terms=terms, text=TEXT)
    with seller(tmp_path).open() as engine:
        first = publish(engine, plain_weights(tmp_path / "first"), tiers=(tier,))
        kept = engine.content.small.get(terms.text_hash)
        assert kept == b"For schools only.\n\nNothing else is granted."
        assert sha256(kept).digest() == terms.text_hash

        second = publish(engine, plain_weights(tmp_path / "second"), listing=first.listing)
        (offered,) = engine.catalogue.show(second.listing).tiers
        assert offered.terms == terms
