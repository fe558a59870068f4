"""Which files of the content store are wanted, by which Artifacts, and whose they are.

* An object is named by root and size.  Equal files of several Artifacts are one object
  with several uses; it belongs to the strongest of them and counts once.
* A file without a row here may be swept; a row without a file is *missing* and may be
  fetched again.
* Only objects that are for others are ever evicted, the one seeded longest ago first.
* ``manifests`` says which Artifacts are held, plain and sealed, and for which Release.

Where the files lie, and whether they are there, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, func, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert

from hanse.core.artifacts.quota import Whose
from hanse.core.model.ids import EntryId
from hanse.core.store.tables import manifests, object_uses, objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hanse.core.store.feed_rows import AnyRow

ObjectName = tuple[bytes, int]  # root of the tree, size in bytes

_ROWS_PER_PAGE: Final = 1000

OBJECTS_AFTER: Final = (
    select(objects.c.root, objects.c.size)
    .where(tuple_(objects.c.root, objects.c.size) > tuple_(bindparam("root"), bindparam("size")))
    .order_by(objects.c.root, objects.c.size)
    .limit(_ROWS_PER_PAGE)
)
USES_OF: Final = (
    select(object_uses)
    .where(object_uses.c.root == bindparam("root"), object_uses.c.size == bindparam("size"))
    .order_by(object_uses.c.artifact, object_uses.c.part)
)
OF_ARTIFACT: Final = (
    select(object_uses)
    .where(object_uses.c.artifact == bindparam("artifact"))
    .order_by(object_uses.c.part, object_uses.c.root, object_uses.c.size)
)
USAGE: Final = select(func.coalesce(func.sum(objects.c.size), 0)).where(
    objects.c.whose == bindparam("whose")
)
LEAST_SEEDED: Final = (
    select(objects.c.root, objects.c.size)
    .where(objects.c.whose == bindparam("whose"))
    .order_by(objects.c.seeded_ms, objects.c.root, objects.c.size)
    .limit(bindparam("limit"))
)
MANIFESTS_OF: Final = (
    select(manifests)
    .where(manifests.c.artifact == bindparam("artifact"))
    .order_by(manifests.c.sealed)
)
MANIFEST_OF_RELEASE: Final = (
    select(manifests).where(manifests.c.release == bindparam("release")).limit(1)
)
RELEASES_STAMP: Final = select(func.count(), func.max(manifests.c.added_ms)).where(
    manifests.c.release.is_not(None)
)
MANIFESTS_AFTER: Final = (
    select(manifests)
    .where(
        tuple_(manifests.c.artifact, manifests.c.sealed)
        > tuple_(bindparam("artifact"), bindparam("sealed"))
    )
    .order_by(manifests.c.artifact, manifests.c.sealed)
    .limit(_ROWS_PER_PAGE)
)


@unique
class Part(Enum):
    """Whether an object is a file as it was, or its ciphertext."""

    PLAIN = "plain"
    CIPHER = "cipher"


_STRENGTH: Final = {whose.value: place for place, whose in enumerate(Whose)}


@dataclass(frozen=True, slots=True)
class ObjectUse:
    """That one Artifact wants one object, as which part of it, and why.

    ``key_epoch`` is the epoch of the seed a cipher's key comes from.
    """

    root: bytes
    size: int
    artifact: bytes
    part: Part
    whose: Whose
    release: EntryId | None = None
    key_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """That an Artifact is held: in the clear, or sealed under the Manifest ``sealed``."""

    artifact: bytes
    added_ms: int
    sealed: bytes | None = None
    salt: bytes | None = None
    key_epoch: int | None = None
    release: EntryId | None = None


class ObjectRepository:
    """Everything the content store should hold."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    # --- objects ----------------------------------------------------------------------------

    def want(self, uses: Iterable[ObjectUse], now_ms: int) -> None:
        """Note uses, each in place of what the Artifact said of that object before."""
        listed = list(uses)
        if not listed:
            return
        self._connection.execute(
            insert(objects).on_conflict_do_nothing(),
            [
                {
                    "root": use.root,
                    "size": use.size,
                    "whose": use.whose.value,
                    "added_ms": now_ms,
                    "seeded_ms": now_ms,
                }
                for use in listed
            ],
        )
        statement = insert(object_uses)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(object_uses.primary_key.columns),
                set_={name: statement.excluded[name] for name in ("whose", "release", "key_epoch")},
            ),
            [
                {
                    "root": use.root,
                    "size": use.size,
                    "artifact": use.artifact,
                    "part": use.part.value,
                    "whose": use.whose.value,
                    "release": use.release,
                    "key_epoch": use.key_epoch,
                }
                for use in listed
            ],
        )
        self._settle((use.root, use.size) for use in listed)

    def release_artifact(self, artifact: bytes, part: Part | None = None) -> list[ObjectName]:
        """Forget the uses of one Artifact; return the objects that nothing wants any more."""
        which = object_uses.c.artifact == artifact
        if part is not None:
            which &= object_uses.c.part == part.value
        gone = self._connection.execute(
            delete(object_uses).where(which).returning(object_uses.c.root, object_uses.c.size)
        ).all()
        return self._settle((row.root, row.size) for row in gone)

    def leave_release(self, release: EntryId) -> list[ObjectName]:
        """Forget the uses noted for one Release; return the objects that nothing wants any more."""
        gone = self._connection.execute(
            delete(object_uses)
            .where(object_uses.c.release == release)
            .returning(object_uses.c.root, object_uses.c.size)
        ).all()
        return self._settle((row.root, row.size) for row in gone)

    def _settle(self, names: Iterable[ObjectName]) -> list[ObjectName]:
        """Give each object to the strongest of its uses; drop and return those without any."""
        dropped: list[ObjectName] = []
        for root, size in sorted(set(names)):
            uses = self._connection.execute(USES_OF, {"root": root, "size": size}).all()
            which = (objects.c.root == root) & (objects.c.size == size)
            if uses:
                strongest = min((use.whose for use in uses), key=_STRENGTH.__getitem__)
                self._connection.execute(update(objects).where(which).values(whose=strongest))
            else:
                self._connection.execute(delete(objects).where(which))
                dropped.append((root, size))
        return dropped

    def wanted(self) -> Iterator[ObjectName]:
        """Yield every object that is wanted, by name: what is not among them may be swept."""
        after = {"root": b"", "size": -1}
        while page := self._connection.execute(OBJECTS_AFTER, after).all():
            yield from ((row.root, row.size) for row in page)
            after = {"root": page[-1].root, "size": page[-1].size}

    def uses_of(self, name: ObjectName) -> list[ObjectUse]:
        """Return who wants an object, and why; nobody when it may be swept."""
        rows = self._connection.execute(USES_OF, {"root": name[0], "size": name[1]})
        return [_use(row) for row in rows]

    def of_artifact(self, artifact: bytes) -> list[ObjectUse]:
        """Return the objects one Artifact wants."""
        rows = self._connection.execute(OF_ARTIFACT, {"artifact": artifact})
        return [_use(row) for row in rows]

    def usage(self) -> dict[Whose, int]:
        """Return how many bytes are kept for which reason; every object counts once."""
        return {
            whose: self._connection.execute(USAGE, {"whose": whose.value}).scalar_one()
            for whose in Whose
        }

    def evictable(self, limit: int = 100) -> list[ObjectName]:
        """Return objects that are only for others, the one seeded longest ago first."""
        rows = self._connection.execute(LEAST_SEEDED, {"whose": Whose.OTHERS.value, "limit": limit})
        return [(row.root, row.size) for row in rows]

    def evict(self, name: ObjectName) -> None:
        """Forget an object that is only for others; any other one stays."""
        uses = self.uses_of(name)
        if all(use.whose is Whose.OTHERS for use in uses):
            self._connection.execute(
                delete(object_uses).where(
                    object_uses.c.root == name[0], object_uses.c.size == name[1]
                )
            )
            self._settle([name])

    def seeded(self, name: ObjectName, now_ms: int) -> None:
        """Note that an object was given to somebody."""
        self._connection.execute(
            update(objects)
            .where(objects.c.root == name[0], objects.c.size == name[1])
            .values(seeded_ms=now_ms)
        )

    def seeded_ms(self, name: ObjectName) -> int | None:
        """Return when an object was given to somebody last, or came here."""
        which = (objects.c.root == name[0]) & (objects.c.size == name[1])
        return self._connection.execute(select(objects.c.seeded_ms).where(which)).scalar()

    # --- Manifests --------------------------------------------------------------------------

    def put_manifest(self, row: ManifestRow) -> None:
        """Note that an Artifact is held; ``added_ms`` stays the first one."""
        statement = insert(manifests).values(
            artifact=row.artifact,
            sealed=row.sealed or b"",
            salt=row.salt,
            key_epoch=row.key_epoch,
            release=row.release,
            added_ms=row.added_ms,
        )
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(manifests.primary_key.columns),
                set_={name: statement.excluded[name] for name in ("salt", "key_epoch", "release")},
            )
        )

    def manifests_of(self, artifact: bytes) -> list[ManifestRow]:
        """Return how an Artifact is held: in the clear first, then each time it was sealed."""
        rows = self._connection.execute(MANIFESTS_OF, {"artifact": artifact})
        return [_manifest(row) for row in rows]

    def manifest_of_release(self, release: EntryId) -> ManifestRow | None:
        """Return how the files of one Release are held."""
        row = self._connection.execute(MANIFEST_OF_RELEASE, {"release": release}).first()
        return None if row is None else _manifest(row)

    def releases_stamp(self) -> tuple[int, int]:
        """Return two numbers that change when the files of another Release are held."""
        count, newest = self._connection.execute(RELEASES_STAMP).one()
        return count, newest or 0

    def all_manifests(self) -> Iterator[ManifestRow]:
        """Yield every Artifact held, by id."""
        after = {"artifact": b"", "sealed": b""}
        while page := self._connection.execute(MANIFESTS_AFTER, after).all():
            yield from (_manifest(row) for row in page)
            after = {"artifact": page[-1].artifact, "sealed": page[-1].sealed}

    def drop_manifest(self, artifact: bytes, sealed: bytes | None = None) -> None:
        """Note that an Artifact is held no more, in the clear or under one sealed Manifest."""
        self._connection.execute(
            delete(manifests).where(
                manifests.c.artifact == artifact, manifests.c.sealed == (sealed or b"")
            )
        )


def _use(row: AnyRow) -> ObjectUse:
    return ObjectUse(
        root=row.root,
        size=row.size,
        artifact=row.artifact,
        part=Part(row.part),
        whose=Whose(row.whose),
        release=None if row.release is None else EntryId(row.release),
        key_epoch=row.key_epoch,
    )


def _manifest(row: AnyRow) -> ManifestRow:
    return ManifestRow(
        artifact=row.artifact,
        added_ms=row.added_ms,
        sealed=row.sealed or None,
        salt=row.salt,
        key_epoch=row.key_epoch,
        release=None if row.release is None else EntryId(row.release),
    )
