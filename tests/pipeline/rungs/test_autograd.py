"""The rung of the engine, end to end on a few made-up images."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from cutaway.pipeline.rungs.autograd import RUNG, AutogradSettings
from cutaway.pipeline.stage import StageContext
from cutaway.runs import BadInput, RunDirectory, SilentProgress, read_results


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes, each of its own noisy pattern."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (10, 6, 6))
    arrays: dict[str, Any] = {}
    for part, n in (("train", 200), ("test", 100)):
        labels = np.arange(n) % 10
        arrays[f"{part}_x"] = (patterns[labels] + rng.integers(0, 56, (n, 6, 6))).astype(np.uint8)
        arrays[f"{part}_y"] = labels
    path = tmp_path_factory.mktemp("images") / "made-up.npz"
    np.savez(path, **arrays)
    return path


def climbed(directory: Path, settings: AutogradSettings, seed: int = 1) -> Path:
    directory.mkdir(parents=True)
    run = RunDirectory(directory)
    RUNG.stages[0].function(StageContext(run, directory, settings, seed, SilentProgress(), None))
    return directory


def test_it_checks_draws_and_learns(images: Path, tmp_path: Path) -> None:
    made = climbed(tmp_path / "one", AutogradSettings(data=images, steps=120, tiny_steps=40))
    found = {result.metric: result.value for result in read_results(made / "evals.json")}
    assert found["from_finite_differences"] < 1e-7
    assert found["from_torch"] < 1e-12
    assert found["accuracy"] > 0.9
    assert found["tiny_accuracy"] > 0.9
    report = (made / "report.md").read_text()
    pictures = re.findall(r"!\[\]\((\S+)\)", report)
    assert len(pictures) == 3
    for name in pictures:
        ElementTree.parse(made / name)
    assert (made / "graph.dot").read_text().startswith("digraph {")
    assert len(json.loads((made / "data.json").read_text())["losses"]) == 120


def test_the_gradients_in_the_drawing_are_not_nought(images: Path, tmp_path: Path) -> None:
    made = climbed(tmp_path / "one", AutogradSettings(data=images, steps=1, tiny_steps=1))
    drawn = ElementTree.parse(made / "graph.svg")
    gradients = [text.text or "" for text in drawn.iter() if "gradient" in text.get("class", "")]
    numbers = [float(number.replace("−", "-")) for row in gradients for number in row.split()]
    assert len(numbers) > 30
    assert sum(number != 0 for number in numbers) > 20


def test_the_same_seed_gives_the_same(images: Path, tmp_path: Path) -> None:
    settings = AutogradSettings(data=images, steps=1, tiny_steps=3)
    some, same, other = (climbed(tmp_path / name, settings, seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert (some / "data.json").read_bytes() == (same / "data.json").read_bytes()
    assert (some / "data.json").read_bytes() != (other / "data.json").read_bytes()


def test_a_pair_that_is_none_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="names 3 twice"):
        climbed(tmp_path / "a", AutogradSettings(data=images, pair=(3, 3)))
    with pytest.raises(BadInput, match="has not both"):
        climbed(tmp_path / "b", AutogradSettings(data=images, pair=(3, 11)))
