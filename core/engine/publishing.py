"""From a model file on disk to a signed Listing: the five steps of publishing.

* Import, prepare, describe, confirm, sign: a Draft stands on disk after each of them,
  so each can be left and resumed, and nothing is published twice.
* What is confirmed is what is signed, byte for byte (``hanse.core.engine.signing``).
* Before anything is signed every byte is on disk, the card too, and the sealed files
  were opened once to see that the Content key opens them.
* Entries, tables, the Draft's state and the announcement are one transaction.

Which Draft may be published is ``hanse.core.market.listings``'s to say; how a model is
inspected or converted is the runner's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.artifacts.importing import import_artifact
from hanse.core.engine.accounts import PHRASE_CONFIRMED
from hanse.core.engine.certify_data import listings_own, wanted_of
from hanse.core.engine.draft_problems import (
    level_of,
    problems_of,
    still_true,
    without_answered,
)
from hanse.core.engine.kept_draft import decode_kept, encode_kept
from hanse.core.engine.preparing import Preparation, prepare_model
from hanse.core.engine.redraft import (
    draft_of,
    gives_in_the_clear,
    next_release,
    own_listing,
)
from hanse.core.engine.release_plan import plan_release
from hanse.core.engine.signing import Preview, show, sign
from hanse.core.errors import Refused
from hanse.core.market.completeness import Completeness, completeness
from hanse.core.market.concepts import concepts
from hanse.core.market.listings import (
    Problem,
    cleaned,
)
from hanse.core.model.ids import EntryId
from hanse.core.model.listing import Draft, TierDraft
from hanse.core.store.drafts import (
    DRAFT_ID_SIZE_BYTES,
    DraftPublished,
    DraftRow,
    DraftState,
    DraftUnknown,
)
from hanse.core.store.objects import ManifestRow
from hanse.core.trade.terms import (
    DEFAULT_LICENCE,
    template,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.gate import Gate
    from hanse.core.engine.tested import Tested
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

STANDARD_TIER: Final = "standard"
USUAL_CURRENCY: Final = "USD"
_DRAFTS_SHOWN: Final = 200


class PhraseUnconfirmed(Refused):
    """Selling waits until the Recovery phrase was confirmed: losing it would lose the shop."""

    code = "publish.phrase_unconfirmed"
    text = "the recovery phrase was not confirmed yet"


class DraftHasProblems(Refused):
    """The Draft breaks rules; ``problems`` are all of them."""

    code = "publish.problems"
    text = "the draft has {count} problems"
    fields = ("count",)

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep them all."""
        super().__init__(count=len(problems))
        self.problems = tuple(problems)


class DraftEdited(Refused):
    """The Draft is no longer the one that was shown, or it is another; nothing was signed."""

    code = "publish.edited"
    text = "the draft {draft} is not the one that was previewed"
    fields = ("draft",)


@dataclass(frozen=True, slots=True)
class DraftView:
    """A Draft as it stands: what was typed and found, what is wrong, what the seller is told."""

    draft_id: bytes
    state: DraftState
    source: str | None
    draft: Draft
    problems: tuple[Problem, ...]
    completeness: Completeness
    level: int
    updated_ms: int

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Return the Problems that forbid publishing."""
        return tuple(one for one in self.problems if not one.is_warning)


@dataclass(frozen=True, slots=True)
class PublishedView:
    """What was put on the Ledger: ids, and the place of the last Entry."""

    listing: bytes
    release: bytes | None
    price: bytes | None
    artifact: bytes
    author: bytes
    seq: int
    level: int
    warnings: tuple[Problem, ...]


class Publishing:
    """The seller's side up to "published"."""

    def __init__(self, context: Context, content: Content, runner: ModelRunner, gate: Gate) -> None:
        """Bind the Account, its files, what starts Workers, and what tests before publishing."""
        self._context = context
        self._content = content
        self._runner = runner
        self._gate = gate

    # --- Drafts ------------------------------------------------------------------------------

    def begin(
        self,
        source: Path,
        control: Control,
        *,
        listing: bytes | None = None,
        preparation: Preparation | None = None,
        name: str | None = None,
    ) -> DraftView:
        """Import ``source`` and prepare it; the same source again goes on with its Draft.

        With ``listing`` the Draft is a new Release of that Listing of ours.
        """
        context = self._context
        if listing is not None:  # before a large file is read
            with context.store.reads() as reads:
                own_listing(reads, context.identity, listing)
        imported = import_artifact(source, self._content.pieces, control, name=name)
        artifact = imported.manifest.artifact_id
        with context.store.unit_of_work() as uow:
            row = self._same(uow, source, artifact, listing)
            if row is None or row.artifact == artifact or preparation is not None:
                self._content.keep(uow, imported.manifest)
            if row is None:
                draft = self._first_draft(uow, listing)
                draft = msgspec.structs.replace(
                    draft,
                    artifact=artifact,
                    size=imported.manifest.size,
                    files=len(imported.manifest.files),
                )
                draft_id = context.chance.bytes(DRAFT_ID_SIZE_BYTES)
                now_ms = context.clock.now_ms()
                uow.drafts.put(
                    DraftRow(
                        draft=draft_id,
                        state=DraftState.IMPORTED,
                        data=encode_kept(draft, ()),
                        created_ms=now_ms,
                        updated_ms=now_ms,
                        source=str(source.absolute()),
                        artifact=artifact,
                        listing=None if listing is None else EntryId(listing),
                    )
                )
            else:
                draft_id = row.draft
            uow.commit()
        try:
            return self.prepare(draft_id, control, preparation)
        except Refused:
            if row is None:
                self.drop(draft_id)  # a file that breaks a rule leaves no Draft behind
            raise

    def prepare(
        self, draft_id: bytes, control: Control, preparation: Preparation | None = None
    ) -> DraftView:
        """Inspect and convert what a Draft imported; what was prepared before is left alone."""
        context = self._context
        with context.store.reads() as reads:
            row = _row(reads, draft_id)
        if row.state is not DraftState.IMPORTED and preparation is None:
            return self.view(draft_id)
        _refuse_published(row)
        draft, _ = decode_kept(row.data)
        source = draft.made_from or draft.artifact
        assert source is not None
        draft, manifest, told = prepare_model(
            draft,
            self._content.manifest(source),
            self._content,
            self._runner,
            preparation or Preparation(),
            control,
        )
        with context.store.unit_of_work() as uow:
            self._content.keep(uow, manifest)
            uow.drafts.put(
                replace(
                    row,
                    state=DraftState.PREPARED,
                    data=encode_kept(draft, told),
                    artifact=manifest.artifact_id,
                    updated_ms=context.clock.now_ms(),
                )
            )
            for replaced in {source, row.artifact or source} - {manifest.artifact_id}:
                self._release(uow, replaced)
            uow.commit()
        return self.view(draft_id)

    def edit(self, draft_id: bytes, change: Callable[[Draft], Draft]) -> DraftView:
        """Keep what a person typed; also what is wrong is kept, and said."""
        with self._context.store.unit_of_work() as uow:
            row = _row(uow, draft_id)
            _refuse_published(row)
            draft, told = decode_kept(row.data)
            draft = without_answered(draft, change(draft))
            uow.drafts.put(
                replace(
                    row,
                    state=self._state(uow, row.state, draft),
                    data=encode_kept(draft, told),
                    updated_ms=self._context.clock.now_ms(),
                )
            )
            uow.commit()
        return self.view(draft_id)

    def view(self, draft_id: bytes) -> DraftView:
        """Return a Draft with everything that is wrong with it."""
        with self._context.store.reads() as reads:
            return self._view(reads, _row(reads, draft_id))

    def drafts(self) -> tuple[DraftView, ...]:
        """Return the Drafts that are not published, the last edited first."""
        with self._context.store.reads() as reads:
            rows = islice(_open_rows(reads), _DRAFTS_SHOWN)
            return tuple(self._view(reads, row) for row in rows)

    def drop(self, draft_id: bytes) -> None:
        """Forget a Draft; its files are swept unless something else wants them."""
        with self._context.store.unit_of_work() as uow:
            row = _row(uow, draft_id)
            _refuse_published(row)
            uow.drafts.drop(draft_id)
            if row.artifact is not None:
                self._release(uow, row.artifact)
            uow.commit()

    # --- signing -----------------------------------------------------------------------------

    def check_may_sell(self) -> None:
        """Raise unless this Account is unlocked, may sign, and its phrase was confirmed."""
        self._context.may_sign()
        with self._context.store.reads() as reads:
            if reads.meta.get(PHRASE_CONFIRMED) != "1":
                raise PhraseUnconfirmed

    def seal(self, draft_id: bytes, control: Control) -> None:
        """Seal the model of a Draft that is not given in the clear; long for a large one."""
        self.check_may_sell()
        with self._context.store.reads() as reads:
            draft, _ = decode_kept(_row(reads, draft_id).data)
        if draft.artifact is not None and not gives_in_the_clear(draft):
            self._content.seal(draft.artifact, control)

    def test(self, draft_id: bytes, control: Control) -> DraftView:
        """Run the gate on the model of a Draft, unless that was done; some seconds."""
        with self._context.store.reads() as reads:
            row = _row(reads, draft_id)
        _refuse_published(row)
        draft, _ = decode_kept(row.data)
        self._gate.test(draft, control)
        if self._gate.applies(draft) and row.state is DraftState.PREPARED:
            with self._context.store.unit_of_work() as uow:
                uow.drafts.advance(draft_id, DraftState.TESTED, self._context.clock.now_ms())
                uow.commit()
        return self.view(draft_id)

    def preview(self, draft_id: bytes, control: Control) -> Preview:
        """Return exactly what will be signed, or raise ``DraftHasProblems`` with all of them.

        The model is tested and sealed before, where that was not done.  Data given with the
        Listing that cannot be read for the model is refused with what is wrong in it.
        """
        self.check_may_sell()
        with self._context.store.reads() as reads:
            row = _row(reads, draft_id)
            _refuse_published(row)
            view = self._view(reads, row)
        if view.errors:
            raise DraftHasProblems(view.errors)
        self._check_evaluation(view.draft, control)
        view = self.test(draft_id, control)
        if view.errors:
            raise DraftHasProblems(view.errors)
        self.seal(draft_id, control)
        return show(
            self._context,
            plan_release(self._context, self._content, self._gate, view.draft),
            about=_about(row),
        )

    def publish(self, draft_id: bytes, preview: Preview) -> PublishedView:
        """Sign what ``preview`` showed; the Entries are on disk when this returns.

        Raises ``DraftEdited`` or ``PreviewStale`` when that cannot be signed any more.
        """
        context = self._context
        self.check_may_sell()
        with context.store.unit_of_work() as uow:
            row = _row(uow, draft_id)
            _refuse_published(row)
            if _about(row) != preview.about:
                raise DraftEdited(draft=draft_id)
            draft, told = decode_kept(row.data)
            assert draft.artifact is not None
            found = self._problems(uow, draft)  # once signed, it would be compared with itself
            tested = self._gate.tested(uow, draft)
            level = 0 if tested is None else tested.measured.level
            made = sign(context, uow, preview)
            ids = {entry.kind: entry.entry_id for entry in made}
            listing = draft.listing or ids["listing/1"]
            release = ids["release/1"]
            uow.objects.put_manifest(self._held_for(uow, draft, release))
            uow.drafts.advance(
                draft_id, DraftState.PUBLISHED, context.clock.now_ms(), listing=EntryId(listing)
            )
            uow.commit()
        return PublishedView(
            listing=listing,
            release=release,
            price=ids.get("price/1"),
            artifact=draft.artifact,
            author=context.device,
            seq=made[-1].seq,
            level=level,
            warnings=(*still_true(told, draft), *(one for one in found if one.is_warning)),
        )

    def _check_evaluation(self, draft: Draft, control: Control) -> None:
        """Read the data given with the Listing once, as whoever certifies the model will."""
        stated = draft.card.stated_evaluation
        facts = next((one for one in draft.facts if one.inputs), None)
        raw = None if stated is None else self._content.small.get(stated.sha256)
        if raw is None or facts is None:
            return  # not held, or of a model that shows no inputs
        wanted = wanted_of(facts, draft.card, draft.task)
        with self._content.work() as scratch:
            listings_own(raw, draft.card, wanted, self._runner, scratch, control)

    # --- what is held ------------------------------------------------------------------------

    def _same(
        self, held: Repositories, source: Path, artifact: bytes, listing: bytes | None
    ) -> DraftRow | None:
        """Return the Draft that was begun with this very source and not published yet."""
        for row in _open_rows(held):
            if row.listing == listing and row.source == str(source.absolute()):
                draft, _ = decode_kept(row.data)
                if artifact in {draft.artifact, draft.made_from}:
                    return row
        return None

    def _first_draft(self, held: Repositories, listing: bytes | None) -> Draft:
        """Return what a new Draft begins with: nothing, or the Listing as it stands."""
        if listing is None:
            terms = template(DEFAULT_LICENCE).terms
            tier = TierDraft(name=STANDARD_TIER, terms=terms)
            return Draft(currency=self._usual_currency(held), tiers=(tier,))
        found = own_listing(held, self._context.identity, listing)
        return next_release(draft_of(found, self._content), found.release_id)

    def usual_currency(self) -> str:
        """Return the currency a new Draft begins with."""
        with self._context.store.reads() as reads:
            return self._usual_currency(reads)

    def _usual_currency(self, held: Repositories) -> str:
        """Return the currency this Identity priced in last, USD when it never did."""
        for row in held.listings.of_identity(self._context.identity, limit=1):
            for price in row.prices:
                return price.amount.currency
        return USUAL_CURRENCY

    def _state(self, held: Repositories, state: DraftState, draft: Draft) -> DraftState:
        """Return how far a Draft has come that was just edited."""
        if state is DraftState.IMPORTED:
            return state
        has_errors = any(
            not one.is_warning
            for one in problems_of(
                held, draft, self._context.identity, self._context.clock.now_ms()
            )
        )
        return DraftState.PREPARED if has_errors else DraftState.DRAFTED

    def _release(self, uow: UnitOfWork, artifact: bytes) -> None:
        """Want the files of an Artifact no longer, unless something else of ours does."""
        if self._is_wanted(uow, artifact):
            return
        uow.objects.release_artifact(artifact)
        for held in uow.objects.manifests_of(artifact):
            uow.objects.drop_manifest(artifact, held.sealed)

    def _is_wanted(self, held: Repositories, artifact: bytes) -> bool:
        """Say whether another Draft or a Release of ours needs the files of an Artifact."""
        if held.drafts.of_artifact(artifact):
            return True
        own = self._context.identity
        return any(use.identity == own for use in held.listings.by_artifact(artifact))

    def _held_for(self, held: Repositories, draft: Draft, release: bytes) -> ManifestRow:
        """Return the row that says how the files of a Release are held."""
        assert draft.artifact is not None
        now_ms = self._context.clock.now_ms()
        if gives_in_the_clear(draft):
            return ManifestRow(draft.artifact, now_ms, release=EntryId(release))
        sealing = self._content.sealing(held, draft.artifact)
        assert sealing is not None
        seal = sealing.seal
        sealed = seal.manifests[1]
        return ManifestRow(draft.artifact, now_ms, sealed, seal.salt, seal.epoch, EntryId(release))

    def _problems(self, held: Repositories, draft: Draft) -> tuple[Problem, ...]:
        context = self._context
        return (
            *problems_of(held, draft, context.identity, context.clock.now_ms()),
            *self._gate.problems(held, draft),
        )

    def _view(self, held: Repositories, row: DraftRow) -> DraftView:
        draft, told = decode_kept(row.data)
        tested = self._gate.tested(held, draft)
        return DraftView(
            draft_id=row.draft,
            state=row.state,
            source=row.source,
            draft=draft,
            problems=(
                *self._problems(held, draft),
                *still_true(told, draft),
            ),
            completeness=completeness(cleaned(draft, concepts())),
            level=_level(draft, tested),
            updated_ms=row.updated_ms,
        )


def _level(draft: Draft, tested: Tested | None) -> int:
    """Return the Level that was reached here; 0 for what its seller lists untested."""
    if tested is not None:
        return tested.measured.level
    return 0 if draft.untested else level_of(draft)


def _row(held: Repositories, draft_id: bytes) -> DraftRow:
    row = held.drafts.get(draft_id)
    if row is None:
        raise DraftUnknown(draft=draft_id)
    return row


def _open_rows(held: Repositories) -> Iterator[DraftRow]:
    """Yield the Drafts that are not published, the last edited first."""
    before = None
    while page := held.drafts.page(before, _DRAFTS_SHOWN):
        yield from (row for row in page if row.state is not DraftState.PUBLISHED)
        before = (page[-1].updated_ms, page[-1].draft)


def _about(row: DraftRow) -> bytes:
    """Return what tells this state of this Draft from every other."""
    return sha256(row.draft + row.data).digest()


def _refuse_published(row: DraftRow) -> None:
    if row.state is DraftState.PUBLISHED:
        raise DraftPublished(draft=row.draft, listing=row.listing)
