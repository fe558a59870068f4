"""Which machine this is, as far as figures need it: no host name, serial or address.

* The tier is what the instructions of the CPU allow: ``x86_64-v3``, ``x86_64-v4+vnni``,
  ``arm64``, ``arm64+i8mm``.
* Cores are physical ones, and no more than this process may use.
* "Machines like yours" are of the same tier, with cores within a factor of 2.

On macOS ``archspec`` starts a program to find out: call ``probe_hardware`` on a job's thread.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from typing import TYPE_CHECKING, Final

import archspec.cpu  # type: ignore[import-untyped]  # ships no types
import psutil

from hanse.core.model.certificate import Machine

if TYPE_CHECKING:
    from collections.abc import Collection

_GIB: Final = 1024**3
_X86: Final = frozenset({"x86_64", "amd64"})
_ARM: Final = frozenset({"arm64", "aarch64"})
_VNNI: Final = frozenset({"avx512_vnni", "avx512vnni", "avx_vnni"})
_BRAND_CHARACTERS: Final = 64
_MINOR: Final = re.compile(r"^\d+(\.\d+)?")


def probe_hardware() -> Machine:
    """Look at this machine."""
    host = archspec.cpu.host()
    architecture = _architecture(platform.machine())
    generic = str(host.generic.name)
    tier = tier_of(architecture, generic, {str(one) for one in host.features})
    cores = physical_cores()
    return Machine(
        machine_class=f"{tier}/{cores}c",
        architecture=architecture,
        tier=tier,
        cpu=_brand(str(archspec.cpu.brand_string() or host.name)),
        cores=cores,
        ram_gib=max(1, round(psutil.virtual_memory().total / _GIB)),
        os=f"{platform.system().lower()} {_minor(platform.release())}",
    )


def physical_cores() -> int:
    """Return how many cores this process may use, counting twins once."""
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    if sys.platform == "darwin":  # has no affinity
        return physical
    return max(1, min(physical, len(psutil.Process().cpu_affinity())))


def tier_of(architecture: str, generic: str, features: Collection[str]) -> str:
    """Name the tier from archspec's generic name (``x86_64_v3``) and the CPU's features."""
    if architecture == "x86_64":
        level = re.search(r"_v(\d)$", generic)
        base = f"x86_64-v{level[1]}" if level else "x86_64"
        return f"{base}+vnni" if not _VNNI.isdisjoint(features) else base
    if architecture == "arm64":
        return "arm64+i8mm" if "i8mm" in features else "arm64"
    return architecture


def same_class(a: Machine, b: Machine) -> bool:
    """Say whether figures of the two may be compared: one tier, cores within a factor of 2."""
    low, high = sorted((a.cores, b.cores))
    return a.tier == b.tier and high <= 2 * low


def load_average_centi() -> int:
    """Return how many processes wanted to run in the last minute, in hundredths; -1 unknown."""
    if sys.platform == "win32":
        return -1
    return round(os.getloadavg()[0] * 100)


def _architecture(machine: str) -> str:
    lower = machine.lower()
    if lower in _X86:
        return "x86_64"
    return "arm64" if lower in _ARM else lower[:16]


def _brand(said: str) -> str:
    """Keep the name of the CPU printable and short; what marks a trade is left out."""
    bare = re.sub(r"\((R|TM|C)\)", "", said, flags=re.IGNORECASE)
    shown = "".join(one if one.isprintable() else " " for one in bare)
    return " ".join(shown.split())[:_BRAND_CHARACTERS]


def _minor(release: str) -> str:
    found = _MINOR.match(release)
    return found[0] if found else "0"
