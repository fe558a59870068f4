"""Everything Hanse knows, without a window and without a socket.

Values, signatures, the Ledger, the store and the use cases live here.  Nothing in this layer
imports ``hanse.app``, ``hanse.ui`` or ``hanse.network``, Qt or libp2p.

``hanse.core.Ledger`` is the ledger for scripts; it is imported when it is asked for, so that
importing ``hanse.core`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hanse.core.engine.script import Ledger

__all__ = ["Ledger"]


def __getattr__(name: str) -> object:
    """Import what scripts use on first use."""
    if name == "Ledger":
        from hanse.core.engine.script import Ledger  # noqa: PLC0415 - SQLAlchemy takes 0.3 s

        return Ledger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
