"""What a converter answered, before it is believed.

* The files it names must lie in the scratch folder under plain names, be regular files, and
  be no links.
* Its refusal keeps its own word and the values it named, as one line.

How a converter is run is not known here.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from hanse.core.model.running import ConversionRefused, Made

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.certify.frames import MadeFiles


def checked_made(answer: MadeFiles, scratch: Path) -> Made | str:
    """Return what was made, or in words what is wrong with the answer."""
    for file in answer.files:
        if Path(file).name != file or "\\" in file:
            return f"{file!r} is no plain name"
        try:
            mode = (scratch / file).lstat().st_mode
        except (OSError, ValueError):
            return f"{file!r} was not made"
        if not stat.S_ISREG(mode):
            return f"{file!r} is no regular file"
    return Made(
        files=answer.files,
        parity=answer.parity,
        kept=answer.kept,
        notes=answer.notes,
        figures=answer.figures,
    )


def refusal_of_converter(word: str, values: Mapping[str, int | str]) -> ConversionRefused:
    """Turn a converter's no into the error of the port."""
    return ConversionRefused(word, ", ".join(str(value) for value in values.values()))
