"""The rung of backpropagation by hand, end to end on a few made-up images."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from cutaway.pipeline.rungs.backprop import RUNG, BackpropSettings
from cutaway.pipeline.stage import StageContext
from cutaway.runs import BadInput, RunDirectory, SilentProgress, read_results


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes, each of its own noisy pattern: a row, and the same one shifted, so that the next can be foretold."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 200, (10, 1, 6))
    patterns = np.concatenate([np.roll(first, shift, axis=2) for shift in range(6)], axis=1)
    arrays: dict[str, Any] = {}
    for part, n in (("train", 200), ("test", 100)):
        labels = np.arange(n) % 10
        arrays[f"{part}_x"] = (patterns[labels] + rng.integers(0, 56, (n, 6, 6))).astype(np.uint8)
        arrays[f"{part}_y"] = labels
    path = tmp_path_factory.mktemp("images") / "made-up.npz"
    np.savez(path, **arrays)
    return path


def climbed(directory: Path, settings: BackpropSettings) -> Path:
    directory.mkdir(parents=True)
    RUNG.stages[0].function(StageContext(RunDirectory(directory), directory, settings, 1, SilentProgress(), None))
    return directory


def test_it_compares_shows_and_learns(images: Path, tmp_path: Path) -> None:
    settings = BackpropSettings(data=images, hidden=(12,), epochs=40, batch=8, image=7, block_steps=300)
    made = climbed(tmp_path / "one", settings)
    found = {result.metric: result.value for result in read_results(made / "evals.json")}
    assert found["from_engine"] < 1e-10
    assert found["from_torch"] < 1e-10
    assert found["accuracy"] > 0.9
    assert found["hebbian_correlation"] > 0.9
    assert found["next_row_error"] < found["next_row_error_of_the_mean"]
    report = (made / "report.md").read_text()
    assert "what does this 7 ask" in report
    pictures = re.findall(r"!\[\]\((\S+)\)", report)
    assert len(pictures) == 6
    for name in pictures:
        ElementTree.parse(made / name)
    data = json.loads((made / "data.json").read_text())
    assert len(data["differences"]) == 5
    assert len(data["losses"]) == 40


def test_a_rate_at_which_the_block_diverges_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"smaller backprop\.block_lr"):
        climbed(tmp_path / "a", BackpropSettings(data=images, epochs=1, block_lr=50))


def test_an_image_that_is_not_there_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"image is 200; made-up has 200 training images"):
        climbed(tmp_path / "a", BackpropSettings(data=images, image=200))
