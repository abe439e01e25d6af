"""`bench/ladder.py` compares like with like."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "bench" / "ladder.py"


def test_both_that_are_timed_do_the_same() -> None:
    if not FILE.exists():
        pytest.skip("a source distribution has no bench/")
    pytest.importorskip("sklearn")
    spec = importlib.util.spec_from_file_location("bench_ladder", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    rng = np.random.default_rng(0)
    x, y = rng.random((100, 784), np.float32), np.eye(10, dtype=np.float32)[rng.integers(10, size=100)]
    assert module.same_epoch(x, y, 32) < 1e-12
