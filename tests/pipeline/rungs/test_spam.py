"""Rung 6 end to end: five filters on a few built-in texts, and on texts of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cutaway.cli.main import run_command

FILTERS = ("rules", "naive_bayes", "bag_of_words", "tf_idf", "embeddings")


def climbed(run: Path, *options: str) -> Path:
    assert run_command(["ladder", "spam", "--out", str(run), *options]) == 0
    return run / "spam"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return climbed(tmp_path_factory.mktemp("spam") / "run", "--set", "spam.most=3000", "--set", "spam.epochs=4")


def test_every_filter_finds_much_and_stops_little_else(
    figures: Callable[[Path], dict[str, float]], finished: Path
) -> None:
    found = figures(finished)
    for name in FILTERS:
        assert found[f"precision/{name}"] > 0.7, name
        assert found[f"recall/{name}"] > 0.4, name
        assert found[f"calibration_error/{name}"] < 0.1, name
        # A higher threshold never finds more.
        assert found[f"recall_by_cost/{name}"] <= found[f"recall/{name}"]
    assert found["average_precision/tf_idf"] > found["average_precision/rules"]
    assert "calibration_error_unscaled/rules" not in found


def test_the_report_shows_its_pictures(finished: Path) -> None:
    report = (finished / "report.md").read_text()
    drawn = sorted(path.stem for path in finished.glob("*.svg"))
    assert drawn == ["cost", "precision-recall", "reliability", "words"]
    for name in drawn:
        assert f"]({name}.svg)" in report
        ElementTree.parse(finished / f"{name}.svg")
    data = json.loads((finished / "data.json").read_text())
    assert set(data["filters"]) == set(FILTERS)
    assert data["filters"]["tf_idf"]["decisions"]["by cost"]["threshold"] == pytest.approx(10 / 11)
    assert sum(data["texts"].values()) == 3000
    assert data["words"]["unto"] > 0


def test_the_same_seed_gives_the_same_figures(
    figures: Callable[[Path], dict[str, float]], finished: Path, tmp_path: Path
) -> None:
    again = climbed(tmp_path / "again", "--set", "spam.most=3000", "--set", "spam.epochs=4")
    assert figures(again) == figures(finished)
    assert (again / "report.md").read_text() == (finished / "report.md").read_text()


def test_texts_of_ones_own_without_rules(figures: Callable[[Path], dict[str, float]], tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    rows = [
        f"number {i} of {'tin|<b>' if i % 3 else 'gold'} {i % 11} {i % 5},{'x' if i % 3 else 'y'}" for i in range(600)
    ]
    table.write_text("text,label\n" + "\n".join(rows))
    stage = climbed(tmp_path / "run", "--data", str(table), "--set", 'spam.wanted="y"', "--set", "spam.epochs=1")
    found = figures(stage)
    assert "precision/rules" not in found
    assert found["recall/bag_of_words"] == 1
    stage = climbed(
        tmp_path / "ruled",
        "--data",
        str(table),
        "--set",
        'spam.wanted="y"',
        "--set",
        'spam.rules=["gold"]',
        "--set",
        "spam.epochs=1",
    )
    assert figures(stage)["recall/rules"] == 1


def test_texts_without_a_word_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "own.csv"
    table.write_text("text,label\n" + "".join(f"word{i},{'spam' if i % 2 else 'ham'}\n" for i in range(100)))
    assert run_command(["ladder", "spam", "--data", str(table), "--out", str(tmp_path / "run")]) == 2
    assert "no word is in two" in " ".join(capsys.readouterr().err.split())
