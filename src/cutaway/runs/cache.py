"""Where what can be made or got anew is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """cutaway/ in $XDG_CACHE_HOME or ~/.cache."""
    # The XDG specification has a relative path there ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "cutaway"
