"""``docs/cli.md``, made from the table of commands: ``python -m hanse.app.cli_page``.

The page cannot differ from the program: a test compares it with what this makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from hanse.app.command_line import PROGRAM, Line, command_tree
from hanse.app.console import SystemConsole
from hanse.app.version import program_version

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAME: Final = """\
# The terminal

This page is made from the program: `python3 -m hanse.app.cli_page > docs/cli.md`.

`hanse COMMAND --help` says what a command takes, in English or Chinese. Options of every command
stand before or after it; the later one holds.

## Exit codes

| code | meaning |
| --- | --- |
| 0 | done |
| 1 | the answer is no: a verification failed, the doctor found something, or the person said no |
| 2 | wrong use: the request makes no sense as given |
| 3 | refused by a rule; nothing was changed |
| 4 | the environment failed: disk, lock, keyring |
| 70 | a bug in Hanse; one sentence says where the log is |
| 130 | interrupted with Ctrl-C |
| 141 | whoever read the output went away |

## For programs: `--json`

One object on standard output, whatever happens:

```
{"ok": true, "result": ...}
{"ok": false, "error": {"code": "keystore.wrong_passphrase", "values": {}}}
```

A command that looked and found a fault (`verify`, `ledger verify`, `ledger import`, `doctor`) adds
its whole `result` beside the `error`. Ids are hexadecimal, Identities `hanse:id:...`, times
milliseconds since 1970, sizes bytes. Codes are stable; sentences are not. Questions and warnings go
to standard error. `account create --json` has the recovery phrase in its result: keep it.

## Environment

| variable | same as |
| --- | --- |
| `HANSE_LANG` | `--lang`; then come `LC_ALL`, `LC_MESSAGES`, `LANG`, the settings, English |
| `HANSE_DATA_DIR` | `--data-dir` |
| `HANSE_PASSPHRASE_FILE` | `--passphrase-file` |
| `HANSE_OFFLINE`, `HANSE_VERBOSE` | `--offline`, `--verbose`; 1 or 0 |
| `HANSE_CERTIFICATION_CORES` | how many cores certifying may use; 0, or nothing: all |
| `HANSE_CERTIFICATION_BACKGROUND` | 0: a model you publish is not queued to be measured |
| `HANSE_NETWORK_PORT` and others | the network: [how-to/node.md](how-to/node.md) lists them |
| `HANSE_CONFIG_DIR` | the folder of `settings.toml`, and of what must not lie in a data folder |

`settings.toml` in the configuration folder knows `lang`, `data_dir`, `passphrase_file`, `offline`
and `verbose`, in its section `[certification]` `cores` and `background`, and in `[network]` what
[how-to/node.md](how-to/node.md) lists. The command line wins over the environment, and both over
the file.

While a Hanse runs on the data folder (`hanse node`), it does the commands on it: the terminal asks
and shows, and no passphrase is needed. Help, `verify`, `demo`, `doctor`, `account create`,
`account restore`, `account list`, `backup restore`, `backup drill` and `run --stdin` stay in the
process of the terminal.

Without `--data-dir` a new account gets its own folder below the platform's data folder, and the
other commands take the one account there is, or ask which one.

## Completion

| shell | once |
| --- | --- |
| bash | `hanse --completion bash > ~/.local/share/bash-completion/completions/hanse` |
| zsh | `hanse --completion zsh > ~/.zfunc/_hanse`, with `fpath+=~/.zfunc` before `compinit` |
| fish | `hanse --completion fish > ~/.config/fish/completions/hanse.fish` |

## Commands
"""


def cli_page(language: str = "en") -> str:
    """Write the page."""
    return _FRAME + "".join(f"\n{it}" for it in _sections(language))


def help_texts(language: str) -> Iterator[tuple[str, str]]:
    """Give every command line that has a help of its own, and that help."""
    line = Line(
        act=lambda _command, _values: 0,
        print_text=lambda _text: None,
        version=program_version,
        language=language,
    )
    root = command_tree(line)
    yield from _texts(root, click.Context(root, info_name=PROGRAM))


def _texts(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, str]]:
    yield ctx.command_path, command.get_help(ctx)
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _texts(child, click.Context(child, info_name=name, parent=ctx))


def _sections(language: str) -> Iterator[str]:
    for path, text in help_texts(language):
        yield f"### `{path}`\n\n```\n{text}\n```\n"


if __name__ == "__main__":
    SystemConsole().out(cli_page().rstrip("\n"))
