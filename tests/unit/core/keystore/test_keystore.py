"""The Keystore file: what opens it, what is refused before any work, what survives a fault."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from hanse.core.crypto import passwords
from hanse.core.crypto.derivation import RootSecret, device_box_secret
from hanse.core.crypto.passwords import derive_key, open_secret, seal_secret
from hanse.core.crypto.signing import Signer
from hanse.core.errors import (
    FileUnreadable,
    FolderNotWritable,
    HanseError,
    KdfOutOfRange,
    KeystoreDamaged,
    KeystoreTooNew,
    NoAccount,
    PassphraseTooShort,
    StoreFull,
    WrongPassphrase,
)
from hanse.core.keystore.keystore import (
    KdfCost,
    KeystorePublic,
    PassphraseTooLong,
    SeedsMissing,
    Unlocked,
    change_passphrase,
    read_public,
    unlock,
    write_keystore,
)
from hanse.core.ledger.codec import decode_any, encode
from hanse.core.model.ids import IdentityId
from tests.fakes.chance import SeededChance

MIB = 1024 * 1024
CHEAP = KdfCost(ops=1, memory_bytes=8 * MIB)
PASSPHRASE = "correct horse battery"
ROOT = RootSecret(b"\x11" * 32)
DEVICE_SEED = b"\x22" * 32
LOCAL_KEY = b"\x33" * 32
UNLOCKED = Unlocked(
    identity=IdentityId(ROOT.root_signer(0).public_key),
    name="laptop",
    device_signer=Signer.from_seed(DEVICE_SEED),
    device_seed=DEVICE_SEED,
    seeds=(ROOT.seeds(0), ROOT.seeds(1)),
    local_key=LOCAL_KEY,
    created_ms=1_700_000_000_000,
)
SECRETS = (DEVICE_SEED, LOCAL_KEY, *(half for s in UNLOCKED.seeds for half in (s.sale, s.buy)))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "keystore.hks"
    write_keystore(path, UNLOCKED, PASSPHRASE, SeededChance(1), CHEAP)
    return path


@pytest.fixture
def derivations(monkeypatch):
    """Every (salt, ops, memory) libsodium was asked to work on."""
    asked = []
    real = passwords.crypto_pwhash_alg

    def spy(size, raw, salt, ops, memory, algorithm):
        asked.append((salt, ops, memory))
        return real(size, raw, salt, ops, memory, algorithm)

    monkeypatch.setattr(passwords, "crypto_pwhash_alg", spy)
    return asked


def content_of(path):
    return decode_any(path.read_bytes()[9:])


def rewrite(path, **changes):
    path.write_bytes(b"HANSEKEY\x01" + encode({**content_of(path), **changes}))


def reseal(path, **changes):
    """Change what is sealed, as somebody who knows the passphrase could."""
    content = content_of(path)
    key = derive_key(PASSPHRASE, content["salt"], content["ops"], content["mem"])
    secrets = {**decode_any(open_secret(key, content["box"])), **changes}
    rewrite(path, box=seal_secret(key, encode(secrets), bytes(24)))


def same(a, b):
    return replace(a, device_signer=b.device_signer) == b and a.device == b.device


def test_what_was_written_is_unlocked(path):
    assert same(unlock(path, PASSPHRASE), UNLOCKED)


def test_file_is_the_documented_one(path):
    raw = path.read_bytes()
    content = content_of(path)
    assert raw.startswith(b"HANSEKEY\x01")
    assert set(content) == {"kdf", "ops", "mem", "salt", "pub", "box"}
    assert (content["kdf"], content["ops"], content["mem"]) == ("argon2id13", 1, 8 * MIB)
    key = derive_key(PASSPHRASE, content["salt"], 1, 8 * MIB)
    secrets = decode_any(open_secret(key, content["box"]))
    assert secrets == {
        "v": 1,
        "identity": UNLOCKED.identity,
        "device_seed": DEVICE_SEED,
        "seeds": [[s.epoch, s.sale, s.buy] for s in UNLOCKED.seeds],
        "local_key": LOCAL_KEY,
        "created_ms": 1_700_000_000_000,
        "pub_hash": hashlib.sha256(encode(content["pub"])).digest(),
    }


def test_usual_cost_is_that_of_the_design():
    assert KdfCost() == KdfCost(ops=3, memory_bytes=256 * MIB)


def test_public_part_is_read_without_passphrase(path, derivations):
    expected = KeystorePublic(UNLOCKED.identity, UNLOCKED.device, "laptop")
    assert read_public(path) == expected
    assert derivations == []


def test_only_the_owner_may_read_the_file(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_secret_stands_in_the_file(path):
    raw = path.read_bytes()
    assert not any(secret in raw for secret in SECRETS)


def test_no_secret_stands_in_a_repr():
    shown = repr(UNLOCKED)
    for secret in SECRETS:
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown


def test_mirror_keystore_has_no_seeds(tmp_path):
    path = tmp_path / "keystore.hks"
    write_keystore(path, replace(UNLOCKED, seeds=()), PASSPHRASE, SeededChance(1), CHEAP)
    mirror = unlock(path, PASSPHRASE)
    assert mirror.seeds == ()
    with pytest.raises(SeedsMissing):
        _ = mirror.newest_seeds


def test_seeds_are_found_by_epoch():
    assert UNLOCKED.seeds_of(0) == ROOT.seeds(0)
    assert UNLOCKED.newest_seeds == ROOT.seeds(1)
    with pytest.raises(SeedsMissing) as caught:
        UNLOCKED.seeds_of(2)
    assert caught.value.values == {"epoch": 2}


def test_boxes_are_those_of_all_epochs_and_of_the_device():
    assert UNLOCKED.box_secrets() == (
        ROOT.seeds(1).box_secret(),
        ROOT.seeds(0).box_secret(),
        device_box_secret(DEVICE_SEED),
    )


@pytest.mark.parametrize(
    "wrong",
    ["", "short", "correct horse batterY", "x" * 100_000, "\ud800 lone surrogate"],
    ids=["empty", "short", "other", "huge", "surrogate"],
)
def test_wrong_passphrase_takes_the_same_work_as_the_right_one(path, derivations, wrong):
    unlock(path, PASSPHRASE)
    right = derivations.copy()
    derivations.clear()
    before = path.read_bytes()
    with pytest.raises(WrongPassphrase):
        unlock(path, wrong)
    assert derivations == right
    assert len(right) == 1
    assert path.read_bytes() == before


def test_changed_box_and_wrong_passphrase_are_one_answer(path, derivations):
    box = content_of(path)["box"]
    rewrite(path, box=box[:-1] + bytes([box[-1] ^ 1]))
    with pytest.raises(WrongPassphrase):
        unlock(path, PASSPHRASE)
    assert len(derivations) == 1


def test_box_too_short_takes_the_same_work(path, derivations):
    rewrite(path, box=b"")
    with pytest.raises(WrongPassphrase):
        unlock(path, PASSPHRASE)
    assert len(derivations) == 1


def test_error_says_nothing_of_the_passphrase(path):
    with pytest.raises(WrongPassphrase) as caught:
        unlock(path, "marker passphrase")
    assert "marker" not in repr(caught.value) + str(caught.value)
    assert caught.value.values == {}


def test_missing_file_is_no_account(tmp_path):
    with pytest.raises(NoAccount) as caught:
        unlock(tmp_path / "keystore.hks", PASSPHRASE)
    assert caught.value.values == {"path": tmp_path}


def test_folder_in_its_place_cannot_be_read(tmp_path):
    with pytest.raises(FileUnreadable):
        read_public(tmp_path)


def damage_magic(path):
    path.write_bytes(b"hanse" + path.read_bytes()[5:])


def damage_size(path):
    path.write_bytes(path.read_bytes() + bytes(64 * 1024))


def damage_version(path):
    path.write_bytes(b"HANSEKEY\x00" + path.read_bytes()[9:])


def damage_encoding(path):
    # ops 1 written in two bytes, which every lenient CBOR reader takes.
    raw = path.read_bytes()
    assert raw.count(b"cops\x01") == 1
    path.write_bytes(raw.replace(b"cops\x01", b"cops\x18\x01"))


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda path: path.write_bytes(b""), "first bytes"),
        (lambda path: path.write_bytes(b"HANSEKEY"), "first bytes"),
        (damage_magic, "first bytes"),
        (damage_size, "size"),
        (damage_version, "version 0"),
        (damage_encoding, "content, not_canonical"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "content, not_canonical"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "content, not_canonical"),
        (lambda path: rewrite(path, extra=1), "content, bad_shape"),
        (lambda path: rewrite(path, kdf="argon2i13"), "content, bad_shape"),
        (lambda path: rewrite(path, salt=bytes(15)), "content, bad_shape"),
        (lambda path: rewrite(path, pub=None), "content, bad_shape"),
        (lambda path: rewrite(path, ops="1"), "content, bad_shape"),
    ],
)
def test_damage_is_found_before_any_work(path, derivations, damage, part):
    damage(path)
    before = path.read_bytes()
    for act in (lambda: unlock(path, PASSPHRASE), lambda: read_public(path)):
        with pytest.raises(KeystoreDamaged) as caught:
            act()
        assert caught.value.values["path"] == path
        assert str(caught.value.values["detail"]).startswith(part)
    assert derivations == []
    assert path.read_bytes() == before


def test_later_version_is_too_new(path, derivations):
    path.write_bytes(b"HANSEKEY\x02" + path.read_bytes()[9:])
    with pytest.raises(KeystoreTooNew) as caught:
        unlock(path, PASSPHRASE)
    assert caught.value.values == {"path": path, "found": 2, "known": 1}
    assert derivations == []


@pytest.mark.parametrize(
    ("name", "found", "least", "most"),
    [
        ("ops", 0, 1, 16),
        ("ops", 17, 1, 16),
        ("mem", 8 * MIB - 1, 8 * MIB, 2048 * MIB),
        ("mem", 2048 * MIB + 1, 8 * MIB, 2048 * MIB),
        ("mem", -1, 8 * MIB, 2048 * MIB),
    ],
)
def test_cost_no_hanse_writes_is_refused_before_any_work(
    path, derivations, name, found, least, most
):
    rewrite(path, **{name: found})
    with pytest.raises(KdfOutOfRange) as caught:
        unlock(path, PASSPHRASE)
    values = {"path": path, "name": name, "found": found, "least": least, "most": most}
    assert caught.value.values == values
    assert derivations == []


@pytest.mark.parametrize(
    "change", [{"name": "other"}, {"identity": b"\x01" * 32}, {"device": b"\x02" * 32}]
)
def test_changed_public_part_is_found_once_the_box_is_open(path, change):
    rewrite(path, pub={**content_of(path)["pub"], **change})
    with pytest.raises(KeystoreDamaged, match="public part was changed"):
        unlock(path, PASSPHRASE)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"v": 2}, "sealed part, bad_shape"),
        ({"device_seed": bytes(31)}, "sealed part, bad_shape"),
        ({"more": 1}, "sealed part, bad_shape"),
        ({"device_seed": bytes(32)}, "another device"),
        ({"identity": bytes(32)}, "another device"),
        ({"seeds": [[1, bytes(32), bytes(32)], [0, bytes(32), bytes(32)]]}, "out of order"),
        ({"seeds": [[1, bytes(32), bytes(32)], [1, bytes(32), bytes(32)]]}, "out of order"),
    ],
)
def test_sealed_part_that_does_not_fit_is_damage(path, changes, detail):
    reseal(path, **changes)
    with pytest.raises(KeystoreDamaged, match=detail):
        unlock(path, PASSPHRASE)


def test_damaged_sealed_part_is_not_quoted(path):
    reseal(path, local_key=b"MARKER".ljust(31, b"!"))
    with pytest.raises(KeystoreDamaged) as caught:
        unlock(path, PASSPHRASE)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "MARKER" not in str(caught.value)


@pytest.mark.parametrize("short", ["", "123456789", "\u4e2d\u6587\u4e2d\u6587"])
def test_short_new_passphrase_is_refused(tmp_path, short):
    path = tmp_path / "keystore.hks"
    with pytest.raises(PassphraseTooShort) as caught:
        write_keystore(path, UNLOCKED, short, SeededChance(1), CHEAP)
    assert caught.value.values == {"least": 10, "found": len(short)}
    assert list(tmp_path.iterdir()) == []


def test_ten_characters_of_any_kind_are_enough(tmp_path):
    path = tmp_path / "keystore.hks"
    write_keystore(path, UNLOCKED, "\u4e2d\u6587" * 5, SeededChance(1), CHEAP)
    assert unlock(path, "\u4e2d\u6587" * 5).device == UNLOCKED.device


def test_huge_new_passphrase_is_refused(tmp_path):
    path = tmp_path / "keystore.hks"
    with pytest.raises(PassphraseTooLong) as caught:
        write_keystore(path, UNLOCKED, "x" * 4097, SeededChance(1), CHEAP)
    assert caught.value.values == {"most": 4096, "found": 4097}
    assert list(tmp_path.iterdir()) == []


def test_new_seeds_are_saved_under_a_short_passphrase_the_file_already_has(path):
    content = content_of(path)
    old = derive_key(PASSPHRASE, content["salt"], 1, 8 * MIB)
    short = derive_key("short", content["salt"], 1, 8 * MIB)
    rewrite(path, box=seal_secret(short, open_secret(old, content["box"]), bytes(24)))
    with pytest.raises(PassphraseTooShort):
        write_keystore(path, UNLOCKED, "other", SeededChance(2), CHEAP)
    more = replace(UNLOCKED, seeds=(*UNLOCKED.seeds, ROOT.seeds(2)))
    write_keystore(path, more, "short", SeededChance(2), CHEAP)
    assert unlock(path, "short").newest_seeds == ROOT.seeds(2)


def test_changed_passphrase_opens_the_same_secrets(path):
    change_passphrase(path, PASSPHRASE, "another long one", SeededChance(2))
    assert same(unlock(path, "another long one"), UNLOCKED)
    with pytest.raises(WrongPassphrase):
        unlock(path, PASSPHRASE)


def test_changed_passphrase_keeps_the_cost_and_takes_a_new_salt(path):
    before = content_of(path)
    change_passphrase(path, PASSPHRASE, "another long one", SeededChance(2))
    after = content_of(path)
    assert (after["ops"], after["mem"]) == (before["ops"], before["mem"])
    assert after["salt"] != before["salt"]
    assert after["box"][:24] != before["box"][:24]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("wrong old words", "another long one", WrongPassphrase),
        (PASSPHRASE, "short", PassphraseTooShort),
    ],
)
def test_refused_change_of_passphrase_changes_nothing(path, old, new, error):
    before = path.read_bytes()
    with pytest.raises(error):
        change_passphrase(path, old, new, SeededChance(2))
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["keystore.hks"]


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, FolderNotWritable)],
)
@pytest.mark.parametrize("step", ["fsync", "replace", "open"])
def test_fault_while_writing_leaves_the_old_file(path, monkeypatch, number, error, step):
    def fault(*_arguments, **_names):
        raise OSError(number, os.strerror(number))

    before = path.read_bytes()
    with monkeypatch.context() as patched:
        target = Path if step == "replace" else os
        patched.setattr(target, step, fault)
        with pytest.raises(error) as caught:
            write_keystore(path, UNLOCKED, PASSPHRASE, SeededChance(2), CHEAP)
    assert caught.value.values["path"] == path
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["keystore.hks"]


def test_leftover_of_a_crash_is_no_hindrance(path):
    leftover = path.with_name(".keystore.hks.new")
    leftover.write_bytes(b"half")
    leftover.chmod(0o644)
    write_keystore(path, UNLOCKED, PASSPHRASE, SeededChance(2), CHEAP)
    assert same(unlock(path, PASSPHRASE), UNLOCKED)
    assert not leftover.exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_file_and_folder_are_synced_around_the_rename(path, monkeypatch):
    steps = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor):
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def rename(new, old):
        steps.append("rename")
        return real_replace(new, old)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    write_keystore(path, UNLOCKED, PASSPHRASE, SeededChance(2), CHEAP)
    assert steps == ["file", "rename", "folder"]


def test_folder_that_is_not_there_cannot_be_written(tmp_path):
    with pytest.raises(FolderNotWritable):
        write_keystore(tmp_path / "no" / "k", UNLOCKED, PASSPHRASE, SeededChance(1), CHEAP)


def test_every_error_of_unlock_is_deliberate(tmp_path):
    path = tmp_path / "keystore.hks"
    chance = SeededChance("junk")
    for size in (0, 8, 9, 10, 100, 65_536, 65_537):
        path.write_bytes(b"HANSEKEY\x01" + chance.bytes(size))
        with pytest.raises(HanseError):
            unlock(path, PASSPHRASE)
