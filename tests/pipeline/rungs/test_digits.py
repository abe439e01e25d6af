"""The rung of digits, small, end to end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cutaway.ladder import kept_network
from cutaway.ladder.digits import accuracy, outputs
from cutaway.ladder.image_data import read_images
from cutaway.pipeline.run import run_recipe
from cutaway.pipeline.rungs.digits import RUNG
from cutaway.runs import BadInput, RunDirectory, SilentProgress, read_results

TINY = {
    "compared": 200, "passes": 3, "updates": 400, "wide": (16, 8), "wide_updates": 60, "filters": 2, "cnn_updates": 40,
    "few": 40, "few_updates": 40,
}  # fmt: skip


@pytest.fixture(scope="module")
def spots(spots_of: Callable[[int, int], Path]) -> Path:
    return spots_of(600, 400)


@pytest.fixture(scope="module")
def run(spots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return climbed(spots, tmp_path_factory.mktemp("run"))


def climbed(data: Path, out: Path, seed: int = 1, **others: object) -> Path:
    recipe = RUNG.recipe.model_validate({"seed": seed, "digits": {"data": data, **TINY, **others}})
    run_recipe(recipe, RUNG.stages, RunDirectory(out), SilentProgress())
    return out / "digits"


def test_a_small_run(run: Path) -> None:
    report = (run / "report.md").read_text()
    # 144 pixels: 144·16 + 16 + 16·16 + 16 + 16·10 + 10.
    assert "144-16-16-10 neurons have 2,762 weights and biases" in report
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", report)
    assert shown == [
        "classes.svg",
        "ways.svg",
        "rates.svg",
        "neurons.svg",
        "filters.svg",
        "maps.svg",
        "noise.svg",
        "few.svg",
    ]
    for name in shown:
        ElementTree.parse(run / name)
    results = {result.metric: result for result in read_results(run / "evals.json")}
    assert {"test_accuracy_small", "test_accuracy_wide", "test_accuracy_cnn", "few_early_stopping"} <= set(results)
    assert results["test_accuracy_small"].n == 200
    assert all(0 <= result.value <= 1 for result in results.values())
    data = json.loads((run / "data.json").read_text())
    assert len(data["ways"]["batch"]) == 4
    # Descents that are compared begin at the same place.
    assert len({curve[0] for curve in (*data["ways"].values(), *data["rates"].values())}) == 1


def test_the_network_is_kept(run: Path, spots: Path) -> None:
    kept, data = kept_network.read(run / "model" / "network.safetensors"), read_images(spots)
    results = {result.metric: result for result in read_results(run / "evals.json")}
    assert accuracy(outputs(kept.network, data.test_x), data.test_y) == kept.accuracy
    assert kept.accuracy == results["test_accuracy_small"].value
    assert (kept.learned, kept.tested) == (len(data.train_y), len(data.test_y))


def test_the_same_seed_gives_the_same_figures(run: Path, spots: Path, tmp_path: Path) -> None:
    same, other = climbed(spots, tmp_path / "same"), climbed(spots, tmp_path / "other", seed=2)
    assert (same / "evals.json").read_bytes() == (run / "evals.json").read_bytes()
    assert (same / "data.json").read_bytes() == (run / "data.json").read_bytes()
    assert (other / "data.json").read_bytes() != (run / "data.json").read_bytes()


def test_bad_data_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"broken\.npz is no \.npz archive"):
        climbed(tmp_path / "broken.npz", tmp_path / "run")
    with pytest.raises(BadInput, match="no file or folder"):
        climbed(tmp_path / "absent", tmp_path / "other")
