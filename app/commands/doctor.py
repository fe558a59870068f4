"""``hanse doctor``: whether this installation is in order, and if not, where it is not.

* It looks and changes nothing; a folder held by another Hanse is looked at too.
* A finding is fine, a note (nothing to do), or wrong; one that is wrong makes
  the answer no.
* The bundle for a bug report holds findings and log, redacted, and no Entry.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import stat
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.app.answers import Answer, plain
from hanse.app.columns import pairs
from hanse.app.commands import doctor_network
from hanse.app.commands.certify_shown import layer_name
from hanse.app.commands.findings import Finding, State
from hanse.app.commands.ledger import refuse_existing
from hanse.app.logs import LOG_FILE, redact
from hanse.app.paths import log_folder
from hanse.app.version import program_version
from hanse.core.attest.suites import bundled
from hanse.core.certify.hardware import probe_hardware
from hanse.core.certify.lockdown import offered
from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home, account_folders
from hanse.core.errors import (
    EXIT_NO,
    FolderNotWritable,
    HanseError,
    StoreLocked,
)
from hanse.core.keystore.guards import CopyState, FolderLock
from hanse.core.limits import CLOCK_AHEAD_MS_MAX
from hanse.core.model.ids import IdentityId
from hanse.core.sentences import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.app.desk import Desk

SPACE_BYTES_MIN: Final = 500_000_000
EARLIEST_MS: Final = 1_767_225_600_000  # 2026-01-01: no Hanse is older
SQLITE_SAFE_SINCE: Final = (3, 51, 3)  # fixes the WAL-reset bug; see docs/threats.md

_LIBRARIES: Final = (
    "SQLAlchemy",
    "PyNaCl",
    "cryptography",
    "libipld",
    "msgspec",
    "mnemonic",
    "click",
    "libp2p",
    "PySide6-Essentials",
    "onnxruntime",
)


class DoctorFound(HanseError):
    """Something about this installation is wrong."""

    code = "doctor.found"
    text = "{count} findings are wrong"
    fields = ("count",)
    exit_code = EXIT_NO


_GRADES: Final = {"full": State.FINE, "limits": State.NOTE, "none": State.WRONG}


def doctor(desk: Desk, *, bundle: Path | None) -> Answer:
    """Look at everything this installation stands on."""
    if bundle is not None:
        refuse_existing(bundle)
    findings = [*_versions(), *_testing(), *_person(desk), *_accounts(desk)]
    networks: dict[str, object] = {}
    for folder in account_folders(desk.hanse.base):
        found, networks[str(folder)] = doctor_network.look(desk, folder)
        findings += found
    findings += doctor_network.promises()
    wrong = sum(1 for it in findings if it.state is State.WRONG)
    lines = list(
        pairs([(desk.say(f"doctor.state.{it.state.value}"), _said(desk, it)) for it in findings])
    )
    lines += ["", desk.say("doctor.wrong" if wrong else "doctor.fine")]
    result = {
        "findings": findings,
        "libraries": _libraries(),
        "networks": networks,
        "bundle": bundle,
    }
    if bundle is not None:
        _write_bundle(bundle, plain(result), lines)
        lines.append(desk.say("doctor.bundle", path=bundle))
    return Answer(result, lines, DoctorFound(count=wrong) if wrong else None)


def _said(desk: Desk, finding: Finding) -> str:
    values = dict(finding.values)
    if isinstance(layers := values.get("layers"), tuple):
        values["layers"] = tuple(layer_name(desk, one) for one in layers)
    return desk.say(finding.code, **values)


# --- the installation -----------------------------------------------------------------------


def _versions() -> Iterator[Finding]:
    values = {
        "hanse": program_version(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    yield Finding(State.FINE, "doctor.versions", values)
    found = sqlite3.sqlite_version_info
    values = {"version": sqlite3.sqlite_version, "safe": ".".join(map(str, SQLITE_SAFE_SINCE))}
    if found >= SQLITE_SAFE_SINCE:
        yield Finding(State.FINE, "doctor.sqlite", {"version": sqlite3.sqlite_version})
    else:
        yield Finding(State.NOTE, "doctor.sqlite_wal_reset", values)
    for name, what in _libraries().items():
        if what is None:
            yield Finding(State.WRONG, "doctor.library_missing", {"name": name})


def _libraries() -> dict[str, str | None]:
    return {name: _installed(name) for name in _LIBRARIES}


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _testing() -> Iterator[Finding]:
    """Look at what testing a model needs: this machine, the lock, the suites."""
    machine = probe_hardware()
    yield Finding(
        State.FINE,
        "doctor.hardware",
        {
            "machine": machine.machine_class,
            "cpu": machine.cpu,
            "cores": machine.cores,
            "ram_gib": machine.ram_gib,
            "system": machine.os,
        },
    )
    offer = offered()
    values = {"grade": offer.grade, "layers": offer.layers}
    yield Finding(_GRADES[offer.grade], f"doctor.sandbox.{offer.grade}", values)
    is_needed = offer.grade == "none"
    for layer, reason in offer.missing:
        state = State.WRONG if is_needed else State.NOTE
        yield Finding(state, "doctor.layer_missing", {"layer": layer, "reason": reason})
    suites = bundled().suites
    if suites:
        names = tuple(one.name for one in suites)
        yield Finding(State.FINE, "doctor.suites", {"suites": names})
    else:
        yield Finding(State.WRONG, "doctor.no_suites", {})


def _person(desk: Desk) -> Iterator[Finding]:
    now_ms = desk.hanse.clock.now_ms()
    state = State.WRONG if now_ms < EARLIEST_MS else State.FINE
    said = "doctor.clock_behind" if state is State.WRONG else "doctor.clock"
    yield Finding(state, said, {"now_ms": now_ms})
    yield Finding(State.FINE, "doctor.language", {"language": desk.language, "known": LANGUAGES})
    keyring = _installed("keyring")
    if keyring is None:
        yield Finding(State.NOTE, "doctor.keyring_missing", {})
    else:
        yield Finding(State.FINE, "doctor.keyring", {"version": keyring})
    log = log_folder()
    yield Finding(State.FINE, "doctor.folders", {"config": desk.hanse.settings.config, "log": log})
    if sys.getfilesystemencoding().lower() != "utf-8":
        yield Finding(State.NOTE, "doctor.not_utf8", {"found": sys.getfilesystemencoding()})


# --- data folders ---------------------------------------------------------------------------


def _accounts(desk: Desk) -> Iterator[Finding]:
    folders = account_folders(desk.hanse.base)
    if not folders:
        yield Finding(State.NOTE, "account.none_yet", {"path": desk.hanse.base})
    for folder in folders:
        yield from _folder(folder)
        yield from _lock(folder)
        yield from _content(desk, folder)


def _folder(folder: Path) -> Iterator[Finding]:
    mode = folder.stat().st_mode
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(
            State.WRONG, "doctor.folder_open", {"path": folder, "mode": f"{stat.S_IMODE(mode):o}"}
        )
    else:
        yield Finding(State.FINE, "doctor.folder", {"path": folder})
    free_bytes = shutil.disk_usage(folder).free
    state = State.FINE if free_bytes >= SPACE_BYTES_MIN else State.WRONG
    said = "doctor.space" if state is State.FINE else "doctor.space_low"
    yield Finding(state, said, {"path": folder, "free_bytes": free_bytes})


def _lock(folder: Path) -> Iterator[Finding]:
    try:
        with FolderLock(folder):
            yield Finding(State.FINE, "doctor.unlocked", {"path": folder})
    except StoreLocked as error:
        yield Finding(State.NOTE, error.code, error.values)
    except FolderNotWritable as error:
        yield Finding(State.WRONG, error.code, error.values)


def _content(desk: Desk, folder: Path) -> Iterator[Finding]:
    """Open the Account as a reader; whatever is wrong with it is then said by its own error."""
    hanse = desk.hanse
    try:
        home = Home(folder, hanse.settings.config)
        with Engine.open(home, clock=hanse.clock, chance=hanse.chance, read_only=True) as engine:
            account = engine.accounts.view()
            newest = engine.ledger.show(tail=1)
    except HanseError as error:
        yield Finding(State.WRONG, error.code, error.values)
        return
    yield Finding(State.FINE, "doctor.opens", {"path": folder, "name": account.name})
    if not CopyState(account.copy_state).may_sign:
        values = {"path": folder, "reason": account.copy_state}
        yield Finding(State.WRONG, "store.copied", values)
    if not account.is_phrase_confirmed:
        yield Finding(State.NOTE, "account.not_confirmed", {})
    if desk.remembered_mark(IdentityId(account.identity)).exists():
        yield Finding(State.FINE, "doctor.remembered", {"name": account.name})
    if newest and newest[-1].time_ms > hanse.clock.now_ms() + CLOCK_AHEAD_MS_MAX:
        values = {"time_ms": newest[-1].time_ms, "now_ms": hanse.clock.now_ms()}
        yield Finding(State.WRONG, "doctor.clock_before_entry", values)


# --- the bundle -----------------------------------------------------------------------------


def _write_bundle(path: Path, report: object, lines: list[str]) -> None:
    """Write report and log for a bug report; for this person only, to look at before sending."""
    texts = {
        "report.json": json.dumps(report, ensure_ascii=False, indent=2),
        "report.txt": "\n".join(lines),
    }
    for log in sorted(log_folder().glob(f"{LOG_FILE}*")):
        texts[log.name] = log.read_text("utf-8", "replace")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
            for name, text in texts.items():
                archive.writestr(name, redact(_without_home(text)))
    except OSError as error:
        raise FolderNotWritable(path=path, detail=error.strerror) from error


def _without_home(text: str) -> str:
    return text.replace(str(Path.home()), "~")
