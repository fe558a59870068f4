"""Bounds its own process, then answers one request by a converter.

Started as ``PYTHON -I foreign_main.py MEMORY CPU WRITE FOLDER CONVERTER`` by an interpreter that
need not know Hanse; ``FOLDER`` is that of the converters.

* Only the standard library, and nothing newer than Python 3.9: it is his interpreter.
* Bounds are set before a line of the converter or of his packages is run.
* Of Hanse there are the modules of ``FOLDER`` and nothing else, also where he has it installed.
"""

from __future__ import annotations

import importlib
import os
import sys
import types

_CONVERTERS = "hanse.core.artifacts.converters"
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


def place(folder: str) -> None:
    """Make the modules of ``folder`` importable under their full names.

    The packages above them stay empty: nothing else of Hanse is found, and nothing of it is run.
    """
    parts = _CONVERTERS.split(".")
    for count in range(1, len(parts) + 1):
        package = types.ModuleType(".".join(parts[:count]))
        package.__path__ = [folder] if count == len(parts) else []
        sys.modules[package.__name__] = package


def main() -> None:
    """Answer the request on standard input by the converter named last on the command line."""
    memory_bytes, cpu_seconds, write_bytes = (int(one) for one in sys.argv[1:4])
    folder, converter = sys.argv[4:]
    bound(memory_bytes, cpu_seconds, write_bytes)
    sys.argv = [os.path.join(folder, converter + ".py")]  # noqa: PTH118  as if it were the program
    place(folder)
    # The folder is ours: his interpreter leaves nothing in it.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    answering = importlib.import_module(_CONVERTERS + ".answering")
    convert = importlib.import_module(_CONVERTERS + "." + converter).convert
    sys.dont_write_bytecode = before
    answering.answer_request(convert)


if __name__ == "__main__":
    main()
