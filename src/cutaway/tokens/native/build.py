"""The native library of this room, compiled when it is first needed, and kept."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from ctypes import c_char_p, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

from cutaway.runs import CutawayError, atomic
from cutaway.runs.cache import cache_directory

HERE = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fvisibility=hidden", "-fPIC", "-shared")
SECONDS = 300
"""How long a compiler may take."""


@cache
def library() -> ctypes.CDLL:
    """The library, built when there is none yet of these sources, flags, compiler and system.

    Raises:
        CutawayError: there is no compiler, it fails, or the library cannot be opened.
    """
    compiler = _find_compiler()
    digest = hashlib.sha256(repr((FLAGS, _run(compiler, "--version"), platform.machine(), os.name)).encode())
    for path in sorted((*HERE.glob("*.h"), *HERE.glob("*.cpp"))):
        digest.update(path.read_bytes() + b"\0")
    file = cache_directory() / "native" / f"tokens-{digest.hexdigest()[:24]}.so"
    if not file.exists():
        with tempfile.TemporaryDirectory() as temporary:
            built = Path(temporary) / file.name
            _run(compiler, *FLAGS, "-o", str(built), str(HERE / "native.cpp"))
            atomic.write_bytes(file, built.read_bytes())
    try:
        return _declare(ctypes.CDLL(str(file)))
    except OSError as error:
        raise CutawayError(f"the native library {file} cannot be opened ({error})") from error


def _find_compiler() -> str:
    for name in (os.environ.get("CXX") or "", *COMPILERS):
        if name and (found := shutil.which(name)):
            return found
    raise CutawayError("there is no C++ compiler to build the native library with; install g++")


def _run(compiler: str, *arguments: str) -> bytes:
    try:
        done = subprocess.run([compiler, *arguments], capture_output=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CutawayError(f"{compiler} could not build the native library ({error})") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        first = next((line for line in lines if "error" in line), lines[-1])
        raise CutawayError(f"{compiler} could not build the native library ({first})")
    return done.stdout


def _declare(built: ctypes.CDLL) -> ctypes.CDLL:
    """The library, its functions told what they take and give."""
    signatures = {
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
    for name, (result, arguments) in signatures.items():
        function = getattr(built, name)
        function.restype, function.argtypes = result, arguments
    return built
