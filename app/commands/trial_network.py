"""``hanse trial carry``, and ``start --network``: a Trial with its seller over the network.

The messages are those of the files, and so are all checks; only who carries them differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.app.answers import Answer
from hanse.app.commands.showing import short_id
from hanse.app.commands.trial_shown import next_lines, trial_lines, verdict_of
from hanse.app.progress import long_work
from hanse.core.model.control import Cancelled
from hanse.core.model.ids import IdentityId

if TYPE_CHECKING:
    from hanse.app.desk import Desk
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.ports import Peers


def carry(desk: Desk, *, trial: str) -> Answer:
    """Take a Trial as far as its seller answers now."""
    with desk.online() as (engine, network):
        return carried(desk, engine, network, engine.trials.named(trial)[0])


def carried(desk: Desk, engine: Engine, network: Peers, trial: bytes) -> Answer:
    """Let the network carry a Trial, and show how far it came; Ctrl-C leaves it where it is."""
    peer = network.trial(IdentityId(engine.trials.buying.show(trial).counterparty))
    with long_work(desk) as progress:
        try:
            view = engine.trials.carry(trial, peer, progress.control)
        except Cancelled as error:
            view = engine.trials.buying.show(trial)
            said = desk.say("trial.carry_left", trial=short_id(trial), answers=view.answers)
            return Answer({"trial": view, "verdict": verdict_of(engine, view)}, [said], error)
    verdict = verdict_of(engine, view)
    lines = [desk.say("trial.carried"), "", *trial_lines(desk, view, verdict)]
    if view.way == "answers" and not view.over:
        lines += ["", desk.say("trial.carry_again", trial=short_id(trial))]
    else:
        lines += ["", *next_lines(desk, view)]
    return Answer({"trial": view, "verdict": verdict}, lines)
