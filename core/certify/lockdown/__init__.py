"""The lock of a child process: one port, and the choice of the system it is for.

* In the child, in this order: ``prepare_to_lock`` with the imports, then, with exactly one
  thread and before the first model byte, ``lock_this_process``.
* Fail closed: a layer that cannot be put on raises ``NoLayer``; nothing is skipped in silence.
* In the parent: ``outer_command`` puts bubblewrap around a child where it works, never alone;
  ``offered`` says what this system can put on.

What is read or run under the lock is not known here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from hanse.core.certify.lockdown import outer
from hanse.core.certify.lockdown.plan import Lock, LockPlan, NoLayer
from hanse.core.limits import WORKER_OPEN_FILES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hanse.core.model.running import Grade

if sys.platform == "linux":
    from hanse.core.certify.lockdown import linux, seccomp
elif sys.platform == "darwin":
    from hanse.core.certify.lockdown import macos
elif sys.platform == "win32":
    from hanse.core.certify.lockdown import windows

__all__ = (
    "Lock",
    "LockPlan",
    "NoLayer",
    "Offer",
    "lock_this_process",
    "offered",
    "outer_command",
    "prepare_to_lock",
)


class Offer(NamedTuple):
    """What this system can put on: ``missing`` names layers and why they cannot be had.

    Under grade ``none`` no model runs; a missing outer layer changes no grade.
    """

    system: str
    grade: Grade
    layers: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]


def prepare_to_lock() -> None:
    """Load what the lock itself needs, while that is still allowed; raise ``NoLayer``."""
    if sys.platform == "linux":
        seccomp.load_library()


def lock_this_process(plan: LockPlan) -> Lock:
    """Give up every right ``plan`` does not name, for good; raise ``NoLayer``.

    To be called once, in the child, after all imports and before the first model byte.
    """
    if sys.platform == "linux":
        program, word = seccomp.program(plan.profile), seccomp.word(plan.profile)
        locked = linux.lock(plan, program, word, WORKER_OPEN_FILES_MAX)
    elif sys.platform == "darwin":
        locked = macos.lock(plan, WORKER_OPEN_FILES_MAX)
    elif sys.platform == "win32":
        locked = windows.lock(plan)
    else:
        raise NoLayer("system", f"no lock for {sys.platform}")
    return locked


def outer_command(
    command: Sequence[str], stage: Path | None, scratch: Path | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return ``command`` inside the outer layer where there is one, and that layer's name.

    A child that was started without its stage cannot be shown one later.
    """
    return outer.command(command, stage, scratch)


def offered() -> Offer:
    """Say what this system can put on; starts no model and locks nothing."""
    grade: Grade
    if sys.platform == "linux":
        missing = (*linux.missing(), *seccomp.missing())
        grade = "none" if missing else "full"
        word = () if any(layer == "seccomp" for layer, _ in missing) else (seccomp.NAME,)
        layers = (*outer.layers(), *linux.layers_offered(), *word)
        missing += outer.missing()
    elif sys.platform == "darwin":
        missing = macos.missing()
        grade, layers = "none" if missing else "full", macos.LAYERS
    elif sys.platform == "win32":
        missing = ()
        grade, layers = "limits", windows.LAYERS
    else:
        missing = (("system", f"no lock for {sys.platform}"),)
        grade, layers = "none", ()
    return Offer(sys.platform, grade, layers, missing)
