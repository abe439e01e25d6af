"""The native library, compiled for this very processor."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from pathlib import Path

from cutaway.infer.native.layout import declare
from cutaway.runs import CutawayError
from cutaway.runs.compiled import compiled

# Contraction is asked for by name because it is what makes `a * b + c` one instruction; nothing may reorder additions.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden", "-fPIC", "-pthread")


@cache
def library(architecture: str = "native") -> ctypes.CDLL:
    """The library for a processor that the compiler knows by this name; `native` is the one at hand.

    Raises:
        CutawayError: it cannot be had; see `compiled`.
    """
    option = "-mcpu" if platform.machine() in ("arm64", "aarch64") else "-march"
    try:
        return declare(compiled(Path(__file__).parent, (*FLAGS, f"{option}={architecture}")))
    except CutawayError as error:
        raise CutawayError(f"{error}; PyTorch has to do") from error
