"""Runs in a browser: the curves are the log's, and grow while it does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cutaway.runs import Result, RunDirectory, write_results
from cutaway.runs.manifest import Manifest, StageRecord

pytestmark = pytest.mark.timeout(300)


def make_run(path: Path, losses: list[float]) -> None:
    manifest = Manifest.of_this_machine(seed=1)
    manifest.stages["pretrain"] = StageRecord(state="running", settings_hash="", started="")
    (path / "pretrain").mkdir(parents=True, exist_ok=True)
    manifest.write(RunDirectory(path))
    for step, loss in enumerate(losses, 1):
        append(path, {"step": step, "loss": loss, "lr": 0.01})
    (path / "pretrain" / "samples.jsonl").write_text(
        "".join(json.dumps({"step": step, "prompt": "In", "text": f" step {step}"}) + "\n" for step in (1, len(losses)))
    )


def append(path: Path, row: dict[str, Any]) -> None:
    with (path / "pretrain" / "metrics.jsonl").open("a") as out:
        out.write(json.dumps(row) + "\n")


@pytest.fixture
def live(serve_live: Any, tmp_path: Path) -> Any:
    live = serve_live()
    make_run(live.run, [5.0, 4.0, 3.5])
    make_run(tmp_path / "other", [6.0, 2.0])
    return live


def figure(page: Page, name: str) -> Any:
    return page.locator("figure", has=page.locator("code", has_text=re.compile(f"^{name}$")))


def table(page: Page, name: str) -> list[list[str]]:
    rows = figure(page, name).locator("tbody tr")
    return [rows.nth(i).locator("th, td").all_text_contents() for i in range(rows.count())]


def test_curves_are_the_logs_and_grow(page: Page, live: Any) -> None:
    page.get_by_role("button", name="Watch", exact=True).click()
    loss = figure(page, "loss")
    loss.get_by_text("The numbers").click()
    expect(loss.locator("tbody tr")).to_have_count(3)
    assert table(page, "loss") == [["1", "5.000"], ["2", "4.000"], ["3", "3.500"]]
    # Drawn from the same numbers: of three points the second is half-way, at a third of the height from the bottom.
    d = loss.locator("svg path.curve").first.get_attribute("d") or ""
    (x0, y0), (x1, y1), (x2, y2) = [tuple(map(float, each.split(","))) for each in re.findall(r"[\d.]+,[\d.]+", d)]
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.5, abs=0.01)
    assert (y1 - y2) / (y0 - y2) == pytest.approx(0.5 / 1.5, abs=0.01)
    append(live.run, {"step": 4, "loss": 1.25, "lr": 0.005})
    expect(loss.locator("tbody tr")).to_have_count(4)
    assert table(page, "loss")[-1] == ["4", "1.250"]
    assert table(page, "loss")[0] == ["1", "5.000"]


def test_runs_side_by_side_by_their_address(page: Page, live: Any) -> None:
    page.goto(f"{live.url}/?view=watch&run=demo&run=other")
    loss = figure(page, "loss")
    loss.get_by_text("The numbers").click()
    expect(loss.locator("thead th")).to_have_text(["step", "demo", "other"])
    page.get_by_role("checkbox", name="demo").uncheck()
    expect(loss.locator("thead th")).to_have_text(["step", "other"])
    expect(page).to_have_url(re.compile("run=other"))
    expect(page).not_to_have_url(re.compile("run=demo"))
    with RunDirectory(live.run.parent / "other").lock():
        expect(page.locator("fieldset label", has_text="other")).to_contain_text("at work")


def test_a_run_that_is_not_there_is_told(page: Page, live: Any) -> None:
    page.goto(f"{live.url}/?view=watch&run=gone")
    expect(page.get_by_text("There is no run gone here")).to_contain_text("Shown instead: demo.")
    page.get_by_role("checkbox", name="demo").click()
    page.get_by_role("checkbox", name="demo").click()
    expect(page.get_by_text("There is no run gone here")).to_have_count(0)


def test_settings_and_figures_side_by_side(page: Page, live: Any) -> None:
    for run, depth, facts in ((live.run, 4, 0.25), (live.run.parent / "other", 6, 0.5)):
        (run / "recipe.toml").write_text(f"seed = 1\n[pretrain]\ndepth = {depth}\n")
        figures = (("facts", facts), ("facts/pet", facts / 2))
        results = [Result("pretrain", name, value, "share", 1500, 1, higher_is_better=True) for name, value in figures]
        write_results(run / "pretrain" / "evals.json", results)
    page.goto(f"{live.url}/?view=watch&run=demo")
    expect(figure(page, "loss")).to_be_visible()
    expect(page.get_by_role("region", name="Comparison")).to_have_count(0)
    page.get_by_role("checkbox", name="other").check()
    rows = page.get_by_role("region", name="Settings and figures of the runs").locator("tbody tr")
    expect(rows).to_have_count(2)
    told = [[cell.replace("\xa0", " ") for cell in rows.nth(i).locator("td").all_text_contents()] for i in range(2)]
    assert told == [["4", "6"], ["0.250 of 1,500", "0.500 of 1,500"]]
    page.get_by_label("with the parts of each figure").check()
    expect(rows).to_have_count(3)


def test_samples_over_time(page: Page, live: Any) -> None:
    page.goto(f"{live.url}/?view=watch")
    samples = page.get_by_role("region", name="Samples")
    expect(samples).to_contain_text("In step 3")
    samples.get_by_role("slider").fill("0")
    expect(samples).to_contain_text("In step 1")
    expect(page).to_have_url(re.compile("[?&]sample=0"))
    page.reload()
    expect(samples).to_contain_text("In step 1")


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_phone(page: Page, live: Any, fits: Callable[[str], None]) -> None:
    page.goto(f"{live.url}/?view=watch")
    expect(figure(page, "loss")).to_be_visible()
    fits("watch")
