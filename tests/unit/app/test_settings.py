"""Command line, environment and file, in this order; nothing misspelt is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanse.app.settings import (
    BadSetting,
    Given,
    SettingsBroken,
    UnknownSetting,
    load_settings,
    saved_language,
)
from hanse.core.errors import FileUnreadable
from hanse.core.model.network import NetworkSettings


@pytest.fixture
def config(tmp_path):
    return tmp_path / "config"


def load(config, text=None, given=None, **environ):
    if text is not None:
        config.mkdir(exist_ok=True)
        (config / "settings.toml").write_text(text, "utf-8")
    return load_settings(given or Given(), {"HANSE_CONFIG_DIR": str(config), **environ})


def test_without_anything_there_are_defaults(config):
    settings = load(config)
    assert (settings.lang, settings.data_dir, settings.passphrase_file) == ("en", None, None)
    assert not settings.is_offline
    assert not settings.is_verbose
    assert settings.config == config


def test_the_file_is_read(config, tmp_path):
    settings = load(config, f'lang = "zh"\ndata_dir = "{tmp_path.as_posix()}"\noffline = true\n')
    assert settings.lang == "zh_CN"
    assert settings.data_dir == tmp_path
    assert settings.is_offline


def test_the_environment_wins_over_the_file(config, tmp_path):
    text = 'lang = "zh"\ndata_dir = "/one"\noffline = true\nverbose = false\n'
    settings = load(
        config,
        text,
        HANSE_LANG="en",
        HANSE_DATA_DIR=str(tmp_path),
        HANSE_OFFLINE="0",
        HANSE_VERBOSE="yes",
    )
    assert (settings.lang, settings.data_dir) == ("en", tmp_path)
    assert not settings.is_offline
    assert settings.is_verbose


def test_the_command_line_wins_over_both(config, tmp_path):
    given = Given(lang="zh_CN", data_dir=tmp_path / "x", is_offline=True)
    settings = load(
        config, 'lang = "en"\n', given, HANSE_LANG="en", HANSE_DATA_DIR="/y", HANSE_OFFLINE="0"
    )
    assert (settings.lang, settings.data_dir) == ("zh_CN", tmp_path / "x")
    assert settings.is_offline


def test_an_unknown_key_is_named(config):
    with pytest.raises(UnknownSetting) as caught:
        load(config, "offlin = true\n")
    assert caught.value.values["key"] == "offlin"
    assert "offline" in caught.value.values["known"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("offline = 1\n", "offline"),
        ('offline = "true"\n', "offline"),
        ("lang = true\n", "lang"),
        ('lang = "klingon"\n', "lang"),
        ("data_dir = 3\n", "data_dir"),
        ("[verbose]\nx = 1\n", "verbose"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(config, text, key):
    with pytest.raises(BadSetting) as caught:
        load(config, text)
    assert caught.value.values["key"] == key
    assert str(config) in str(caught.value.values["where"])


@pytest.mark.parametrize("name", ["HANSE_OFFLINE", "HANSE_VERBOSE", "HANSE_LANG"])
def test_a_wrong_variable_is_named(config, name):
    with pytest.raises(BadSetting) as caught:
        load(config, **{name: "perhaps"})
    assert caught.value.values["where"] == name
    assert caught.value.values["found"] == "perhaps"


@pytest.mark.parametrize("raw", [b"lang = ", b"\xff\xfe", b"a = 1\n" * 20000])
def test_a_file_that_is_no_settings_file_is_an_error_and_no_crash(config, raw):
    config.mkdir()
    (config / "settings.toml").write_bytes(raw)
    with pytest.raises(SettingsBroken):
        load(config)
    assert saved_language({"HANSE_CONFIG_DIR": str(config)}) is None


def test_a_folder_in_place_of_the_file_cannot_be_read(config):
    (config / "settings.toml").mkdir(parents=True)
    with pytest.raises(FileUnreadable):
        load(config)
    assert saved_language({"HANSE_CONFIG_DIR": str(config)}) is None


def test_a_byte_order_mark_is_no_error(config):
    config.mkdir()
    (config / "settings.toml").write_bytes(b'\xef\xbb\xbflang = "zh"\n')
    assert load(config).lang == "zh_CN"


def test_a_folder_may_begin_at_home(config, home):
    assert load(config, HANSE_DATA_DIR="~/a").data_dir == Path(home) / "a"


def test_an_empty_variable_says_nothing(config):
    assert load(config, 'data_dir = "/one"\n', HANSE_DATA_DIR="").data_dir == Path("/one")


def test_certification_has_a_section_of_its_own(config):
    assert (load(config).cores, load(config).is_measuring) == (0, True)
    settings = load(config, "[certification]\ncores = 2\nbackground = false\n")
    assert (settings.cores, settings.is_measuring) == (2, False)
    settings = load(config, HANSE_CERTIFICATION_CORES="1", HANSE_CERTIFICATION_BACKGROUND="on")
    assert (settings.cores, settings.is_measuring) == (1, True)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("cores = true\n", "certification.cores"),
        ("cores = -1\n", "certification.cores"),
        ("cores = 2000\n", "certification.cores"),
        ("background = 1\n", "certification.background"),
    ],
)
def test_a_wrong_value_in_a_section_is_named_with_it(config, text, key):
    with pytest.raises(BadSetting) as caught:
        load(config, "[certification]\n" + text)
    assert caught.value.values["key"] == key


def test_an_unknown_key_in_a_section_and_a_wrong_number_of_cores_are_named(config):
    with pytest.raises(UnknownSetting) as caught:
        load(config, "[certification]\ncore = 1\n")
    assert caught.value.values["key"] == "certification.core"
    (config / "settings.toml").unlink()
    for found in ("many", "-1", "9999", "\uff11"):
        with pytest.raises(BadSetting) as wrong:
            load(config, HANSE_CERTIFICATION_CORES=found)
        assert wrong.value.values["where"] == "HANSE_CERTIFICATION_CORES"


def test_the_network_has_a_section_of_its_own(config):
    usual = load(config).network
    assert usual == NetworkSettings()
    assert (usual.port, usual.is_lan, usual.is_dht, usual.seeds_followed) == (
        4801,
        True,
        True,
        False,
    )
    text = (
        "[network]\nport = 0\nlan = false\nlisten = ['/ip4/127.0.0.1/tcp/1']\n"
        "up_rate = '500 kB'\ndown_rate = 2000\nconnections = 3\n"
    )
    found = load(config, text).network
    assert (found.port, found.is_lan, found.listen) == (0, False, ("/ip4/127.0.0.1/tcp/1",))
    assert (found.up_rate, found.down_rate, found.connections) == (500_000, 2000, 3)
    found = load(
        config,
        HANSE_NETWORK_PORT="65535",
        HANSE_NETWORK_DHT="0",
        HANSE_NETWORK_LISTEN="/ip4/1.2.3.4/tcp/1, /ip6/::/tcp/2",
        HANSE_NETWORK_UP_RATE="2MB/s",
    ).network
    assert (found.port, found.is_dht, found.up_rate) == (65535, False, 2_000_000)
    assert found.listen == ("/ip4/1.2.3.4/tcp/1", "/ip6/::/tcp/2")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("port = 65536\n", "network.port"),
        ("port = true\n", "network.port"),
        ("port = '4801'\n", "network.port"),
        ("connections = 0\n", "network.connections"),
        ("up_rate = 'fast'\n", "network.up_rate"),
        ("down_rate = -1\n", "network.down_rate"),
        ("down_rate = true\n", "network.down_rate"),
        ("listen = '/ip4/127.0.0.1/tcp/1'\n", "network.listen"),
        ("listen = ['127.0.0.1']\n", "network.listen"),
        ("listen = [1]\n", "network.listen"),
        ("lan = 1\n", "network.lan"),
    ],
)
def test_a_wrong_value_of_the_network_is_named(config, text, key):
    with pytest.raises(BadSetting) as caught:
        load(config, "[network]\n" + text)
    assert caught.value.values["key"] == key


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "x"),
        ("PORT", "70000"),
        ("UP_RATE", "5 parsecs"),
        ("LISTEN", "127.0.0.1"),
        ("LAN", "maybe"),
    ],
)
def test_a_wrong_variable_of_the_network_is_named(config, name, text):
    with pytest.raises(BadSetting) as caught:
        load(config, **{f"HANSE_NETWORK_{name}": text})
    assert caught.value.values["where"] == f"HANSE_NETWORK_{name}"
