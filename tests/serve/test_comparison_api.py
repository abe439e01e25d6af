"""Runs side by side: the settings that differ, and one stage's figures in each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from cutaway.runs import Result, write_results


def make_run(path: Path, recipe: str, *figures: tuple[str, float]) -> None:
    (path / "pretrain").mkdir(parents=True)
    (path / "recipe.toml").write_text(recipe)
    results = [Result("pretrain", name, value, "share", 500, 1, higher_is_better=True) for name, value in figures]
    write_results(path / "pretrain" / "evals.json", results)


@pytest.fixture
def http(serve_live: Any, tmp_path: Path) -> Any:
    live = serve_live()
    make_run(live.run, 'seed = 1\nname = "One"\n[pretrain]\ndepth = 4\n', ("facts", 0.25), ("counting", math.nan))
    make_run(tmp_path / "other", 'seed = 2\nname = "One"\n[pretrain]\ndepth = 6\nema = 0.9\n', ("facts", 0.5))
    with live.client() as http:
        yield http


def test_what_differs_and_what_was_measured(http: Any) -> None:
    found = http.get("/api/runs/comparison", params={"run": ["other", "demo"], "stage": "pretrain"}).json()
    assert found["runs"] == ["other", "demo"]
    assert [(each["key"], each["values"]) for each in found["settings"]] == [
        ("seed", ["2", "1"]), ("pretrain.depth", ["6", "4"]), ("pretrain.ema", ["0.9", None]),
    ]  # fmt: skip
    assert [(each["metric"], each["values"], each["n"]) for each in found["measured"]] == [
        ("facts", [0.5, 0.25], [500, 500]), ("counting", [None, None], [None, 500]),
    ]  # fmt: skip


def test_names_lead_nowhere_else(http: Any, tmp_path: Path) -> None:
    for stage in ("sft", "../other/pretrain", "."):
        found = http.get("/api/runs/comparison", params={"run": "demo", "stage": stage}).json()
        assert found["measured"] == []
    assert http.get("/api/runs/comparison", params={"run": "../demo", "stage": "pretrain"}).status_code == 404
    many = {"run": ["demo"] * 7, "stage": "pretrain"}
    assert http.get("/api/runs/comparison", params=many).status_code == 400
    (tmp_path / "other" / "recipe.toml").write_text("seed = ")
    found = http.get("/api/runs/comparison", params={"run": ["demo", "other"], "stage": "pretrain"}).json()
    assert {each["values"][1] for each in found["settings"]} == {None}
