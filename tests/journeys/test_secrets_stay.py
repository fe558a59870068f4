"""Keys and passphrases reach no log, export, backup, database, error text or view.

Marker keys are planted: every secret byte string of an Account is known to the
test, in several spellings, and everything Hanse wrote or said is searched for it.
"""

from __future__ import annotations

import base64
import logging
import traceback
from typing import TYPE_CHECKING

import pytest

from hanse.core.crypto.phrase import root_secret
from hanse.core.engine.auditing import verify_file
from hanse.core.errors import HanseError
from hanse.core.keystore.keystore import unlock
from tests.fakes.people import PASSPHRASE, START_MS, Person

if TYPE_CHECKING:
    from pathlib import Path

WRONG = "a wrong passphrase that must not leak"


def spellings(secret: bytes) -> list[bytes]:
    """Return the ways in which bytes usually get out."""
    return [
        secret,
        secret.hex().encode(),
        secret.hex().upper().encode(),
        base64.b64encode(secret).rstrip(b"="),
        base64.b32encode(secret).rstrip(b"="),
        repr(secret).encode()[2:-1],
    ]


def secrets_of(person: Person) -> dict[str, list[bytes]]:
    """Return every secret of an Account by its name, in all spellings."""
    keys = unlock(person.home.keystore, PASSPHRASE)
    root = root_secret(person.phrase)
    raw = {
        "device seed": keys.device_seed,
        "local key": keys.local_key,
        "root secret": root.raw,
    }
    for epoch in range(3):
        seeds = root.seeds(epoch)
        raw[f"sale seed {epoch}"] = seeds.sale
        raw[f"buy seed {epoch}"] = seeds.buy
        raw[f"box {epoch}"] = seeds.box_secret().private_key
        raw[f"backup key {epoch}"] = seeds.backup_key()
    result = {name: spellings(secret) for name, secret in raw.items()}
    result["passphrase"] = [PASSPHRASE.encode()]
    result["phrase"] = [" ".join(person.phrase.words[:4]).encode()]
    return result


def test_no_secret_is_in_anything_that_was_written_or_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    anna = Person.make(tmp_path, "anna")
    out = tmp_path / "out"
    out.mkdir()
    with anna.open() as engine:
        engine.accounts.edit_profile(about="hello")
        engine.accounts.rotate(anna.phrase)
        engine.ledger.export(out / "a.hanse-feed")
        engine.backups.make(out / "a.hanse-backup")
        engine.ledger.proof(engine.ledger.show()[0].entry_id, out / "a.hanse-proof")
        said += [repr(engine.context), repr(engine.context.keys), repr(engine.accounts.view())]
        said.append(repr(engine.context.unlocked().newest_seeds))
        said.append(repr(anna.phrase))
        said.append(repr(verify_file(out / "a.hanse-feed", START_MS)))
        for act in (
            lambda: engine.accounts.unlock(WRONG),
            lambda: engine.accounts.change_passphrase(WRONG, PASSPHRASE),
            lambda: engine.accounts.change_passphrase(PASSPHRASE, "short"),
            lambda: engine.accounts.revoke(bytes(32), anna.phrase, reason="lost"),
            lambda: engine.accounts.edit_profile(name="x" * 100),
            lambda: anna.restore_to(tmp_path / "anna", out / "a.hanse-backup"),
        ):
            with pytest.raises(HanseError) as caught:
                act()
            said.append("".join(traceback.format_exception(caught.value)))
            said.append(repr(caught.value.values))
    again, restored = anna.restore_to(tmp_path / "again", out / "a.hanse-backup")
    said.append(repr(restored))

    hidden = secrets_of(anna) | {f"new {k}": v for k, v in secrets_of(again).items()}
    hidden["wrong passphrase"] = [WRONG.encode()]
    places = {"logs": caplog.text.encode(), "said": "\n".join(said).encode()}
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file():
            places[str(path.relative_to(tmp_path))] = path.read_bytes()
    assert {"anna/data/hanse.db", "anna/data/keystore.hks", "out/a.hanse-backup"} <= set(places)
    found = [
        (name, place)
        for name, forms in hidden.items()
        for place, content in places.items()
        if any(form in content for form in forms)
    ]
    assert found == []


def test_the_search_itself_finds_a_planted_secret(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    (form, *_) = secrets_of(anna)["device seed"]
    planted = tmp_path / "anna" / "data" / "planted"
    planted.write_bytes(b"..." + form)
    assert any(it in planted.read_bytes() for forms in secrets_of(anna).values() for it in forms)
