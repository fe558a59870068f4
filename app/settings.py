"""What a person set, and where: the command line, the environment, a file, in this order.

* ``settings.toml`` in the configuration folder holds only the keys of ``KEYS``; an
  unknown key or a wrong value is an error that names both, never passed over: who
  misspells ``offline`` must not go online.  ``certification.cores`` is the key ``cores`` of
  the section ``[certification]``, and so for ``[network]``.
* Every key but the file's own place has a ``HANSE_*`` variable, with ``_`` for the dot.

What a setting does is decided by whoever asks for it.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.core.engine.home import config_folder
from hanse.core.errors import FileUnreadable, WrongUse
from hanse.core.limits import SETTINGS_SIZE_BYTES_MAX
from hanse.core.model.network import NetworkSettings
from hanse.core.sentences import LANGUAGES, language_of, pick_language

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SETTINGS_FILE: Final = "settings.toml"
KEYS: Final[Mapping[str, type]] = {
    "lang": str,
    "data_dir": str,
    "passphrase_file": str,
    "offline": bool,
    "verbose": bool,
    "certification.cores": int,
    "certification.background": bool,
    "network.port": int,
    "network.listen": list,
    "network.lan": bool,
    "network.dht": bool,
    "network.relay": bool,
    "network.connections": int,
    "network.up_rate": str,
    "network.down_rate": str,
    "network.seed_followed": bool,
}
CORES_MOST: Final = 1024
PORT_MOST: Final = 65_535
CONNECTIONS_MOST: Final = 900
LISTEN_MOST: Final = 16
_NUMBERS: Final[Mapping[str, tuple[int, int]]] = {
    "certification.cores": (0, CORES_MOST),
    "network.port": (0, PORT_MOST),
    "network.connections": (1, CONNECTIONS_MOST),
}
_RATES: Final = frozenset({"network.up_rate", "network.down_rate"})
_RATE: Final = re.compile(r"([0-9]{1,12})\s*(|B|kB|MB|GB)(?:/s)?\Z", re.IGNORECASE)
_RATE_UNITS: Final = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}
_RATE_EXPECTED: Final = "0, 500 kB, 2 MB"
_LISTEN_EXPECTED: Final = f"/ip4/0.0.0.0/tcp/4801, 1 - {LISTEN_MOST}"
_SECTIONS: Final = frozenset(key.partition(".")[0] for key in KEYS if "." in key)
_EXPECTED: Final[Mapping[type, str]] = {
    bool: "true, false",
    str: "text",
    list: _LISTEN_EXPECTED,
}
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


class SettingsBroken(WrongUse):
    """The settings file is not TOML."""

    code = "settings.broken"
    text = "{path} is not a TOML file: {detail}"
    fields = ("path", "detail")


class UnknownSetting(WrongUse):
    """The settings file has a key Hanse does not know."""

    code = "settings.unknown"
    text = "{path} sets {key}, which does not exist; known: {known}"
    fields = ("path", "key", "known")


class BadSetting(WrongUse):
    """A setting has a value it cannot have; ``where`` is a file, a variable or an option."""

    code = "settings.value"
    text = "{where}: {key} cannot be {found}, it must be {expected}"
    fields = ("where", "key", "found", "expected")


@dataclass(frozen=True, slots=True)
class Given:
    """What stood on the command line; None where nothing was said."""

    lang: str | None = None
    data_dir: Path | None = None
    passphrase_file: Path | None = None
    is_offline: bool = False
    is_verbose: bool = False
    is_json: bool = False
    is_yes: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for this run, wherever it was set.

    ``cores`` is how many certifying may use, 0 for all; ``is_measuring`` that models which were
    published are measured in the background.
    """

    lang: str
    config: Path
    data_dir: Path | None
    passphrase_file: Path | None
    is_offline: bool
    is_verbose: bool
    is_json: bool
    is_yes: bool
    cores: int = 0
    is_measuring: bool = True
    network: NetworkSettings = field(default_factory=NetworkSettings)


def load_settings(given: Given, environ: Mapping[str, str]) -> Settings:
    """Bring the command line, ``HANSE_*`` and ``settings.toml`` together."""
    config = config_folder(environ)
    saved = _read(config / SETTINGS_FILE)
    asked = environ.get("HANSE_LANG")
    if asked and language_of(asked) is None:
        raise _bad_language("HANSE_LANG", asked)
    return Settings(
        lang=pick_language(given.lang, environ, _text(saved, "lang")),
        config=config,
        data_dir=given.data_dir or _path(environ.get("HANSE_DATA_DIR") or saved.get("data_dir")),
        passphrase_file=given.passphrase_file
        or _path(environ.get("HANSE_PASSPHRASE_FILE") or saved.get("passphrase_file")),
        is_offline=given.is_offline or _switch("offline", environ, saved),
        is_verbose=given.is_verbose or _switch("verbose", environ, saved),
        is_json=given.is_json,
        is_yes=given.is_yes,
        cores=_number("certification.cores", environ, saved),
        is_measuring=_switch("certification.background", environ, saved, usual=True),
        network=_network(environ, saved),
    )


def _network(environ: Mapping[str, str], saved: Mapping[str, object]) -> NetworkSettings:
    usual = NetworkSettings()
    return NetworkSettings(
        port=_number("network.port", environ, saved, usual=usual.port),
        listen=_listen(environ, saved),
        is_lan=_switch("network.lan", environ, saved, usual=usual.is_lan),
        is_dht=_switch("network.dht", environ, saved, usual=usual.is_dht),
        is_relay=_switch("network.relay", environ, saved, usual=usual.is_relay),
        connections=_number("network.connections", environ, saved, usual=usual.connections),
        up_rate=_rate("network.up_rate", environ, saved),
        down_rate=_rate("network.down_rate", environ, saved),
        seeds_followed=_switch("network.seed_followed", environ, saved, usual=usual.seeds_followed),
    )


def saved_language(environ: Mapping[str, str]) -> str | None:
    """Return the language of the settings file, or None when the file cannot be used.

    For sentences that are said before the settings are loaded, errors among them.
    """
    try:
        return _text(_read(config_folder(environ) / SETTINGS_FILE), "lang")
    except WrongUse:
        return None
    except FileUnreadable:
        return None


def _read(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as file:
            raw = file.read(SETTINGS_SIZE_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise FileUnreadable(path=path, detail=error.strerror) from error
    if len(raw) > SETTINGS_SIZE_BYTES_MAX:
        raise SettingsBroken(path=path, detail=f"over {SETTINGS_SIZE_BYTES_MAX} bytes")
    try:
        saved: Mapping[str, object] = tomllib.loads(raw.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsBroken(path=path, detail=str(error)) from error
    flat = dict(_flat(saved))
    for key, value in flat.items():
        _check(path, key, value)
    return flat


def _flat(saved: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Give the keys of a section with its name before them; other tables are left as they are."""
    for key, value in saved.items():
        if key in _SECTIONS and isinstance(value, dict):
            yield from ((f"{key}.{name}", one) for name, one in value.items())
        else:
            yield key, value


def _check(path: Path, key: str, value: object) -> None:
    kind = KEYS.get(key)
    if kind is None:
        raise UnknownSetting(path=path, key=key, known=tuple(KEYS))
    expected = _expected(key)
    if key in _RATES:
        is_fitting = (type(value) is int and value >= 0) or (
            isinstance(value, str) and _rate_of(value) is not None
        )
    elif kind is int:
        least, most = _NUMBERS[key]
        is_fitting = type(value) is int and least <= value <= most
    elif kind is list:
        is_fitting = isinstance(value, list) and _is_listen(value)
    else:
        is_fitting = type(value) is kind
    if not is_fitting:
        raise BadSetting(where=str(path), key=key, found=repr(value), expected=expected)
    if key == "lang" and language_of(str(value)) is None:
        raise _bad_language(str(path), str(value))


def _expected(key: str) -> str:
    if key in _NUMBERS:
        least, most = _NUMBERS[key]
        return f"{least} - {most}"
    return _RATE_EXPECTED if key in _RATES else _EXPECTED[KEYS[key]]


def _is_listen(found: list[object]) -> bool:
    return len(found) <= LISTEN_MOST and all(
        isinstance(one, str) and one.startswith("/") for one in found
    )


def _bad_language(where: str, found: str) -> BadSetting:
    return BadSetting(where=where, key="lang", found=found, expected=", ".join(LANGUAGES))


def _text(saved: Mapping[str, object], key: str) -> str | None:
    value = saved.get(key)
    return value if isinstance(value, str) else None


def _path(value: object) -> Path | None:
    return Path(value).expanduser().absolute() if isinstance(value, str) and value else None


def _variable(key: str) -> str:
    return f"HANSE_{key.upper().replace('.', '_')}"


def _number(
    key: str, environ: Mapping[str, str], saved: Mapping[str, object], *, usual: int = 0
) -> int:
    name = _variable(key)
    text = environ.get(name, "").strip()
    if not text:
        value = saved.get(key)
        return value if isinstance(value, int) else usual
    least, most = _NUMBERS[key]
    number = int(text[:9]) if text.isascii() and text.isdigit() else -1
    if not least <= number <= most:
        raise BadSetting(where=name, key=key, found=text, expected=_expected(key))
    return number


def _rate(key: str, environ: Mapping[str, str], saved: Mapping[str, object]) -> int:
    name = _variable(key)
    text = environ.get(name, "").strip()
    if not text:
        value = saved.get(key, 0)
        return value if isinstance(value, int) else _rate_of(str(value)) or 0
    rate = _rate_of(text)
    if rate is None:
        raise BadSetting(where=name, key=key, found=text, expected=_RATE_EXPECTED)
    return rate


def _rate_of(text: str) -> int | None:
    """Read bytes a second as people write them, or None."""
    found = _RATE.match(text.strip())
    return None if found is None else int(found[1]) * _RATE_UNITS[found[2].lower()]


def _listen(environ: Mapping[str, str], saved: Mapping[str, object]) -> tuple[str, ...]:
    name = _variable("network.listen")
    text = environ.get(name, "").strip()
    if not text:
        value = saved.get("network.listen")
        return tuple(value) if isinstance(value, list) else ()
    found: list[object] = [one.strip() for one in text.split(",")]
    if not _is_listen(found):
        raise BadSetting(where=name, key="network.listen", found=text, expected=_LISTEN_EXPECTED)
    return tuple(str(one) for one in found)


def _switch(
    key: str, environ: Mapping[str, str], saved: Mapping[str, object], *, usual: bool = False
) -> bool:
    name = _variable(key)
    value = environ.get(name, "").strip().lower()
    if not value:
        return saved.get(key, usual) is True
    if value not in _TRUE | _FALSE:
        raise BadSetting(where=name, key=key, found=value, expected="1, 0")
    return value in _TRUE
