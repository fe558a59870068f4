"""Where Accounts, configuration and log lie."""

from __future__ import annotations

import pytest

from hanse.app.paths import folder_name, log_folder, new_account_folder
from hanse.core.engine.home import (
    SeveralAccounts,
    account_folders,
    base_folder,
    config_folder,
    the_account_folder,
)
from hanse.core.errors import NoAccount
from hanse.core.keystore.keystore import KEYSTORE_FILE


def account(folder):
    folder.mkdir(parents=True)
    (folder / KEYSTORE_FILE).write_bytes(b"")
    return folder


def test_the_platform_says_where(home):
    for folder in (base_folder(), config_folder({}), log_folder()):
        assert home in folder.parents
        assert not folder.exists()


def test_only_one_variable_moves_the_configuration(tmp_path):
    environ = {"HANSE_DATA_DIR": str(tmp_path / "a")}
    assert config_folder(environ) == config_folder({})
    assert config_folder({"HANSE_CONFIG_DIR": str(tmp_path / "c")}) == tmp_path / "c"


def test_the_only_account_is_meant(tmp_path):
    folder = account(tmp_path / "anna")
    (tmp_path / "empty").mkdir()
    assert the_account_folder(tmp_path) == folder


def test_a_base_folder_may_itself_be_an_account(tmp_path):
    folder = account(tmp_path / "anna")
    assert account_folders(folder) == (folder,)


def test_no_account_is_said_with_the_place(tmp_path):
    with pytest.raises(NoAccount) as caught:
        the_account_folder(tmp_path / "missing")
    assert caught.value.values["path"] == tmp_path / "missing"


def test_of_several_accounts_none_is_taken(tmp_path):
    folders = [account(tmp_path / name) for name in ("anna", "bo")]
    with pytest.raises(SeveralAccounts) as caught:
        the_account_folder(tmp_path)
    assert caught.value.values["found"] == tuple(str(folder) for folder in folders)


def test_a_folder_in_the_making_is_no_account(tmp_path):
    account(tmp_path / ".anna.making")
    assert account_folders(tmp_path) == ()


def test_a_new_account_gets_a_folder_of_its_own(tmp_path):
    assert new_account_folder(tmp_path, "Anna") == tmp_path / "anna"
    account(tmp_path / "anna")
    assert new_account_folder(tmp_path, "Anna") == tmp_path / "anna-2"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Lin Studio", "lin-studio"),
        ("../../etc/passwd", "etc-passwd"),
        ("林工作室", "林工作室"),
        ("...", "account"),
        ("", "account"),
        ("CON", "con-account"),
        ("a" * 100, "a" * 40),
        ("a\x00b\n", "a-b"),
    ],
)
def test_any_name_gives_a_folder_every_system_takes(name, folder):
    assert folder_name(name) == folder
