"""What this machine can do, measured: the ceiling of its matrix products, and the precision that gets nearest."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from cutaway.runs import CutawayError, atomic
from cutaway.runs.cache import cache_directory

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
NOTED = "machine.json"
"""Where measurements that need not be made anew are kept, in the cache."""


@cache
def device() -> torch.device:
    """Where models are trained: this process's GPU if there is one, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@cache
def matmul_flops(dtype: torch.dtype = torch.float32, size: int = 1536) -> float:
    """Floating-point operations a second of a large matrix product: the ceiling that a share is a share of."""
    at = device()
    if at.type == "cuda":
        size = 8192
    a, b = (torch.randn(size, size, dtype=dtype, device=at) for _ in range(2))
    torch.mm(a, b)
    return 2 * size**3 / statistics.median(timed(lambda: torch.mm(a, b)) for _ in range(7))


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes, what it starts on a GPU included."""
    _synchronize()
    began = time.perf_counter()
    work()
    _synchronize()
    return time.perf_counter() - began


@cache
def compute_dtype() -> torch.dtype:
    """bfloat16 where this processor multiplies it clearly faster than float32, else float32.

    Not every processor with bfloat16 instructions gains from them, so it is tried, in a second, and not looked up.
    The answer is kept in the cache for this processor, this PyTorch and this number of threads.
    """
    file, key = cache_directory() / NOTED, _machine()
    noted = _read(file)
    faster = noted.get(key)
    if not isinstance(faster, bool):
        faster = matmul_flops(torch.bfloat16) > 1.5 * matmul_flops(torch.float32)
        # Without a place to keep it, it is measured each time.
        with suppress(CutawayError, OSError):
            atomic.write_json(file, noted | {key: faster})
    return torch.bfloat16 if faster else torch.float32


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for what is asked for next, instead of giving it back to the system.

    A training step frees and asks for the same large pieces each time; found anew by the system, page by page, they
    cost a twentieth of a step's time. Only glibc can be told.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def can_compile() -> bool:
    """Whether `torch.compile` has the C++ compiler that it needs for the CPU."""
    if device().type == "cuda":
        return True
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))


def _machine() -> str:
    """What the measurement holds for."""
    at = device()
    name = torch.cuda.get_device_name(at) if at.type == "cuda" else _processor()
    return f"bfloat16 is faster: {name}, torch {torch.__version__}, {torch.get_num_threads()} threads"


def _processor() -> str:
    """The processor by name and instructions, as far as the system tells."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
        told = {key.strip(): value.strip() for key, value in told.items()}
        matters = sorted(flag for flag in told.get("flags", "").split() if flag.startswith(("avx512", "amx", "avx2")))
        return f"{told.get('model name', platform.machine())} ({' '.join(matters)})"
    return f"{platform.machine()} {platform.processor()}"


def _read(file: Path) -> dict[str, object]:
    with suppress(OSError, ValueError):
        noted = json.loads(file.read_text("utf-8"))
        if isinstance(noted, dict):
            return noted
    return {}


def _synchronize() -> None:
    if device().type == "cuda":
        torch.cuda.synchronize(device())
