"""Where Accounts live: their data folders, and the configuration folder beside them.

* One data folder is one Account.  Where none is named, the Accounts lie side by
  side below the platform's data folder, one folder each.
* The configuration folder is never inside a data folder: what was sent last is
  kept there, so that a data folder put back from an old copy is noticed.
* ``HANSE_CONFIG_DIR`` moves the configuration folder, and nothing else does.

Nothing here makes a folder or reads a file's content.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import platformdirs

from hanse.core.errors import NoAccount, WrongUse

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM: Final = "hanse"
KEYSTORE_FILE: Final = "keystore.hks"


class SeveralAccounts(WrongUse):
    """Without ``--data-dir`` it is not clear which Account is meant."""

    code = "account.which"
    text = "several accounts in {path}: {found}"
    fields = ("path", "found")


def base_folder() -> Path:
    """Return the folder in which the Accounts of this person lie."""
    return platformdirs.user_data_path(PROGRAM, appauthor=False)


def config_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for settings and for what must not lie in a data folder."""
    given = environ.get("HANSE_CONFIG_DIR")
    if given:
        return Path(given).expanduser().absolute()
    return platformdirs.user_config_path(PROGRAM, appauthor=False)


def account_folders(base: Path) -> tuple[Path, ...]:
    """Return ``base`` and the folders directly below it that hold an Account, in order."""
    try:
        # A leading dot is a folder still in the making.
        below = sorted(path for path in base.iterdir() if path.name[0] != "." and path.is_dir())
    except OSError:
        below = []
    return tuple(path for path in (base, *below) if (path / KEYSTORE_FILE).is_file())


def the_account_folder(base: Path) -> Path:
    """Return the only Account below ``base``, or raise ``NoAccount`` or ``SeveralAccounts``."""
    found = account_folders(base)
    if not found:
        raise NoAccount(path=base)
    if len(found) > 1:
        raise SeveralAccounts(path=base, found=tuple(str(path) for path in found))
    return found[0]


@dataclass(frozen=True, slots=True)
class Home:
    """The two folders of one Account."""

    folder: Path
    config: Path

    @property
    def keystore(self) -> Path:
        """Return the Keystore file."""
        return self.folder / KEYSTORE_FILE
