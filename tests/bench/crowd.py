"""Many Devices in one process, each with an Account and a network of its own, all at one hub."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from hanse.core.clock import SystemClock
from tests.fakes.online import online
from tests.fakes.people import Person


def main(hub: str, count: str, base: str) -> None:
    """Connect everybody, wait until each has agreed with the hub, and stay until told."""
    with ExitStack() as stack:
        there = []
        for number in range(int(count)):
            person = Person.make(Path(base), f"peer{number}", SystemClock())
            there.append(stack.enter_context(online(person)))
        for one in there:
            one.network.add(hub).result(60)
        for one in there:
            one.network.sync().result(120)
        sys.stdout.write("settled\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
