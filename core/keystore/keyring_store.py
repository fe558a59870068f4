"""The passphrase in the operating system's keyring, for who wants to unlock without typing.

* Optional: ``keyring`` is looked for when it is asked for, and its absence is an
  error that names the one command to run.
* Service ``hanse``, user = the Identity as text: one passphrase for each Identity.
* A keyring that cannot keep a passphrase is an error here, never a silent no.

Only the passphrase goes there; the Keystore stays sealed on disk.  What the system
does to protect its keyring is its own affair.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from hanse.core.errors import EnvironmentFault, WrongUse
from hanse.core.model.ids import IdentityId, identity_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keyring.backend import KeyringBackend

KEYRING_SERVICE: Final = "hanse"
_REMEMBERED_FOLDER: Final = "remembered"
_COMMAND: Final = 'pip install "hanse[keyring]"'


class KeyringMissing(WrongUse):
    """The optional package is not installed."""

    code = "keyring.missing"
    text = "the keyring package is not installed; run: {command}"
    fields = ("command",)


class KeyringFailed(EnvironmentFault):
    """The system has no keyring, or it is locked, or it refused."""

    code = "keyring.failed"
    text = "the system's keyring did not {act} the passphrase: {detail}"
    fields = ("act", "detail")


def remembered_mark(config: Path, identity: IdentityId) -> Path:
    """Name the file that says the keyring has the passphrase; it holds no secret.

    Without it every command would have to wake the system's keyring.
    """
    return config / _REMEMBERED_FOLDER / identity.hex()


def save_passphrase(identity: IdentityId, passphrase: str) -> None:
    """Put the passphrase into the keyring and read it back once."""
    user = identity_text(identity)
    with _open_keyring("keep") as backend:
        backend.set_password(KEYRING_SERVICE, user, passphrase)
        kept = backend.get_password(KEYRING_SERVICE, user)
        if kept != passphrase:  # keyring's "null" backend takes everything and keeps nothing
            raise KeyringFailed(act="keep", detail="not there when read back")


def load_passphrase(identity: IdentityId) -> str | None:
    """Return the passphrase kept for this Identity, or None; may wait for a system prompt."""
    with _open_keyring("give") as backend:
        return backend.get_password(KEYRING_SERVICE, identity_text(identity))


def forget_passphrase(identity: IdentityId) -> None:
    """Take the passphrase out of the keyring; harmless when none is there."""
    user = identity_text(identity)
    with _open_keyring("forget") as backend:
        if backend.get_password(KEYRING_SERVICE, user) is not None:
            backend.delete_password(KEYRING_SERVICE, user)


@contextmanager
def _open_keyring(act: str) -> Iterator[KeyringBackend]:
    """Give the system's keyring; turn what its plug-ins raise into ``KeyringFailed``."""
    try:
        import keyring  # noqa: PLC0415 - optional, so only looked for when asked for
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError:
        raise KeyringMissing(command=_COMMAND) from None
    try:
        yield keyring.get_keyring()
    except (KeyringError, OSError, RuntimeError) as error:
        # The plug-in's own words are left out: nobody knows what they quote.
        raise KeyringFailed(act=act, detail=type(error).__name__) from None
