"""Where things are kept outside of runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """What can be made or got anew: cutaway/ in $XDG_CACHE_HOME or ~/.cache."""
    return _below("XDG_CACHE_HOME", ".cache")


def data_directory() -> Path:
    """What a person has made: cutaway/ in $XDG_DATA_HOME or ~/.local/share."""
    return _below("XDG_DATA_HOME", ".local/share")


def _below(variable: str, otherwise: str) -> Path:
    # The XDG specification has a relative path there ignored.
    base = Path(os.environ.get(variable, ""))
    return (base if base.is_absolute() else Path.home() / otherwise) / "cutaway"
