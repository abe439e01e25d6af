"""The report of a scaling run that has been made up: what was foretold, what came of it, and when."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cutaway.evals.scaling_charts import Axis, Curve, Dot, Plot, around, counted, draw_plot
from cutaway.evals.scaling_report import write_scaling_report
from cutaway.runs import Manifest, RunDirectory, atomic, read_results
from cutaway.train.scaling_fit import fit
from cutaway.train.scaling_ladder import RUNS, FinishedRun
from cutaway.train.scaling_law import LossLaw, read_law
from cutaway.train.scaling_prediction import Outcome, Prediction, predict, write_law

TRUTH = LossLaw("known", E=1.6, A=60.0, alpha=0.42, B=900.0, beta=0.5)


def finished(width: int, tokens: int, error: float = 0.0) -> FinishedRun:
    parameters = 44 * width**2 + 1024 * width
    loss = TRUTH.loss(parameters, tokens) * math.exp(error)
    return FinishedRun(
        name=f"4x{width}",
        depth=4,
        width=width,
        parameters=parameters,
        embeddings=1024 * width,
        tokens=tokens,
        flops=6.6 * parameters * tokens,
        seconds=tokens / 1e4,
        loss=loss,
        bits_per_byte=loss / 2,
        n=90_000,
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "new & <old>")
    ladder = [
        finished(width, tokens, 0.003 * math.sin(7 * width + tokens))
        for width, tokens in itertools.product((48, 64, 96, 128), (300_000, 600_000, 1_200_000))
    ]
    atomic.write_json(run.stage("ladder") / RUNS, [asdict(each) for each in ladder])
    Manifest.of_this_machine(1).write(run)
    fitted = fit([each.point for each in ladder], seed=1)
    larger = finished(256, 2_500_000)
    write_law(fitted, ladder, run.path)
    predict(fitted, ladder, larger.name, larger.parameters, larger.tokens, larger.flops).write(run.path)
    write_outcome(run, larger)
    return run


def write_outcome(run: RunDirectory, larger: FinishedRun, began: str = "2999-01-01T10:00:00.000+00:00") -> None:
    Outcome(began, "2999-01-01T10:07:30.000+00:00", larger).write(run.stage("heldout"))


def test_what_was_foretold_and_what_came_of_it(run: RunDirectory) -> None:
    write_scaling_report(run)
    results = {(each.stage, each.metric): each.value for each in read_results(run.path / "report.json")}
    foretold = Prediction.read(run.path)
    assert foretold.loss == pytest.approx(TRUTH.loss(44 * 256**2 + 1024 * 256, 2_500_000), rel=0.01)
    assert results["heldout", "interval_holds"] == 1
    assert results["heldout", "error_of_prediction"] < 0.01
    assert results["ladder", "loss/4x96/600k"] == finished(96, 600_000, 0.003 * math.sin(7 * 96 + 600_000)).loss
    whole = json.loads((run.path / "report.json").read_text())
    law = read_law(run.path / "law.json")
    assert whole["law"]["alpha"] == law.alpha
    # These losses follow from all parameters, so that a law of part of them fits worse.
    assert whole["spread_of_runs"] < whole["spread_without_embeddings"]
    low, high = whole["law"]["intervals_95"]["alpha"]
    assert low <= law.alpha <= high
    page, markdown = ((run.path / name).read_text() for name in ("report.html", "report.md"))
    for text in (page, markdown):
        assert "This was written down before it began" in text
        assert "inside the interval" in text
        assert "10:00:00 to 10:07:30" in text
        assert f"{foretold.times_largest:.1f} times the operations" in text
        assert "<old>" not in text
    ElementTree.fromstring(re.sub(r"<meta[^>]*>|<!doctype html>", "", page).replace("&nbsp;", " "))
    assert page.count("<svg") == 4
    for each in ("script", "src=", "url(", "nan"):
        assert each not in page


def test_a_prediction_that_failed_or_came_too_late_is_told_so(run: RunDirectory) -> None:
    write_outcome(run, finished(256, 2_500_000, 0.2), began="2001-01-01T10:00:00.000+00:00")
    write_scaling_report(run)
    results = {each.metric: each.value for each in read_results(run.path / "report.json")}
    assert results["interval_holds"] == 0
    for name in ("report.html", "report.md"):
        text = (run.path / name).read_text()
        assert "after it had begun, so that it proves nothing" in text
        assert "outside the interval" in text
        assert "above" in text


def test_markdown_tables_have_one_width(run: RunDirectory) -> None:
    write_scaling_report(run)
    blocks = (run.path / "report.md").read_text().split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) == 5
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_points_land_where_they_should() -> None:
    x, y = Axis("n", 1e5, 1e7, log=True), Axis("loss", 2.0, 4.0)
    dots = [Dot(1e5, 2.0), Dot(1e6, 3.0, "c", hollow=True, whisker=(2.5, 3.5)), Dot(1e7, 4.0, name="<last>")]
    drawn = draw_plot(Plot("a & b", x, y, [Curve([(1e5, 9.0), (1e7, 9.0)], name="gone")], dots, 400, 200, 50))
    ElementTree.fromstring(drawn)
    placed = [(float(a), float(b)) for a, b in re.findall(r'<circle [^>]*cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    assert placed == [(46, 162), (198, 94), (350, 26)]
    (whisker,) = re.findall(r'<line class="whisker[^>]*y1="([\d.]+)" y2="([\d.]+)"', drawn)
    assert tuple(map(float, whisker)) == (128, 60)
    # A curve that lies outside the frame leaves neither line nor name.
    assert "gone" not in drawn


def test_a_band_lies_about_its_curve_and_in_the_frame() -> None:
    points = [(10.0**i, 3.0 - i / 10) for i in range(5)]
    band = [(y - 0.5, y + 5) for _, y in points]
    plot = Plot("t", counted("tokens", [1, 1e4]), Axis("", 2.0, 4.0), [Curve(points, "c", "end", band, dashed=True)])
    drawn = draw_plot(plot)
    ElementTree.fromstring(drawn)
    (area,) = re.findall(r'<path class="dot-c" fill-opacity="0.13" d="M([^Z]+)Z"', drawn)
    heights = [float(pair.split()[1]) for pair in area.split("L")]
    assert len(heights) == 10
    assert min(heights) == 26
    assert max(heights) <= plot.height - 38


@pytest.mark.parametrize(
    ("axis", "marks"),
    [
        (Axis("", 1.5e5, 4e6, log=True), [2e5, 5e5, 1e6, 2e6]),
        (Axis("", 1e3, 1e12, log=True), [10.0**power for power in range(3, 13)]),
        (Axis("", 2.0, 4.0), [2.0, 2.5, 3.0, 3.5, 4.0]),
    ],
)
def test_marks_are_round(axis: Axis, marks: list[float]) -> None:
    assert axis.marks(4) == pytest.approx(marks)


def test_room_around_values() -> None:
    assert around([2.0, 4.0]) == pytest.approx((1.9, 4.1))
    low, high = around([1e5, 1e7], log=True)
    assert low < 1e5 < 1e7 < high
    assert all(low < 3 < high for low, high in (around([3.0]), around([3.0], log=True)))


def test_records_are_read_back(run: RunDirectory) -> None:
    foretold, outcome = Prediction.read(run.path), Outcome.read(run.stage("heldout"))
    assert isinstance(foretold.band, tuple)
    assert foretold.holds(foretold.loss)
    assert not foretold.holds(2 * foretold.loss)
    changed = replace(foretold, made="later")
    changed.write(run.path)
    assert Prediction.read(run.path) == changed
    assert outcome.run == finished(256, 2_500_000)
