"""``hanse trial replay``: after delivery, whether the model is the one that answered.

* The answers of the trial are run again on what was delivered; the key that came with it opens
  what was sealed.
* "Matches", or a proof that anybody can check with ``hanse verify``; then the exit code is 1.
* A Replay that cannot be compared says why, and proves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.app.answers import Answer
from hanse.app.commands.ledger import refuse_existing
from hanse.app.commands.showing import SHORT_CHARACTERS, named
from hanse.app.commands.trial import write_new
from hanse.app.progress import long_work
from hanse.core.errors import EXIT_NO, HanseError, WrongUse
from hanse.core.keystore.secret_file import read_secret_file

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.app.desk import Desk

_KEY_SIZE_BYTES: Final = 32
_NANO: Final = 1_000_000_000


class NotAKey(WrongUse):
    """A file holds no key of a model."""

    code = "trial.not_a_key"
    text = "{path} holds no key of 64 hexadecimal digits"
    fields = ("path",)


class OtherModel(HanseError):
    """The delivered model does not answer as the one of the trial did."""

    code = "trial.mismatch"
    text = "{failing} of {n} answers are not those of the delivered model; proof: {path}"
    fields = ("failing", "n", "path")
    exit_code = EXIT_NO


class NotCompared(HanseError):
    """The answers could not be compared; ``reason`` is a stable word."""

    code = "trial.not_compared"
    text = "the answers could not be compared: {reason}"
    fields = ("reason",)
    exit_code = EXIT_NO


def replay(
    desk: Desk, *, trial: str, key: Path, delivered: Path | None, proof: Path | None
) -> Answer:
    """Run the answers of a Trial again on the delivered model."""
    if proof is not None:
        refuse_existing(proof)
    content_key = _key(desk, key)
    with desk.unlocked() as engine:
        trial_id = engine.trials.named(trial)[0]
        path = proof or key.parent / f"trial-{trial_id.hex()[:SHORT_CHARACTERS]}.hanse-warranty"
        if proof is None:
            refuse_existing(path)
        with long_work(desk) as progress:
            found = engine.trials.replaying.replay(
                trial_id, content_key, progress.control, delivered
            )
        if found.proof is not None:
            write_new(path, found.proof)
    result = found.result
    values = {
        "compared": result.n,
        "failing": result.failing,
        "difference": f"{result.max_abs_nano / _NANO:.9f}".rstrip("0").rstrip("."),
        "runtime": result.runtime,
        "isolation": result.isolation,
    }
    shown: dict[str, object] = {"trial": trial_id, **values, "verdict": result.verdict}
    lines = list(named(desk, {"trial_id": trial_id, **values}))
    if result.verdict == "match":
        return Answer(shown, [desk.say("trial.matches", count=result.n), "", *lines])
    if found.proof is None:
        refusal: HanseError = NotCompared(reason=result.reason or "nothing")
        said = [desk.say(refusal.code, **refusal.values), "", *lines]
        return Answer(shown, said, refusal)
    refusal = OtherModel(failing=result.failing, n=result.n, path=path)
    said = [
        desk.say(refusal.code, **refusal.values),
        "",
        *lines,
        "",
        desk.say("trial.next.proof", path=path),
    ]
    return Answer({**shown, "file": path}, said, refusal)


def _key(desk: Desk, path: Path) -> bytes:
    text, is_open = read_secret_file(path)
    try:
        key = bytes.fromhex(text.strip())
    except ValueError as error:
        raise NotAKey(path=path) from error
    if len(key) != _KEY_SIZE_BYTES:
        raise NotAKey(path=path)
    if is_open:
        desk.tell("secret_file.open_to_others", path=path)
    return key
