"""What public Entries held here name: hashes of small objects, and what was given in the clear.

* Naming a hash in public gives nothing away by itself; whether bytes are given is decided by
  ``hanse.core.engine.giving``.

Nothing is kept here: all of it is asked of Projections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, select

from hanse.core.store.tables import profiles, releases

if TYPE_CHECKING:
    from hanse.core.model.ids import IdentityId

CARD_NAMED: Final = (
    select(releases.c.release).where(releases.c.card == bindparam("digest")).limit(1)
)
ARTIFACT_NAMED: Final = (
    select(releases.c.release).where(releases.c.artifact == bindparam("digest")).limit(1)
)
AVATAR_NAMED: Final = (
    select(profiles.c.identity).where(profiles.c.avatar == bindparam("digest")).limit(1)
)
RELEASED_BY: Final = select(releases.c.seal).where(
    releases.c.artifact == bindparam("artifact"), releases.c.identity == bindparam("identity")
)


class PublicNames:
    """All names in public Entries that are looked up by what they name."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    def is_named(self, digest: bytes) -> bool:
        """Say whether a Release names ``digest`` as card or Artifact, or a Profile as picture."""
        which = {"digest": digest}
        return any(
            self._connection.execute(one, which).first() is not None
            for one in (ARTIFACT_NAMED, CARD_NAMED, AVATAR_NAMED)
        )

    def has_released(self, identity: IdentityId, artifact: bytes) -> bool:
        """Say whether an Identity published an Artifact, sealed or not."""
        which = {"artifact": artifact, "identity": identity}
        return self._connection.execute(RELEASED_BY.limit(1), which).first() is not None

    def gave_in_the_clear(self, identity: IdentityId, artifact: bytes) -> bool:
        """Say whether an Identity published an Artifact unsealed."""
        which = {"artifact": artifact, "identity": identity}
        unsealed = RELEASED_BY.where(releases.c.seal.is_(None)).limit(1)
        return self._connection.execute(unsealed, which).first() is not None
