"""The words of model hubs for what Hanse says otherwise: licences, relations, front matter.

* A licence is written in lower case there (``apache-2.0``); what SPDX does not have becomes
  ``LicenseRef-hub-WORD``, and back.
* The names of front-matter keys stand here once, for the import and the export.

Source: the model card specification of the Hugging Face hub.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.model.card import Relation

PREFIX: Final = "LicenseRef-hub-"
OTHER_LICENCE: Final = "other"
# Licences the hub has a word for; the word is the SPDX id in lower case, but for these.
_RENAMED: Final[Mapping[str, str]] = {
    "gpl-2.0": "GPL-2.0-only",
    "gpl-3.0": "GPL-3.0-only",
    "gpl": "GPL-3.0-or-later",
    "agpl-3.0": "AGPL-3.0-only",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3.0": "LGPL-3.0-only",
    "lgpl": "LGPL-3.0-or-later",
    "cc0-1.0": "CC0-1.0",
    "cc": "CC-BY-4.0",
    "bsd": "BSD-3-Clause",
    "wtfpl": "WTFPL",
    "pddl": "PDDL-1.0",
    "odc-by": "ODC-By-1.0",
    "odbl": "ODbL-1.0",
    "etalab-2.0": "etalab-2.0",
    "postgresql": "PostgreSQL",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
    "ncsa": "NCSA",
    "isc": "ISC",
    "mit": "MIT",
    "gfdl": "GFDL-1.3-or-later",
}
_SAME: Final = (
    "Apache-2.0 AFL-3.0 Artistic-2.0 BSL-1.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear "
    "CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 "
    "CC-BY-NC-4.0 CC-BY-ND-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 "
    "CC-BY-NC-SA-4.0 CDLA-Sharing-1.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 ECL-2.0 EPL-1.0 "
    "EPL-2.0 EUPL-1.1 EUPL-1.2 MPL-2.0 MS-PL OFL-1.1 OSL-3.0 LPPL-1.3c"
)
_SPDX: Final[Mapping[str, str]] = {
    **_RENAMED,
    **{spdx.casefold(): spdx for spdx in _SAME.split()},
}
# Known ids that the hub has no word for: they go as the name of an ``other`` licence.
_NAMES: Final = frozenset(
    [
        "0BSD",
        "AGPL-3.0-or-later",
        "CC-PDDC",
        "GFDL-1.3-only",
        "GPL-2.0-or-later",
        "LGPL-2.1-or-later",
        "MIT-0",
        "MulanPSL-2.0",
        "UPL-1.0",
    ]
)
_HUB: Final[Mapping[str, str]] = {
    spdx: word
    for word, spdx in _SPDX.items()
    if word not in ("cc", "bsd")  # too wide to write
}
_REFERENCE: Final = re.compile(r"LicenseRef-[A-Za-z0-9.-]{1,100}\Z")
_WORD: Final = re.compile(r"[^A-Za-z0-9.-]+")
_WORD_MOST: Final = 60

RELATIONS: Final[Mapping[str, Relation]] = {
    "finetune": "finetune",
    "adapter": "adapter",
    "merge": "merge",
    "quantized": "quantise",
    "distill": "distil",
}


def licence_of_word(word: str, name: str = "") -> str:
    """Return the SPDX id or LicenseRef of a hub's word; ``name`` says what ``other`` is."""
    bare = word.strip().casefold()
    if bare in _SPDX:
        return _SPDX[bare]
    told = name.strip() if bare == OTHER_LICENCE and name.strip() else bare
    if told in _NAMES or _REFERENCE.match(told):
        return told
    return PREFIX + (_WORD.sub("-", told).strip("-.")[:_WORD_MOST] or OTHER_LICENCE)


def word_of_licence(spdx: str) -> tuple[str, str]:
    """Return the hub's word for ``spdx``, and the name to give beside ``other``."""
    if spdx in _HUB:
        return _HUB[spdx], ""
    if spdx.startswith(PREFIX) and (word := spdx.removeprefix(PREFIX)) != OTHER_LICENCE:
        return word, ""
    return OTHER_LICENCE, spdx
