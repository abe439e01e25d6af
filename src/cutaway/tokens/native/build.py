"""The native library of this room."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

from cutaway.runs.compiled import compiled

FLAGS = ("-std=c++17", "-O3", "-fvisibility=hidden", "-fPIC")
SIGNATURES = {
    "cutaway_words_new": (c_void_p, []),
    "cutaway_words_free": (None, [c_void_p]),
    "cutaway_words_size": (c_int64, [c_void_p]),
    "cutaway_words_add_all": (None, [c_void_p, c_void_p]),
    "cutaway_words_thin": (None, [c_void_p, c_int64]),
    "cutaway_words_count": (None, [c_void_p, c_void_p, c_int, c_int, c_char_p, c_void_p, c_int64]),
    "cutaway_learn": (c_void_p, [c_void_p, c_void_p, c_char_p, c_void_p, c_int64, c_int64]),
    "cutaway_learner_free": (None, [c_void_p]),
    "cutaway_learner_size": (c_int64, [c_void_p]),
    "cutaway_learner_merges": (c_void_p, [c_void_p]),
}
"""What each function gives, and what it takes."""


@cache
def library() -> ctypes.CDLL:
    """The library, its functions told what they take and give.

    Raises:
        CutawayError: it cannot be had; see `compiled`.
    """
    built = compiled(Path(__file__).parent, FLAGS)
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(built, name)
        function.restype, function.argtypes = result, arguments
    return built
