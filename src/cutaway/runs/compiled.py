"""A folder of C++ as a library, compiled when it is first needed, and kept."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cutaway.runs import atomic
from cutaway.runs.cache import cache_directory
from cutaway.runs.errors import CutawayError

COMPILERS = ("c++", "g++", "clang++")
SECONDS = 300
"""How long a compiler may take."""


def compiled(folder: Path, flags: Sequence[str]) -> ctypes.CDLL:
    """The library of `folder/native.cpp` and what lies beside it, built with these flags.

    It is built when there is none yet of these sources, these flags, this compiler and what the flags make of this
    processor. Processes that build at the same time do so apart; the last to be done leaves its own.

    Raises:
        CutawayError: there is no compiler, it fails, or the library cannot be opened.
    """
    compiler = find_compiler()
    digest = hashlib.sha256(run(compiler, *flags, "-dM", "-E", "-x", "c++", os.devnull))
    sources = sorted((*folder.glob("*.h"), *folder.glob("*.cpp")))
    for part in (*flags, *(path.read_text("utf-8") for path in sources)):
        digest.update(part.encode() + b"\0")
    file = cache_directory() / "native" / f"{digest.hexdigest()[:24]}.so"
    if not file.exists():
        with tempfile.TemporaryDirectory() as temporary:
            built = Path(temporary) / file.name
            run(compiler, *flags, "-shared", "-o", str(built), str(folder / "native.cpp"))
            atomic.write_bytes(file, built.read_bytes())
    try:
        return ctypes.CDLL(str(file))
    except OSError as error:
        raise CutawayError(f"the native library {file} cannot be opened ({error})") from error


def find_compiler() -> str:
    """The path of $CXX, or of a C++ compiler by one of its usual names. Raises `CutawayError` if there is none."""
    names = (os.environ.get("CXX") or "", *COMPILERS)
    for name in names:
        if name and (found := shutil.which(name)):
            return found
    raise CutawayError("there is no C++ compiler to build the native library with; install g++")


def run(compiler: str, *arguments: str) -> bytes:
    """What a call of the compiler prints. Raises `CutawayError` with the first error that it names."""
    try:
        done = subprocess.run([compiler, *arguments], capture_output=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CutawayError(f"{compiler} could not build the native library ({error})") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        first = next((line for line in lines if "error" in line), lines[-1])
        raise CutawayError(f"{compiler} could not build the native library ({first})")
    return done.stdout
