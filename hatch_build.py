"""Build hook: the folders of a checkout become ``hanse.app``, ``hanse.core`` and so on.

A wheel gets its names from ``[tool.hatch.build.targets.wheel.sources]``; a development install
cannot be renamed so, and gets one directory link per layer instead.  Knows nothing of what the
layers hold.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LAYERS = ("app", "ui", "core", "network", "resources")


class LinkLayers(BuildHookInterface):
    """On a development install, link every layer under ``.links/hanse``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Create the links that are missing; leave everything else alone."""
        if version != "editable":
            return
        root = Path(self.root)
        namespace = root / ".links" / "hanse"
        namespace.mkdir(parents=True, exist_ok=True)
        for layer in LAYERS:
            link = namespace / layer
            if link.is_symlink() or link.exists():
                continue
            if sys.platform == "win32":
                import _winapi  # a junction needs no administrator, a symlink does

                _winapi.CreateJunction(str(root / layer), str(link))
            else:
                link.symlink_to(os.path.relpath(root / layer, namespace))
