"""The passphrase in the system's keyring, through keyring's own registry of back ends."""

from __future__ import annotations

import sys

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.backends.null import Keyring as ForgetfulKeyring
from keyring.errors import KeyringLocked

from hanse.core.keystore.keyring_store import (
    KeyringFailed,
    KeyringMissing,
    forget_passphrase,
    load_passphrase,
    save_passphrase,
)
from hanse.core.model.ids import IdentityId, identity_text

IDENTITY = IdentityId(b"\x01" * 32)
OTHER = IdentityId(b"\x02" * 32)
MARKER = "marker passphrase"


class MemoryKeyring(KeyringBackend):
    """A keyring that lives as long as the test; never chosen by itself."""

    priority = -1  # below keyring's own "fail" back end

    def __init__(self):
        super().__init__()
        self.kept = {}

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def delete_password(self, service, username):
        del self.kept[service, username]


class LockedKeyring(MemoryKeyring):
    def get_password(self, *_arguments):
        raise KeyringLocked(MARKER)

    set_password = delete_password = get_password


@pytest.fixture
def use():
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


def test_kept_passphrase_is_given_back(use):
    use(MemoryKeyring())
    save_passphrase(IDENTITY, MARKER)
    assert load_passphrase(IDENTITY) == MARKER


def test_it_is_kept_under_the_identity(use):
    memory = MemoryKeyring()
    use(memory)
    save_passphrase(IDENTITY, MARKER)
    assert memory.kept == {("hanse", identity_text(IDENTITY)): MARKER}
    assert load_passphrase(OTHER) is None


def test_forgotten_passphrase_is_gone(use):
    use(MemoryKeyring())
    save_passphrase(IDENTITY, MARKER)
    forget_passphrase(IDENTITY)
    assert load_passphrase(IDENTITY) is None


def test_forgetting_nothing_is_harmless(use):
    use(MemoryKeyring())
    forget_passphrase(IDENTITY)
    assert load_passphrase(IDENTITY) is None


def test_keyring_that_keeps_nothing_is_an_error(use):
    use(ForgetfulKeyring())
    with pytest.raises(KeyringFailed) as caught:
        save_passphrase(IDENTITY, MARKER)
    assert caught.value.values["act"] == "keep"


@pytest.mark.parametrize(
    ("backend", "detail"), [(NoKeyring, "NoKeyringError"), (LockedKeyring, "KeyringLocked")]
)
@pytest.mark.parametrize(
    ("act", "word"),
    [
        (lambda: save_passphrase(IDENTITY, MARKER), "keep"),
        (lambda: load_passphrase(IDENTITY), "give"),
        (lambda: forget_passphrase(IDENTITY), "forget"),
    ],
)
def test_keyring_that_fails_says_why_and_no_secret(use, backend, detail, act, word):
    use(backend())
    with pytest.raises(KeyringFailed) as caught:
        act()
    assert caught.value.values == {"act": word, "detail": detail}
    assert MARKER not in str(caught.value)


def test_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(KeyringMissing) as caught:
        load_passphrase(IDENTITY)
    assert caught.value.values == {"command": 'pip install "hanse[keyring]"'}
