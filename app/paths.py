"""Where Hanse keeps things: data, configuration and log, as the platform wants it.

* One data folder is one Account.  Without ``--data-dir`` the Accounts lie side by
  side below the platform's data folder, one folder each.
* The configuration folder is never inside a data folder: what was sent last is
  kept there, so that a data folder put back from an old copy is noticed.
* ``HANSE_CONFIG_DIR`` moves the configuration folder, and nothing else does.

Nothing here makes a folder or reads a file's content.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import platformdirs

from hanse.core.errors import NoAccount, WrongUse

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRAM: Final = "hanse"
_KEYSTORE: Final = "keystore.hks"
_NAME_CHARACTERS: Final = 40
_RESERVED: Final = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")  # names of devices on Windows


class SeveralAccounts(WrongUse):
    """Without ``--data-dir`` it is not clear which Account is meant."""

    code = "account.which"
    text = "several accounts in {path}: {found}"
    fields = ("path", "found")


def base_folder() -> Path:
    """Return the folder in which the Accounts of this person lie."""
    return platformdirs.user_data_path(_PROGRAM, appauthor=False)


def config_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for settings and for what must not lie in a data folder."""
    given = environ.get("HANSE_CONFIG_DIR")
    if given:
        return Path(given).expanduser().absolute()
    return platformdirs.user_config_path(_PROGRAM, appauthor=False)


def log_folder() -> Path:
    """Return the folder for the log."""
    return platformdirs.user_log_path(_PROGRAM, appauthor=False)


def account_folders(base: Path) -> tuple[Path, ...]:
    """Return ``base`` and the folders directly below it that hold an Account, in order."""
    try:
        # A leading dot is a folder still in the making.
        below = sorted(path for path in base.iterdir() if path.name[0] != "." and path.is_dir())
    except OSError:
        below = []
    return tuple(path for path in (base, *below) if (path / _KEYSTORE).is_file())


def the_account_folder(base: Path) -> Path:
    """Return the only Account below ``base``, or raise ``NoAccount`` or ``SeveralAccounts``."""
    found = account_folders(base)
    if not found:
        raise NoAccount(path=base)
    if len(found) > 1:
        raise SeveralAccounts(path=base, found=tuple(str(path) for path in found))
    return found[0]


def new_account_folder(base: Path, name: str) -> Path:
    """Choose a folder below ``base`` that is not there yet, called after the Account."""
    called = folder_name(name)
    folder, number = base / called, 2
    while folder.exists():
        folder, number = base / f"{called}-{number}", number + 1
    return folder


def folder_name(name: str) -> str:
    """Write a person's name so that every file system takes it."""
    plain = unicodedata.normalize("NFC", name).casefold()
    words = re.findall(r"\w+", plain)
    called = "-".join(words)[:_NAME_CHARACTERS].strip("-_") or "account"
    return f"{called}-account" if _RESERVED.fullmatch(called) else called
