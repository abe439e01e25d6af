"""The rung of the cost landscape, small, end to end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from cutaway.pipeline.run import run_recipe
from cutaway.pipeline.rungs.landscape import RUNG
from cutaway.runs import RunDirectory, SilentProgress, read_results

TINY = {"images": 60, "passes": 8, "grid": 7, "small_images": 20, "hidden": 2, "descents": 1, "decay": 0.02}


@pytest.fixture(scope="module")
def spots(spots_of: Callable[[int, int], Path]) -> Path:
    return spots_of(200, 100)


@pytest.fixture(scope="module")
def run(spots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return climbed(spots, tmp_path_factory.mktemp("run"))


def climbed(data: Path, out: Path) -> Path:
    recipe = RUNG.recipe.model_validate({"landscape": {"data": data, **TINY}})
    run_recipe(recipe, RUNG.stages, RunDirectory(out), SilentProgress())
    return out / "landscape"


def test_a_small_run(run: Path) -> None:
    report = (run / "report.md").read_text()
    assert re.findall(r"\]\(([^)]+)\)", report) == ["random.svg", "path.svg", "index.svg"]
    for name in ("random", "path", "index"):
        ElementTree.parse(run / f"{name}.svg")
    results = {result.metric: result.value for result in read_results(run / "evals.json")}
    # The descent's own plane holds nearly all of it, a random one nearly nothing.
    assert results["path_in_plane"] > 0.8
    assert results["way_in_random_plane"] < 0.1
    data = json.loads((run / "data.json").read_text())
    for name in ("random", "path"):
        assert np.array(data[name]["heights"]).shape == (7, 7)
        assert len(data[name]["path"]) == 9
        np.testing.assert_allclose(data[name]["path"][-1], 0, atol=1e-5)
    # In the middle of the random map are the learned weights.
    assert data["random"]["heights"][3][3] == pytest.approx(results["cost"], abs=1e-4)
    points = data["critical_points"]
    assert results["critical_minimum"] + results["critical_saddle"] <= len(points)
    assert results["critical_saddle"] > 0
    # All neurons asleep is the highest of the ends, all awake the lowest.
    assert points[0]["cost"] > points[1]["cost"] > points[2]["cost"]
    assert points[0]["index"] > points[1]["index"] > points[2]["index"]
    assert {point["kind"] for point in points if point["index"] == 0} <= {"minimum", "level"}


def test_the_same_seed_gives_the_same_figures(run: Path, spots: Path, tmp_path: Path) -> None:
    assert (climbed(spots, tmp_path) / "data.json").read_bytes() == (run / "data.json").read_bytes()
