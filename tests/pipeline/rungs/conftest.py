"""What tests of several rungs learn from, and how they climb and read what came out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cutaway.cli.main import run_command
from cutaway.runs import read_results

Climb = Callable[..., int]


@pytest.fixture(scope="session")
def verses() -> str:
    """Sentences that are all alike, in few characters."""
    return "".join(
        f"In the year {n % 17} the {who} saw the {what} and was glad.\n"
        for n in range(150)
        for who, what in (("king", "sea"), ("cat", "mouse"))
    )


@pytest.fixture(scope="module")
def climb(request: pytest.FixtureRequest, verses: str) -> Climb:
    """Climbs the rung that a module of tests names `NAME`, as small as its `TINY` says, on `verses` or another text.

    It takes the folder of the run, whose parent gets the text, and settings `field=value`; it gives the exit code.
    """
    name, tiny = request.module.NAME, request.module.TINY

    def climb(out: Path, *more: str, text: str = verses) -> int:
        (out.parent / "text.txt").write_text(text)
        sets = [part for each in (*tiny, *more) for part in ("--set", f"{name}.{each}")]
        return run_command(["ladder", name, "--out", str(out), "--data", str(out.parent / "text.txt"), *sets])

    return climb


@pytest.fixture(scope="module")
def finished(request: pytest.FixtureRequest, climb: Climb, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stage of such a run."""
    name = request.module.NAME
    out = tmp_path_factory.mktemp(name) / "run"
    assert climb(out) == 0
    return out / name


@pytest.fixture(scope="session")
def figures() -> Callable[[Path], dict[str, float]]:
    """Reads the figures of a stage from its folder, by name."""

    def figures(stage: Path) -> dict[str, float]:
        return {result.metric: result.value for result in read_results(stage / "evals.json")}

    return figures


@pytest.fixture(scope="session")
def spots_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], Path]:
    """Writes images of ten classes that are easy to tell apart, so many and of these so many to learn from, as .npz."""

    def spots_of(n: int, training: int) -> Path:
        rng = np.random.default_rng(0)
        y = np.arange(n) % 10
        x = rng.integers(0, 80, (n, 144))
        x[np.arange(n), 14 * y] = 255
        x = x.reshape(n, 12, 12).astype(np.uint8)
        path = tmp_path_factory.mktemp("data") / "spots.npz"
        np.savez(path, train_x=x[:training], train_y=y[:training], test_x=x[training:], test_y=y[training:])
        return path

    return spots_of
