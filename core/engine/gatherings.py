"""The objects on their way here, shared by all transfers that want them.

* A file that two Releases have is gathered once; what comes for one counts for both.
* An object gets its name once everything of it is proved, and by one of them only.

Which Release wants what is its transfer's to know.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from hanse.core.artifacts.gathering import Gathering, LeafGathering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hanse.core.artifacts.parts import Progress
    from hanse.core.artifacts.pieces import PieceStore
    from hanse.core.store.objects import ObjectName

G = TypeVar("G", Gathering, LeafGathering)


@dataclass(slots=True)
class _Shared(Generic[G]):
    """One thing on its way and who waits for it; ``is_installed`` once it has its name."""

    gathering: G
    users: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_installed: bool = False


class Gatherings:
    """Everything of one Account that is being gathered."""

    def __init__(self, pieces: PieceStore) -> None:
        """Gather for ``pieces``."""
        self._pieces = pieces
        self._lock = threading.Lock()
        self._objects: dict[ObjectName, _Shared[Gathering]] = {}
        self._leaves: dict[ObjectName, _Shared[LeafGathering]] = {}

    def of(self, user: object, name: ObjectName) -> Gathering:
        """Return what gathers an object; ``user`` holds it until it leaves."""
        return self._shared(self._objects, user, name, self._pieces.gathering).gathering

    def leaves_of(self, user: object, name: ObjectName) -> LeafGathering:
        """Return what gathers a leaf layer."""
        return self._shared(self._leaves, user, name, self._pieces.leaf_gathering).gathering

    def live(self, name: ObjectName) -> Gathering | None:
        """Return what gathers an object right now, for whoever asks which Pieces there are."""
        with self._lock:
            shared = self._objects.get(name)
        return None if shared is None or shared.is_installed else shared.gathering

    def _shared(
        self,
        table: dict[ObjectName, _Shared[G]],
        user: object,
        name: ObjectName,
        make: Callable[[bytes, int], G],
    ) -> _Shared[G]:
        with self._lock:
            shared = table.get(name)
            if shared is None:
                shared = table[name] = _Shared(make(*name))
            shared.users.add(id(user))
            return shared

    def install(self, user: object, name: ObjectName, progress: Progress) -> bool:
        """Give an object that is all here its name; False when some of it rotted meanwhile."""
        shared = self._shared(self._objects, user, name, self._pieces.gathering)
        with shared.lock:
            if not shared.is_installed:
                if not shared.gathering.prove(progress):
                    return False
                self._pieces.install(shared.gathering, name[0])
                shared.is_installed = True
        return True

    def install_leaves(self, user: object, name: ObjectName) -> bool:
        """Give a leaf layer that is all here its name; False when some of it rotted meanwhile."""
        shared = self._shared(self._leaves, user, name, self._pieces.leaf_gathering)
        with shared.lock:
            if not shared.is_installed:
                if not shared.gathering.prove():
                    return False
                self._pieces.install_leaves(shared.gathering)
                shared.is_installed = True
        return True

    def is_installed(self, name: ObjectName) -> bool:
        """Say whether an object that was gathered just now has its name."""
        with self._lock:
            shared = self._objects.get(name)
        return shared is not None and shared.is_installed

    def has_leaves(self, name: ObjectName) -> bool:
        """Say the same of a leaf layer."""
        with self._lock:
            shared = self._leaves.get(name)
        return shared is not None and shared.is_installed

    def forget(self, names: Iterable[ObjectName]) -> None:
        """Gather anew what was brought to its end and is gone again."""
        with self._lock:
            for name in names:
                for table in (self._objects, self._leaves):
                    shared = table.get(name)
                    if shared is not None and shared.is_installed:
                        del table[name]

    def sync(self, user: object) -> None:
        """Make durable what came for one transfer."""
        for gathering in self._of_user(user):
            gathering.sync()

    def _of_user(self, user: object) -> list[Gathering | LeafGathering]:
        with self._lock:
            return [
                one.gathering
                for one in self._all().values()
                if id(user) in one.users and not one.is_installed
            ]

    def _all(self) -> dict[tuple[str, ObjectName], _Shared[Gathering] | _Shared[LeafGathering]]:
        objects = {("object", name): shared for name, shared in self._objects.items()}
        leaves = {("leaves", name): shared for name, shared in self._leaves.items()}
        return {**objects, **leaves}

    def leave(self, user: object) -> None:
        """Let go of everything one transfer held."""
        with self._lock:
            for (kind, name), shared in self._all().items():
                shared.users.discard(id(user))
                if not shared.users:
                    (self._objects if kind == "object" else self._leaves).pop(name)

    def is_live(self, name: ObjectName) -> bool:
        """Say whether somebody gathers an object, or its leaf layer, right now."""
        with self._lock:
            return name in self._objects or name in self._leaves
