"""The lock of macOS: limits, then a sandbox profile that denies all it does not name.

* ``sandbox_init`` puts the same profile on as the program ``sandbox-exec`` does, but when the
  process asks for it: after its imports, as on Linux.  Both are deprecated, and reported to
  be enforced still.
* Paths are resolved first: the profile is compared with ``/private/tmp``, not ``/tmp``.
* Not verified: nobody ran this on a Mac.  The layer says so, in every Certificate.
* Only the standard library of Python 3.9: this also runs in an interpreter the person named.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from typing import TYPE_CHECKING, Final

from hanse.core.certify.lockdown.plan import Lock, NoLayer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.certify.lockdown.plan import LockPlan

LAYER: Final = "sandbox_init:unverified"
_LIBRARY: Final = "/usr/lib/libsandbox.1.dylib"
_READ: Final = (
    "/usr/lib",
    "/usr/share",
    "/System/Library",
    "/Library/Frameworks",
    "/dev/null",
    "/dev/urandom",
)
_READ_CONVERT: Final = ("/private/etc",)
# Looking up a name, asking the processor what it is, and what only touches the process itself.
_RULES: Final = """(version 1)
(deny default)
(allow file-read-metadata)
(allow sysctl-read)
(allow process-info* (target self))
(allow signal (target self))
"""


def profile(plan: LockPlan) -> str:
    """Write the sandbox profile of ``plan``."""
    lines = [f"(allow file-read* (subpath {_quoted(path)}))" for path in _readable(plan)]
    if plan.profile == "convert":
        lines.append("(allow file-map-executable)")
        if plan.scratch is not None:
            scratch = _quoted(os.path.realpath(plan.scratch))
            lines.append(f"(allow file-read* file-write* (subpath {scratch}))")
    return _RULES + "\n".join(lines) + "\n"


def _readable(plan: LockPlan) -> Iterator[str]:
    own = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))  # noqa: PTH120
    places = [*_READ, sys.prefix, sys.base_prefix, own]
    if plan.profile == "convert":
        places += [*_READ_CONVERT, *(one for one in sys.path if os.path.isabs(one))]  # noqa: PTH117
    if plan.stage is not None:
        places.append(str(plan.stage))
    seen = set()
    for path in places:
        real = os.path.realpath(path)
        if real != "/" and real not in seen:
            seen.add(real)
            yield real


def _quoted(path: str) -> str:
    if any(ord(one) < 0x20 for one in path):
        raise NoLayer(LAYER, f"a path with control characters: {path!r}")
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def missing() -> tuple[tuple[str, str], ...]:
    """Say why there can be no sandbox, if so."""
    try:
        _library()
    except NoLayer as error:
        return ((error.layer, error.reason),)
    return ()


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
        library.sandbox_init.argtypes = (
            ctypes.c_char_p,
            ctypes.c_uint64,
            ctypes.POINTER(ctypes.c_char_p),
        )
    except (OSError, AttributeError) as error:
        raise NoLayer(LAYER, str(error)) from error
    return library


if sys.platform != "win32":
    from hanse.core.certify.lockdown import rlimits

    LAYERS: Final = (*rlimits.LAYERS, LAYER)

    def lock(plan: LockPlan, open_files: int) -> Lock:
        """Put on the limits and the profile; raise ``NoLayer`` at the first that fails."""
        if threading.active_count() != 1:
            raise NoLayer("one_thread", "other_threads")
        limits = rlimits.set_limits(plan, open_files)
        if plan.nice:
            os.nice(plan.nice)
        said = ctypes.c_char_p()
        if _library().sandbox_init(profile(plan).encode(), 0, ctypes.byref(said)) != 0:
            raise NoLayer(LAYER, (said.value or b"").decode("utf-8", "replace"))
        _look()
        return Lock((*limits, LAYER), "full")


def _look() -> None:
    """Try what must fail now; a layer that only seems to be on is none."""
    try:
        os.close(os.open("/", os.O_RDONLY))
    except PermissionError:
        return
    raise NoLayer(LAYER, "not_in_force")
