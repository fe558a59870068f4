"""Everything Hanse knows, without a window and without a socket.

Values, signatures, the Ledger, the store and the use cases live here.  Nothing in this layer
imports ``hanse.app``, ``hanse.ui`` or ``hanse.network``, Qt or libp2p.

``Ledger`` and ``publish_model`` are for scripts; they are imported when they are asked for, so
that importing ``hanse.core`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hanse.core.engine.publish_call import Published, publish_model
    from hanse.core.engine.script import Ledger

__all__ = ["Ledger", "Published", "publish_model"]

_HOMES: Final = {
    "Ledger": "hanse.core.engine.script",
    "Published": "hanse.core.engine.publish_call",
    "publish_model": "hanse.core.engine.publish_call",
}


def __getattr__(name: str) -> object:
    """Import what scripts use on first use."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
