"""The limits every Unix has: memory, processor time, files held open, bytes written, core files.

* A limit is set for good: the hard one too.  It is never more than this user may have.
* Processor time counts from the lock on: what the imports took is added to the limit.
* Only the standard library of Python 3.9: this also runs in an interpreter the person named.

Why a number is what it is, is not known here.
"""

from __future__ import annotations

import math
import resource
import time
from typing import TYPE_CHECKING, Final

from hanse.core.certify.lockdown.plan import NoLayer

if TYPE_CHECKING:
    from hanse.core.certify.lockdown.plan import LockPlan

CPU_GRACE_SECONDS: Final = 1  # between the signal that says so and the one that ends it
LAYERS: Final = ("limit_memory", "limit_cpu", "limit_files", "limit_write", "limit_core")


def set_limits(plan: LockPlan, open_files: int) -> tuple[str, ...]:
    """Set all of them and name them; raise ``NoLayer`` when one is not taken."""
    wanted = (
        (resource.RLIMIT_AS, plan.memory_bytes, 0),
        (resource.RLIMIT_CPU, math.ceil(time.process_time()) + plan.cpu_seconds, CPU_GRACE_SECONDS),
        (resource.RLIMIT_NOFILE, open_files, 0),
        (resource.RLIMIT_FSIZE, plan.write_bytes if plan.profile == "convert" else 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    )
    for layer, (which, soft, grace) in zip(LAYERS, wanted):  # noqa: B905  Python 3.9
        most = resource.getrlimit(which)[1]
        hard = soft + grace
        if most != resource.RLIM_INFINITY:
            hard = min(hard, most)
        try:
            resource.setrlimit(which, (min(soft, hard), hard))
            held = resource.getrlimit(which)
        except (OSError, ValueError) as error:
            raise NoLayer(layer, str(error)) from error
        if held != (min(soft, hard), hard):
            raise NoLayer(layer, "not_in_force")
    return LAYERS
