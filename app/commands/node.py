"""``hanse node``: the Account with its network and without a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.app.commands.peer import ExcludeEachOther
from hanse.app.node import run_node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.app.answers import Answer
    from hanse.app.desk import Desk


def node(desk: Desk, *, events: bool, port: int | None, listen: Sequence[str]) -> Answer:
    """Run until SIGTERM or SIGINT."""
    if port is not None and listen:
        raise ExcludeEachOther(one="--port", other="--listen")
    return run_node(desk, is_events=events, port=port, listen=listen)
