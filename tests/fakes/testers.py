"""People who certify what others sell: what they hold of it, what they sign, and liars too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hanse.core.engine.certificate_plan import plan_certificate
from hanse.core.engine.certify_target import CertifyRequest, Named, target_of
from hanse.core.engine.engine import Engine
from hanse.core.engine.signing import show, sign
from hanse.core.ledger.kinds import Release1
from hanse.core.market.card_codec import read_card
from hanse.core.model.card import Trials
from hanse.core.model.control import Control
from tests.fakes.people import PASSPHRASE
from tests.fakes.shop import body_of
from tests.fakes.trial_shop import draft_sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hanse.core.engine.certifying import JobView
    from hanse.core.engine.publishing import DraftView, PublishedView
    from hanse.core.engine.tested import Tested
    from hanse.core.model.card import ModelCard
    from hanse.core.model.ids import EntryId
    from hanse.core.model.running import ModelRunner
    from tests.fakes.people import Person

MINUTE_MS = 60_000


def open_with(person: Person, runner: ModelRunner | None = None) -> Engine:
    """Open and unlock an Account whose models run by ``runner``; the caller closes it."""
    engine = Engine.open(person.home, clock=person.clock, chance=person.chance, runner=runner)
    engine.accounts.unlock(PASSPHRASE)
    return engine


def draft_with(
    engine: Engine,
    base: Path,
    sample_id: str,
    named: str,
    change: Callable[[ModelCard], ModelCard] = lambda card: card,
    rows: bytes = b"",
    **values: object,
) -> DraftView:
    """Draft a twin of a sample model whose card says something else; its rows are held here."""
    draft = draft_sample(engine, base, sample_id, Trials(), named=named, **values)
    view = engine.publishing.edit(
        draft.draft_id, lambda one: msgspec.structs.replace(one, card=change(one.card))
    )
    if rows:
        engine.content.small.put(rows)
    return view


def publish_draft(engine: Engine, draft: bytes) -> PublishedView:
    """Test what is to be tested of a Draft, and sign it."""
    return engine.publishing.publish(draft, engine.publishing.preview(draft, Control()))


def hold(giver: Engine, taker: Engine, release: EntryId) -> None:
    """Copy the plain model of a Release, its card and its evaluation set, as if bought."""
    body = body_of(giver, release)
    assert isinstance(body, Release1)
    manifest = giver.content.manifest(body.artifact)
    for file in manifest.files:
        with giver.content.pieces.open(file.root, file.size) as stream:
            taker.content.pieces.add(file.root, file.size, stream)
    with taker.context.store.unit_of_work() as uow:
        taker.content.keep(uow, manifest)
        uow.commit()
    raw = giver.content.object(body.card)
    taker.content.small.put(raw)
    stated = read_card(raw).stated_evaluation
    rows = None if stated is None else giver.content.small.get(stated.sha256)
    if rows is not None:
        taker.content.small.put(rows)


def carry_golden(giver: Engine, taker: Engine, cert: EntryId) -> None:
    """Copy the golden vectors that belong to a Certificate."""
    row = giver.certificates.show(cert).row
    assert row.golden is not None
    taker.content.small.put(giver.content.object(row.golden))


def certify(engine: Engine, artifact: bytes, release: EntryId | None, **asked: object) -> JobView:
    """Run the quick suite over an Artifact, on one core, a minute after whatever was before."""
    known = {"suite": "quick", "cores": 1, "nice": 0, **asked}
    request = CertifyRequest(artifact=artifact, release=release, **known)
    job = engine.certifying.queue(request, now=True).row.job
    engine.context.clock.advance(MINUTE_MS)
    return engine.certifying.run(job, Control())


def sign_job(engine: Engine, view: JobView) -> EntryId:
    """Sign what a job came to."""
    return engine.certifying.sign(engine.certifying.preview(view.row.job))


def sign_altered(engine: Engine, view: JobView, change: Callable[[Tested], Tested]) -> EntryId:
    """Sign something else than what a job came to: it verifies, and is a lie."""
    context, request = engine.context, view.request
    with context.store.reads() as reads:
        what = Named(request.artifact, request.release)
        target = target_of(reads, engine.content, context.identity, what)
    planned = plan_certificate(context, target, change(view.tested), lambda _: target.release)
    preview = show(context, [planned.entry])
    with context.store.unit_of_work() as uow:
        (made,) = sign(context, uow, preview)
        uow.commit()
    return made.entry_id


def bring(giver: Engine, base: Path, *takers: Engine) -> Path:
    """Carry everything of an Identity to others as a feed file, and return it."""
    path = base / f"{giver.context.identity.hex()[:12]}-{giver.ledger.show()[-1].seq}.hanse-feed"
    giver.ledger.export(path)
    for taker in takers:
        take(taker, path)
    return path


def take(taker: Engine, *paths: Path) -> None:
    """Import feed files, of which nothing may be rejected."""
    for path in paths:
        assert not taker.ledger.import_file(path).rejected
