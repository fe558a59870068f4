"""The version of Hanse: the one place it is written, and how the running program knows it.

The build reads the number from this file.  At run time the version is that of the
installed distribution; a checkout that was never installed has only the number here.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"


def program_version() -> str:
    """Return the version of the Hanse that runs."""
    try:
        return version("hanse")
    except PackageNotFoundError:
        return __version__
