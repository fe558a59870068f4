"""``hanse trial``: try a model before buying it, by files between buyer and seller.

* What will be signed, what the other side gets to see, and what a way to try cannot prevent is
  said before anybody is asked; ``--yes`` answers for the person.
* Until a claim is decided, "continue" and how many answers are left is all that is said of it.
* A file that is handed on is never overwritten.

Comparing several models is ``trial_bakeoff``'s, after the purchase ``trial_replay``'s.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from hanse.app.answers import Answer
from hanse.app.command_line import BadValue, MissingValue
from hanse.app.command_table import QUESTIONS_AT_ONCE
from hanse.app.commands.certify_typed import OptionNeedsOther, data_mapping
from hanse.app.commands.ledger import refuse_existing
from hanse.app.commands.peer import ExcludeEachOther
from hanse.app.commands.showing import SHORT_CHARACTERS, named
from hanse.app.commands.trial_network import carried
from hanse.app.commands.trial_shown import (
    next_lines,
    offer_lines,
    plan_lines,
    quality_lines,
    trial_lines,
    trial_table,
    verdict_of,
)
from hanse.app.progress import long_work
from hanse.core.certify.data import MappingNeeded
from hanse.core.durable import write_durably
from hanse.core.engine.trying.buyer import Question
from hanse.core.engine.trying.data import OwnData
from hanse.core.engine.trying.file import read_trial_file
from hanse.core.engine.trying.peer import read_file
from hanse.core.engine.trying.records import BUYER, SELLER
from hanse.core.engine.trying.views import HONEST_ANSWERS_BUYER, HONEST_SEALED_BUYER
from hanse.core.errors import FolderNotWritable
from hanse.core.limits import TRIAL_FILE_MESSAGES_MAX, TRIALS_HELD_MAX
from hanse.core.market.scaled import read_micro
from hanse.core.model.card import MICRO
from hanse.core.model.ids import identity_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hanse.app.desk import Desk
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.ports import Peers
    from hanse.core.engine.trying.offer import TrialOffer
    from hanse.core.model.trial import Way

_SUFFIX: Final = ".hanse-trial"
_HONEST: Final = {
    "sealed": HONEST_SEALED_BUYER,
    "answers": HONEST_ANSWERS_BUYER,
}


# --- the buyer ------------------------------------------------------------------------------


def start(
    desk: Desk,
    *,
    release: str,
    way: Way,
    data: Path | None,
    mapping_file: Path | None,
    inputs: Sequence[str],
    target: Sequence[str],
    positive: str | None,
    claim: str | None,
    margin: str | None,
    files: Path | None,
    network: bool,
    out: Path | None,
) -> Answer:
    """Ask to try a Release; what will happen is shown first."""
    claim_micro, margin_micro = _share("--claim", claim), _share("--margin", margin)
    if (claim_micro is None) != (margin_micro is None):
        raise OptionNeedsOther(option="--claim, --margin", needed="both")
    if way != "answers" and claim_micro is not None:
        raise OptionNeedsOther(option="--claim, --margin", needed="answers")
    if way == "sealed" and data is not None:
        raise OptionNeedsOther(option="--data", needed="not_sealed")
    if way != "open" and files is not None:
        raise OptionNeedsOther(option="--files", needed="open")
    if way == "answers" and data is None:
        raise MissingValue(name="--data")
    if network and way == "open":
        raise ExcludeEachOther(one="--network", other="--way open")
    if network and out is not None:
        raise ExcludeEachOther(one="--network", other="--out")
    if out is not None:
        refuse_existing(out)
    mapping = data_mapping(mapping_file, target=target, positive=positive, inputs=inputs)
    if way == "open":
        own = None if data is None else OwnData(data, mapping)
        return _open(desk, release, files, own)
    with ExitStack() as stack:
        peers: Peers | None = None
        if network:
            engine, peers = stack.enter_context(desk.online())
        else:
            engine = stack.enter_context(desk.unlocked())
        offer = engine.trials.offer(release)
        _confirm_start(desk, engine, offer, way, data, claim_micro, margin_micro)
        question = None
        if data is not None:
            question = Question(OwnData(data, mapping), claim_micro, margin_micro)
        try:
            with long_work(desk) as progress:
                view = engine.trials.buying.start(offer.release, way, progress.control, question)
        except MappingNeeded:
            desk.tell("trial.how_to_map")
            raise
        assert view.trial is not None
        if peers is not None:
            return carried(desk, engine, peers, view.trial)
        path = out or _free_path(desk, f"trial-{view.trial.hex()[:SHORT_CHARACTERS]}")
        write_new(path, engine.trials.buying.outgoing(view.trial))
    lines = [
        desk.say("trial.started", path=path),
        "",
        *trial_lines(desk, view),
        "",
        desk.say("trial.next.give", path=path),
    ]
    return Answer({"trial": view, "file": path}, lines)


def _confirm_start(
    desk: Desk,
    engine: Engine,
    offer: TrialOffer,
    way: Way,
    data: Path | None,
    claim_micro: int | None,
    margin_micro: int | None,
) -> None:
    name = engine.accounts.profile(offer.seller).name
    draft = [desk.say("trial.draft"), "", *offer_lines(desk, offer, way, name)]
    if claim_micro is not None and margin_micro is not None:
        draft += ["", *plan_lines(desk, offer.plan(claim_micro, margin_micro))]
    if data is not None:
        draft += ["", desk.say("trial.data", path=data)]
    desk.confirm([*draft, "", desk.say(_HONEST[way])])


def _open(desk: Desk, release: str, files: Path | None, data: OwnData | None) -> Answer:
    """Find the open edition, or take its files; nothing is signed or sent."""
    figures: list[str] = []
    with desk.writing() as engine:
        offer = engine.trials.offer(release)
        editions = engine.trials.editions
        with long_work(desk) as progress:
            if files is not None:
                view = editions.bring(offer.release, files, progress.control)
            else:
                view = engine.trials.buying.start(offer.release, "open", progress.control)
            quality = None
            if data is not None:
                quality = editions.evaluate(offer.release, data, progress.control)
    if quality is not None:
        figures = [*quality_lines(desk, quality.rows), ""]
    lines = [*trial_lines(desk, view), "", *figures, desk.say(view.honest), ""]
    return Answer({"trial": view, "quality": quality}, [*lines, *next_lines(desk, view)])


def take(desk: Desk, *, path: Path, out: Path | None) -> Answer:
    """Take what the seller sent, and write the next questions if there are any."""
    if out is not None:
        refuse_existing(out)
    with desk.unlocked() as engine:
        view = engine.trials.buying.take(read_file(path))
        assert view.trial is not None
        verdict = verdict_of(engine, view)
        written = None
        if out is not None and view.way == "answers" and not view.over:
            write_new(out, engine.trials.buying.next_queries(view.trial, QUESTIONS_AT_ONCE))
            written = out
    lines = [desk.say("trial.taken"), "", *trial_lines(desk, view, verdict), ""]
    lines += [desk.say("trial.next.give", path=out)] if written else next_lines(desk, view)
    return Answer({"trial": view, "verdict": verdict, "file": written}, lines)


def ask(desk: Desk, *, trial: str, out: Path | None, most: int) -> Answer:
    """Write the next questions for the seller; the same ones until they were answered."""
    if out is not None:
        refuse_existing(out)
    count = max(1, min(most, TRIAL_FILE_MESSAGES_MAX))
    with desk.unlocked() as engine:
        trial_id = engine.trials.named(trial)[0]
        raw = engine.trials.buying.next_queries(trial_id, count)
        view = engine.trials.buying.show(trial_id)
    asked = len(read_trial_file(raw).messages)
    stem = f"trial-{trial_id.hex()[:SHORT_CHARACTERS]}-{view.answers + 1}"
    path = out or _free_path(desk, stem)
    write_new(path, raw)
    lines = [
        desk.say("trial.asked", count=asked, path=path),
        desk.say(view.honest),
        "",
        desk.say("trial.next.give", path=path),
    ]
    return Answer({"trial": trial_id, "questions": asked, "file": path}, lines)


def run(
    desk: Desk,
    *,
    trial: str,
    data: Path,
    mapping_file: Path | None,
    inputs: Sequence[str],
    target: Sequence[str],
    positive: str | None,
    metric: Sequence[str],
) -> Answer:
    """Judge the model of a sealed trial on one's own data; counts one run."""
    mapping = data_mapping(mapping_file, target=target, positive=positive, inputs=inputs)
    with desk.unlocked() as engine:
        trial_id = engine.trials.named(trial)[0]
        view = engine.trials.buying.show(trial_id)
        left = 0 if view.runs_most is None else view.runs_most - view.runs_used
        desk.confirm(
            [desk.say(view.honest), "", desk.say("trial.run_counts", left=left)],
            "confirm.trial_run",
        )
        try:
            with long_work(desk) as progress:
                found = engine.trials.sealed.evaluate(
                    trial_id, OwnData(data, mapping), progress.control, tuple(metric) or None
                )
        except MappingNeeded:
            desk.tell("trial.how_to_map")
            raise
    left = found.runs_most - found.runs_used
    lines = [*quality_lines(desk, found.rows), ""]
    if found.isolation != "full":
        lines.append(desk.say("run.limits_only"))
    lines += [desk.say("run.runs_left", left=left, most=found.runs_most), desk.say(view.honest)]
    return Answer({"trial": trial_id, "quality": found}, lines)


# --- the seller -----------------------------------------------------------------------------


def answer(desk: Desk, *, path: Path, out: Path | None) -> Answer:
    """Answer a buyer's file: grant or refuse by the card's rules, run the questions, sign."""
    if out is not None:
        refuse_existing(out)
    raw = read_file(path)
    file = read_trial_file(raw)
    with desk.unlocked() as engine:
        name = engine.accounts.profile(file.sender).name
        shown = {
            "trial_id": file.trial,
            "buyer": identity_text(file.sender),
            "name": name or None,
            "questions": len(file.messages),
        }
        draft = [desk.say("trial.answer_draft"), "", *named(desk, shown), ""]
        draft.append(desk.say("trial.honest.answers_seller"))
        draft.append(desk.say("trial.honest.sealed_seller"))
        desk.confirm(draft)
        with long_work(desk) as progress:
            found = engine.trials.answering.answer(raw, progress.control)
    target = out or _free_path(desk, f"{path.name.removesuffix(_SUFFIX)}-answer")
    write_new(target, found.reply)
    counts = {"answers_now": found.answered, "answers_again": found.repeated}
    lines = [
        desk.say("trial.replied", path=target),
        "",
        *trial_lines(desk, found.trial),
        "",
        *named(desk, counts),
    ]
    if found.stopped:
        lines += [
            "",
            desk.say("trial.stopped", reason=desk.say("trial.refused", reason=found.stopped)),
        ]
    lines += ["", desk.say("trial.next.give_back", path=target)]
    result = {"trial": found.trial, **counts, "stopped": found.stopped or None, "file": target}
    return Answer(result, lines)


# --- both -----------------------------------------------------------------------------------


def show(desk: Desk, *, trial: str) -> Answer:
    """Show a Trial as it stands, and what its answers decide."""
    with desk.reading() as engine:
        trial_id, role = engine.trials.named(trial)
        side = engine.trials.buying if role == BUYER else engine.trials.answering
        view = side.show(trial_id)
        verdict = verdict_of(engine, view)
    lines = [*trial_lines(desk, view, verdict, is_full=True), "", desk.say(view.honest)]
    if view.plan is not None:
        lines += ["", *plan_lines(desk, view.plan)]
    if role == BUYER:
        lines += ["", *next_lines(desk, view)]
    return Answer({"trial": view, "verdict": verdict}, lines)


def show_list(desk: Desk, *, role: str | None, limit: int) -> Answer:
    """List Trials, in each role those that changed last first."""
    most = max(1, min(limit, TRIALS_HELD_MAX))
    with desk.reading() as engine:
        found = [
            view
            for one in (BUYER, SELLER)
            if role in (None, one)
            for view in engine.trials.page(one, limit=most)
        ]
    if not found:
        return Answer((), [desk.say("trial.none")])
    return Answer(tuple(found), trial_table(desk, found))


def close(desk: Desk, *, trial: str, out: Path | None) -> Answer:
    """End a granted Trial; the keys of a sealed one are erased at once."""
    if out is not None:
        refuse_existing(out)
    with desk.unlocked() as engine:
        trial_id, role = engine.trials.named(trial)
        side = engine.trials.buying if role == BUYER else engine.trials.answering
        view = side.show(trial_id)
        desk.confirm([desk.say("trial.close_draft"), "", *trial_lines(desk, view)])
        view = side.close(trial_id)
        if out is not None:
            write_new(out, side.outgoing(trial_id))
    lines = [desk.say("trial.closed"), "", *trial_lines(desk, view)]
    if out is not None:
        lines += ["", desk.say("trial.next.give", path=out)]
    return Answer({"trial": view, "file": out}, lines)


def _share(option: str, text: str | None) -> int | None:
    """Read a share such as 0.9 or 90%."""
    if text is None:
        return None
    plain = text.strip()
    found = read_micro(plain.removesuffix("%"))
    if found is not None and plain.endswith("%"):
        found //= 100
    if found is None or not 0 < found < MICRO:
        raise BadValue(name=option, found=text, expected="0.9, 90%")
    return found


def _free_path(desk: Desk, stem: str) -> Path:
    path = desk.path(f"{stem}{_SUFFIX}").absolute()
    refuse_existing(path)
    return path


def write_new(path: Path, raw: bytes) -> None:
    """Write a file that is not there yet."""
    try:
        write_durably(path, raw)
    except OSError as error:
        raise FolderNotWritable(path=path, detail=error.strerror or str(error)) from error
