"""What libp2p needs before it may be imported here.

libp2p names ``fastecdsa``, which has no wheel for Linux and macOS and would need a compiler.  It
serves P-256 keys only, and Hanse has none: a Device key is Ed25519.  So the lock leaves it out,
and where it is absent a stand-in takes its names.  The stand-in computes nothing; whoever uses
it gets an exception that says so.  This module refuses to know who is at the other end.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Final, NoReturn

_ABSENT: Final = "fastecdsa"
_MODULES: Final = ("", ".curve", ".keys", ".point", ".encoding", ".encoding.sec1", ".encoding.util")


class P256Unavailable(NotImplementedError):
    """Something reached for a P-256 key; Hanse speaks Ed25519 and installs no such library."""

    def __init__(self, name: str) -> None:
        """Name what was reached for."""
        super().__init__(
            f"{name} is not there: P-256 keys are not supported, every Hanse uses Ed25519 "
            f"(the package {_ABSENT} is left out on purpose)"
        )


class _Missing:
    """One name of the absent library: may be imported and annotated with, never used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise P256Unavailable(self._name)

    def __getattr__(self, attribute: str) -> NoReturn:
        raise P256Unavailable(f"{self._name}.{attribute}")


class _StandIn(ModuleType):
    """A module of the absent library, whose every name is a ``_Missing``."""

    def __getattr__(self, attribute: str) -> _Missing:
        if attribute.startswith("__"):  # what the import system asks is answered truly
            raise AttributeError(attribute)
        return _Missing(f"{self.__name__}.{attribute}")


def stand_in_for_fastecdsa() -> bool:
    """Register the stand-in unless the real library is installed; tell whether it is in use."""
    present = sys.modules.get(_ABSENT)
    if present is not None:
        return isinstance(present, _StandIn)
    if find_spec(_ABSENT) is not None:
        return False
    for suffix in _MODULES:
        name = _ABSENT + suffix
        module = _StandIn(name)
        module.__spec__ = ModuleSpec(name, loader=None, is_package=True)
        module.__path__ = []
        sys.modules[name] = module
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], leaf, module)
    return True


stand_in_for_fastecdsa()  # before any ``import libp2p``, in this file and in this package
