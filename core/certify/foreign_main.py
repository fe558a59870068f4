"""Locks its own process, then answers one request by a converter.

Started as ``PYTHON -I foreign_main.py PLAN LOCKDOWN CONVERTERS CONVERTER [late]`` by an
interpreter that need not know Hanse; ``PLAN`` is JSON, the two folders are of ours.

* Only the standard library, and nothing newer than Python 3.9: it is his interpreter.
* Limits are set before a line of the converter or of his packages is run.
* What the converter will need of his packages is imported, then the whole lock is put on, and
  only then is the request read and the file opened.  Where his packages start threads when
  they are imported, which the lock refuses, it starts over and leaves them for ``late``.
* The first line it prints says which layers are in force; without all of them it prints
  ``no sandbox: LAYER: REASON`` to standard error and ends.
* Of Hanse there are the modules of the two folders and nothing else, also where he has it
  installed.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import os
import re
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hanse.core.certify.lockdown.plan import Lock, LockPlan

_CONVERTERS = "hanse.core.artifacts.converters"
_LOCKDOWN = "hanse.core.certify.lockdown"
_EXIT_NO_SANDBOX = 70
_LATE = "late"


def place(package: str, folder: str) -> None:
    """Make the modules of ``folder`` importable as those of ``package``.

    The packages above it stay empty: nothing else of Hanse is found, and nothing of it is run.
    """
    parts = package.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        module = sys.modules.setdefault(name, types.ModuleType(name))
        module.__path__ = [folder] if count == len(parts) else []


def limit(plan: LockPlan, open_files: int) -> None:
    """Take no more than this from now on; Windows was bounded from outside."""
    if sys.platform != "win32":
        importlib.import_module(_LOCKDOWN + ".rlimits").set_limits(plan, open_files)


def lock(plan: LockPlan, asked: dict[str, Any]) -> Lock:
    """Put the whole lock on, or raise ``NoLayer``."""
    if sys.platform == "linux":
        module = importlib.import_module(_LOCKDOWN + ".linux")
        program = base64.b64decode(asked["program"])
        locked: Lock = module.lock(plan, program, asked["word"], asked["open_files"])
    elif sys.platform == "darwin":
        module = importlib.import_module(_LOCKDOWN + ".macos")
        locked = module.lock(plan, asked["open_files"])
    else:
        locked = importlib.import_module(_LOCKDOWN + ".windows").lock(plan)
    return locked


def import_packages(folder: str) -> None:
    """Import what the text of the modules in use asks for; what fails, the converter will say."""
    for name in [one for one in sys.modules if one.startswith(_CONVERTERS + ".")]:
        path = os.path.join(folder, name.rpartition(".")[2] + ".py")  # noqa: PTH118
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            wanted = re.findall(r'\bframework\("([\w.]+)"\)', file.read())
        for package in wanted:
            with contextlib.suppress(Exception):  # his packages fail in any way
                importlib.import_module(package)


def start_over() -> None:
    """Run this program again, without his packages before the lock."""
    program = os.path.abspath(__file__)  # noqa: PTH100
    command = [sys.executable, "-I", program, *sys.argv[1:], _LATE]
    os.execv(sys.executable, command)  # noqa: S606


def main() -> None:
    """Answer the request on standard input by the converter named on the command line."""
    asked = json.loads(sys.argv[1])
    lockdown, folder, converter = sys.argv[2:5]
    is_late = sys.argv[5:] == [_LATE]
    # The folders are ours: his interpreter leaves nothing in them.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    place(_LOCKDOWN, lockdown)
    place(_CONVERTERS, folder)
    plan_module = importlib.import_module(_LOCKDOWN + ".plan")
    plan = plan_module.LockPlan(**asked["plan"])
    program = os.path.join(folder, converter + ".py")  # noqa: PTH118
    try:
        limit(plan, asked["open_files"])
        answering = importlib.import_module(_CONVERTERS + ".answering")
        convert = importlib.import_module(_CONVERTERS + "." + converter).convert
        if not is_late:
            import_packages(folder)
            if sys.platform == "linux" and len(list(os.scandir("/proc/self/task"))) > 1:
                start_over()
        locked = lock(plan, asked)
    except plan_module.NoLayer as error:
        sys.stderr.write(f"no sandbox: {error.layer}: {error.reason}\n")
        sys.exit(_EXIT_NO_SANDBOX)
    sys.dont_write_bytecode = before
    sys.stdout.write(json.dumps({"layers": locked.layers, "grade": locked.grade}) + "\n")
    sys.argv = [program]  # as if it were the program
    answering.answer_request(convert)


if __name__ == "__main__":
    main()
