"""The native library, compiled for this very processor when it is first needed, and kept."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from cutaway.infer.native.layout import declare
from cutaway.runs import CutawayError, atomic
from cutaway.runs.cache import cache_directory

HERE = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
# Contraction is asked for by name because it is what makes `a * b + c` one instruction; nothing may reorder additions.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden", "-fPIC", "-pthread")
SECONDS = 300
"""How long a compiler may take."""


@cache
def library(architecture: str = "native") -> ctypes.CDLL:
    """The library for a processor that the compiler knows by this name; `native` is the one at hand.

    It is built when there is none yet of these sources, these flags, this compiler and this processor. Processes that
    build at the same time do so apart; the last to be done leaves its own.

    Raises:
        CutawayError: there is no compiler, it fails, or the library cannot be opened.
    """
    compiler = find_compiler()
    option = "-mcpu" if platform.machine() in ("arm64", "aarch64") else "-march"
    flags = (*FLAGS, f"{option}={architecture}")
    sources = sorted((*HERE.glob("*.h"), *HERE.glob("*.cpp")))
    digest = hashlib.sha256(run(compiler, *flags, "-dM", "-E", "-x", "c++", os.devnull))
    for part in (*flags, *(path.read_text("utf-8") for path in sources)):
        digest.update(part.encode() + b"\0")
    file = cache_directory() / "native" / f"{digest.hexdigest()[:24]}.so"
    if not file.exists():
        with tempfile.TemporaryDirectory() as temporary:
            built = Path(temporary) / file.name
            run(compiler, *flags, "-shared", "-o", str(built), str(HERE / "native.cpp"))
            atomic.write_bytes(file, built.read_bytes())
    try:
        return declare(ctypes.CDLL(str(file)))
    except OSError as error:
        raise CutawayError(f"the native library {file} cannot be opened ({error}); PyTorch has to do") from error


def find_compiler() -> str:
    """The path of $CXX, or of a C++ compiler by one of its usual names. Raises `CutawayError` if there is none."""
    names = (os.environ.get("CXX") or "", *COMPILERS)
    for name in names:
        if name and (found := shutil.which(name)):
            return found
    raise CutawayError("there is no C++ compiler to build the native library with; install g++, or PyTorch has to do")


def run(compiler: str, *arguments: str) -> bytes:
    """What a call of the compiler prints. Raises `CutawayError` with the first error that it names."""
    try:
        done = subprocess.run([compiler, *arguments], capture_output=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CutawayError(f"{compiler} could not build the native library ({error}); PyTorch has to do") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        first = next((line for line in lines if "error" in line), lines[-1])
        raise CutawayError(f"{compiler} could not build the native library ({first}); PyTorch has to do")
    return done.stdout
