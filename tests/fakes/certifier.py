"""A program that certifies and is killed on the way, at a named point.

``python -m tests.fakes.certifier`` reads one JSON object a line and answers each with the signal
that ended its child: each request runs in a process of its own, forked from this one so that
nothing is imported twice.
"""

from __future__ import annotations

import json
import os
import sys

from hanse.core.engine.certify_target import CertifyRequest
from hanse.core.model.control import Control
from hanse.core.store.unit_of_work import UnitOfWork
from tests.fakes.publisher import end_here, open_engine


def request_of(wish: dict[str, str]) -> CertifyRequest:
    """Return what the certifier asks for; ``number`` tells one job from another."""
    return CertifyRequest(
        artifact=bytes.fromhex(wish["artifact"]),
        release=bytes.fromhex(wish["release"]),
        suite="quick",
        level_most=int(wish["level_most"]),
        cores=1,
        nice=int(wish["number"]),
    )


def run(wish: dict[str, str]) -> None:
    """Certify once, sign it, and die at ``wish["point"]``."""
    point = wish["point"]
    stage, _, least = point.partition(" ")

    def report(now: str, done: int, _total: int) -> None:
        if now == stage and done >= int(least):
            end_here(wish)

    certifying = open_engine(wish).certifying
    job = certifying.queue(request_of(wish), now=True).row.job
    certifying.run(job, Control(report if least.isdigit() else _quiet))
    if point == "after result":
        end_here(wish)
    to_sign = certifying.preview(job)
    commit = UnitOfWork.commit

    def commit_or_die(uow: UnitOfWork) -> None:
        if point == "before commit":
            end_here(wish)
        commit(uow)
        if point == "after commit":
            end_here(wish)

    UnitOfWork.commit = commit_or_die
    certifying.sign(to_sign)


def _quiet(stage: str, done: int, total: int) -> None:
    """Say nothing."""


def main() -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
