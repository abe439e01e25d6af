"""The sweep of `bench/optimizers.py`: where it looks for the best learning rate, and when it has found it."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2] / "bench" / "optimizers.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    if not FILE.exists():
        pytest.skip("a source distribution has no bench/")
    spec = importlib.util.spec_from_file_location("bench_optimizers", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the names in annotations
    spec.loader.exec_module(module)
    return module


def swept(bench: ModuleType, bottom: float, most: int) -> dict[float, float]:
    """A sweep from 0.02 on where scores rise with the square of the distance, in octaves, from `bottom`."""
    tried: dict[float, float] = {}
    while (rate := bench.next_rate(tried, 0.02, most)) is not None:
        assert rate not in tried
        tried[rate] = 1.5 + 0.1 * math.log2(rate / bottom) ** 2
    return tried


def test_a_sweep_goes_on_until_the_best_rate_has_neighbours(bench: ModuleType) -> None:
    assert sorted(swept(bench, 0.02, 6)) == [0.01, 0.02, 0.04]
    assert sorted(swept(bench, 0.005, 6)) == [0.0025, 0.005, 0.01, 0.02, 0.04]
    assert sorted(swept(bench, 0.07, 6)) == [0.01, 0.02, 0.04, 0.08, 0.16]
    assert bench.best_of(swept(bench, 0.07, 6)) == 0.08
    assert sorted(swept(bench, 0.32, 4)) == [0.01, 0.02, 0.04, 0.08]


def test_what_lies_between_the_rates_is_read_off_a_parabola(bench: ModuleType) -> None:
    tried = swept(bench, 0.02 * 2**0.25, 6)
    assert min(tried.values()) - bench.left_between(tried) == pytest.approx(1.5)
    assert bench.left_between(swept(bench, 0.32, 4)) is None


def test_a_training_that_was_done_is_not_done_again(bench: ModuleType, tmp_path: Path) -> None:
    trained: list[Any] = []

    def train(trial: Any) -> dict[str, Any]:
        trained.append(trial)
        return {"bits_per_byte": 2.0 + len(trained), "losses": [1.0]}

    first, second = bench.Trial(2, "muon", 0.02, 10, 1), bench.Trial(2, "muon", 0.02 / 2**0.5, 10, 1)
    trials = bench.Trials(tmp_path / "trainings.jsonl", train)
    assert [trials.score(trial) for trial in (first, second, first)] == [3.0, 4.0, 3.0]
    again = bench.Trials(tmp_path / "trainings.jsonl", train)
    assert again.score(second) == 4.0
    assert trained == [first, second]
