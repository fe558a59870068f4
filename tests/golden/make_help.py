"""Writes ``help_en.txt``, ``help_zh_CN.txt`` and ``docs/cli.md`` from the program.

Run as ``python -m tests.golden.make_help`` and read the difference before it is kept.
"""

from __future__ import annotations

from pathlib import Path

from hanse.app.cli_page import cli_page, help_texts
from hanse.core.sentences import LANGUAGES

GOLDEN = Path(__file__).parent
PAGE = GOLDEN.parents[1] / "docs" / "cli.md"


def golden_help(language: str) -> str:
    return "".join(f"$ {path} --help\n{text}\n\n" for path, text in help_texts(language))


if __name__ == "__main__":
    for language in LANGUAGES:
        (GOLDEN / f"help_{language}.txt").write_text(golden_help(language), "utf-8")
    PAGE.write_text(cli_page(), "utf-8")
