"""What this machine can do, measured: the ceiling of its matrix products, and the precision that gets nearest."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from functools import cache

import torch


@cache
def matmul_flops(dtype: torch.dtype = torch.float32, size: int = 1536) -> float:
    """Floating-point operations a second of a large matrix product: the ceiling that a share is a share of."""
    a = torch.randn(size, size, dtype=dtype)
    b = torch.randn(size, size, dtype=dtype)
    torch.mm(a, b)
    seconds: list[float] = []
    for _ in range(7):
        began = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds)


@cache
def compute_dtype() -> torch.dtype:
    """bfloat16 where this processor multiplies it clearly faster than float32, else float32.

    Not every processor with bfloat16 instructions gains from them, so it is tried and not looked up.
    """
    return torch.bfloat16 if matmul_flops(torch.bfloat16) > 1.5 * matmul_flops(torch.float32) else torch.float32


def can_compile() -> bool:
    """Whether `torch.compile` has the C++ compiler that it needs for the CPU."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))
