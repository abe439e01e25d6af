"""Targets are checked on the right stage, on the right side, and over seeds by their mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cutaway.evals.report import write_report
from cutaway.evals.spread import spread_table
from cutaway.evals.targets import Check, checks
from cutaway.runs import BadInput, Result, RunDirectory, read_results


def share(stage: str, metric: str, value: float, *, lower: bool = False) -> Result:
    return Result(stage, metric, value, "share", 200, 1, higher_is_better=not lower)


def bits(stage: str, metric: str, value: float) -> Result:
    return Result(stage, metric, value, "bits/byte", 1000, 1, higher_is_better=False)


def by_name(results: list[Result]) -> dict[str, Check]:
    return {check.name: check for check in checks(results)}


def test_bits_per_byte_must_hold_after_the_worst_stage() -> None:
    results = [bits("baseline", "xz", 1.6), bits("baseline", "kneser_ney", 1.28)]
    results += [bits("pretrain", "bits_per_byte", 1.2), bits("sft", "bits_per_byte", 1.3)]
    found = by_name(results)
    assert found["Held-out bits per byte, against xz −9e"].passed
    ngram = found["Held-out bits per byte, against a Kneser–Ney 5-gram"]
    assert not ngram.passed
    assert (ngram.value, ngram.bound) == (1.3, 1.28)
    assert found["Held-out bits per byte, at its best"].passed


def test_shares_are_those_of_the_last_stage() -> None:
    results = [share("sft", "facts", 0.95), share("rl", "facts", 0.89), share("rl", "false_refusals", 0.05, lower=True)]
    found = by_name([r for r in results if r.stage == "rl" or r.metric == "facts"])
    assert not found["Facts it read, asked in new wordings (answered right)"].passed
    assert found["Facts it read, refused (“I don't know”, wrongly)"].passed


def test_what_reinforcement_learning_gains_and_costs() -> None:
    results = [share("sft", "products", 0.5), share("rl", "products", 0.7), share("sft", "three_operands", 0.6)]
    results += [share("rl", "three_operands", 0.65), share("sft", "spelling", 0.9), share("rl", "spelling", 0.895)]
    results += [share("sft", "false_refusals", 0.01, lower=True), share("rl", "false_refusals", 0.03, lower=True)]
    results += [share("sft", "sums_direct", 0.2), share("rl", "sums_direct", 0.0)]
    found = by_name(results)
    gained = found["Gained by reinforcement learning: two digits by one, in steps"]
    assert gained.passed
    assert gained.value == pytest.approx(20)
    cost = found["Cost of reinforcement learning to its worst-hit skill"]
    assert cost.value == pytest.approx(2)
    assert not cost.passed
    assert cost.note.startswith("facts it read, refused")


def test_the_family_judged_by_is_one_that_was_half_learned() -> None:
    results = [share("sft", "products", 0.1), share("rl", "products", 0.6), share("sft", "three_operands", 0.5)]
    (gained, cost) = checks([*results, share("rl", "three_operands", 0.7)])
    assert gained.name.endswith("three numbers, in steps")
    assert gained.value == pytest.approx(20)
    assert cost.value == 0
    (gained, cost) = checks([*results, share("rl", "three_operands", 0.45)])
    assert not gained.passed
    assert cost.note == "no skill lost"
    (gained, _) = checks(
        [share("sft", "products", 0.9), share("rl", "products", 1.0), share("sft", "x", 1), share("rl", "x", 1)]
    )
    assert gained.note == "from 90.0%, outside 30% to 70%"


def test_a_run_without_models_has_nothing_to_check() -> None:
    assert checks([]) == []
    assert checks([share("mine", "own", 0.5)]) == []


def test_several_seeds_as_one_table(tmp_path: Path, make_run: Callable[..., RunDirectory]) -> None:
    paths: list[Path] = []
    for seed, shift in ((1, 0.0), (2, -0.02), (3, 0.02)):
        run = make_run(tmp_path / str(seed), seed=seed, steps=10, shift=shift)
        write_report(run)
        paths.append(run.path / "report.json")
    table = spread_table(paths)
    (facts,) = [line for line in table.splitlines() if line.startswith("| Facts it read, asked") and "at least" in line]
    assert "93.4% | 91.4% | 95.4% | 93.4 ± 2.0% | ✓ (3 of 3)" in facts
    (recombined,) = [line for line in table.splitlines() if line.startswith("| Known names") and "at least" in line]
    assert "✓ (2 of 3)" in recombined
    assert "1.198 ± 0.002" in table
    with pytest.raises(BadInput):
        spread_table([tmp_path / "none.json"])
    assert read_results(paths[0])
