"""Rung 1 end to end: letters, images, the textbook's exercise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from cutaway.cli.main import run_command
from cutaway.pipeline.rungs import TITLES
from cutaway.pipeline.rungs.neuron import SCORES, misprints
from cutaway.pipeline.rungs.neuron_tasks import LETTERS, letter_shares, letters, pictures
from cutaway.runs import BadInput

MNIST = Path(__file__).parents[4] / "shared/data/digits/mnist.npz"


def climbed(run: Path, *options: str) -> Path:
    assert run_command(["ladder", "neuron", "--out", str(run), *options]) == 0
    return run / "neuron"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return climbed(tmp_path_factory.mktemp("neuron") / "run", "--set", "neuron.steps=100")


def test_the_neuron_learns_what_no_guess_knows(figures: Callable[[Path], dict[str, float]], finished: Path) -> None:
    found = figures(finished)
    assert 0.75 < found["accuracy"] < 0.85
    assert 0.4 < found["accuracy_of_guessing"] < 0.6
    assert found["from_picked_rows"] < 1e-15
    assert found["digits_misprinted"] == 3


def test_the_report_shows_its_pictures(finished: Path) -> None:
    report = (finished / "report.md").read_text()
    drawn = sorted(path.stem for path in finished.glob("*.svg"))
    assert drawn == ["activations", "loss", "softmax", "weights"]
    for name in drawn:
        assert f"]({name}.svg)" in report
        ElementTree.parse(finished / f"{name}.svg")
    assert "0.05 (exactly 0.0448)" in report
    data = json.loads((finished / "data.json").read_text())
    assert len(data["weights"]) == len(LETTERS)
    assert data["losses"][-1] < data["losses"][0]


def test_the_same_seed_gives_the_same_figures(
    figures: Callable[[Path], dict[str, float]], finished: Path, tmp_path: Path
) -> None:
    again = climbed(tmp_path / "again", "--set", "neuron.steps=100")
    assert figures(again) == figures(finished)
    assert (again / "report.md").read_text() == (finished / "report.md").read_text()


def test_the_result_as_json(capsys: pytest.CaptureFixture[str], finished: Path) -> None:
    run = finished.parent
    assert run_command(["ladder", "neuron", "--out", str(run), "--set", "neuron.steps=100", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"run": str(run), **json.loads((finished / "evals.json").read_text())}
    assert run_command(["ladder", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == {"name": "neuron", "title": TITLES["neuron"]}


def test_where_the_textbook_is_wrong() -> None:
    assert [(t, SCORES[i], printed, round(exact, 4)) for t, i, printed, exact in misprints()] == [
        (0.5, 0.8, "0.05", 0.0448),
        (2.0, 1.2, "0.18", 0.1851),
        (2.0, 0.6, "0.13", 0.1372),
    ]


def test_letters_are_shares_and_chapters_stay_together() -> None:
    found = letter_shares(["Abba, cab!", "12 3"])
    np.testing.assert_allclose(found[0, :4], [3 / 7, 3 / 7, 1 / 7, 0])
    assert found[1].sum() == 0
    task = letters(1)
    assert len(task.shown) == len(task.test_y) == len(task.test_x)
    assert 0.15 < len(task.test_y) / (len(task.test_y) + len(task.train_y)) < 0.25


def test_digits_of_scikit_learn(figures: Callable[[Path], dict[str, float]], tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    stage = climbed(tmp_path / "run", "--set", "neuron.on=digits", "--set", "neuron.steps=300")
    assert figures(stage)["accuracy"] > 0.93
    assert json.loads((stage / "data.json").read_text())["shape"] == [8, 8]
    ElementTree.parse(stage / "weights.svg")


@pytest.mark.skipif(not MNIST.exists(), reason="needs ../shared/data/digits/mnist.npz")
def test_mnist(figures: Callable[[Path], dict[str, float]], tmp_path: Path) -> None:
    stage = climbed(tmp_path / "run", "--data", str(MNIST), "--set", "neuron.steps=30")
    assert figures(stage)["accuracy"] > 0.9


def test_two_classes_of_letters_there_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["ladder", "neuron", "--set", "neuron.pair=[4,9]", "--out", str(tmp_path / "run")]
    assert run_command(asked) == 2
    assert "two classes of images" in capsys.readouterr().err


def test_a_single_step_is_no_curve(tmp_path: Path) -> None:
    stage = climbed(tmp_path / "run", "--set", "neuron.steps=1")
    report = (stage / "report.md").read_text()
    assert "![" in report
    for name in re.findall(r"!\[.*?\]\((.*?)\)", report):
        assert (stage / name).is_file()


def test_what_cannot_be_learned_from(tmp_path: Path) -> None:
    rows = [f"{i % 7 * 30},0,0,0,0,0,0,0,0,0,0,0,0,0,0,{i},{i % 2}" for i in range(20)]
    table = tmp_path / "images.csv"
    table.write_text("\n".join(rows))
    assert pictures(table, (0, 1)).shape == (4, 4)
    with pytest.raises(BadInput, match="no image of class 5"):
        pictures(table, (0, 5))
    with pytest.raises(BadInput, match="two different classes"):
        pictures(table, (1, 1))
    assert run_command(["ladder", "neuron", "--data", str(tmp_path / "none.npz"), "--out", str(tmp_path / "run")]) == 2
