"""Bounds its own process, then runs one converter file as a program.

Started as ``PYTHON -I foreign_main.py MEMORY CPU WRITE CONVERTER`` by an interpreter that need
not know Hanse; the converter reads its request from standard input itself.

* Only the standard library, and nothing newer than Python 3.9: it is his interpreter.
* Bounds are set before a line of the converter or of his packages is run.
"""

from __future__ import annotations

import os
import runpy
import sys

_CPU_GRACE_SECONDS = 5


def bound(memory_bytes: int, cpu_seconds: int, write_bytes: int) -> None:
    """Take no more than this from now on; on Windows nothing is bounded (not verified there)."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415  there is none on Windows

    os.nice(10)
    for which, wanted in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, write_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        most = resource.getrlimit(which)[1]
        hard = wanted + _CPU_GRACE_SECONDS if which == resource.RLIMIT_CPU else wanted
        if most != resource.RLIM_INFINITY:
            hard = min(hard, most)
        resource.setrlimit(which, (min(wanted, hard), hard))


def main() -> None:
    """Run the converter named last on the command line."""
    memory_bytes, cpu_seconds, write_bytes = (int(one) for one in sys.argv[1:4])
    converter = sys.argv[4]
    bound(memory_bytes, cpu_seconds, write_bytes)
    sys.argv = [converter]
    runpy.run_path(converter, run_name="__main__")


if __name__ == "__main__":
    main()
