"""What the page is told of runs: their stages, and their curves as far as they are written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cutaway.runs import RunDirectory
from cutaway.runs.manifest import Manifest, StageRecord
from cutaway.serve.runs_api import MOST_POINTS


def make_run(path: Path, rows: list[dict[str, Any]]) -> Path:
    manifest = Manifest.of_this_machine(seed=3)
    for name, state in (("corpus", "finished"), ("pretrain", "running")):
        manifest.stages[name] = StageRecord(state=state, settings_hash="", started="", seconds=2.5)  # type: ignore[arg-type]
        (path / name).mkdir(parents=True, exist_ok=True)
    manifest.write(RunDirectory(path))
    (path / "pretrain" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(count: int) -> list[dict[str, Any]]:
    return [{"step": i, "loss": 5 - i / count, **({"val_bpb": 2.0} if i == 3 else {})} for i in range(1, count + 1)]


@pytest.fixture
def http(serve_live: Any, tmp_path: Path) -> Any:
    live = serve_live()
    make_run(live.run, rows(5))
    make_run(tmp_path / "another", rows(2))
    (tmp_path / "no-run").mkdir()
    with live.client() as http:
        yield http


def test_runs_and_their_stages(http: Any, tmp_path: Path) -> None:
    runs = http.get("/api/runs").json()["runs"]
    assert [run["name"] for run in runs] == ["demo", "another"]  # the one that is served comes first
    assert [(stage["name"], stage["state"], stage["metrics"]) for stage in runs[0]["stages"]] == [
        ("corpus", "finished", False), ("pretrain", "running", True),
    ]  # fmt: skip
    assert (runs[0]["seed"], runs[0]["alive"], runs[0]["report"]) == (3, False, False)
    with RunDirectory(tmp_path / "another").lock():
        assert [run["alive"] for run in http.get("/api/runs").json()["runs"]] == [False, True]


def test_a_process_that_is_gone_holds_no_run(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert not run.held()
    with run.lock():
        assert run.held()
        assert run.held()
    assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    assert not run.held()
    with run.lock():
        pass


def test_curves_go_on_where_they_ended(http: Any, tmp_path: Path) -> None:
    asked = {"run": "demo", "stage": "pretrain"}
    first = http.get("/api/runs/metrics", params=asked).json()
    assert first["columns"] == {
        "step": [1, 2, 3, 4, 5], "loss": [4.8, 4.6, 4.4, 4.2, 4.0], "val_bpb": [None, None, 2.0, None, None],
    }  # fmt: skip
    file = tmp_path / "demo" / "pretrain" / "metrics.jsonl"
    with file.open("a") as out:
        out.write('{"step": 6, "loss": null}\n{"step": 7, "lo')
    second = http.get("/api/runs/metrics", params={**asked, "after": first["next"]}).json()
    assert second["columns"] == {"step": [6]}
    with file.open("a") as out:
        out.write('ss": 3.5}\n')
    third = http.get("/api/runs/metrics", params={**asked, "after": second["next"]}).json()
    assert third["columns"] == {"step": [7], "loss": [3.5]}
    assert third["next"] == file.stat().st_size


def test_a_long_run_is_thinned_and_what_is_rare_is_kept(http: Any, tmp_path: Path) -> None:
    make_run(tmp_path / "demo", rows(10 * MOST_POINTS))
    found = http.get("/api/runs/metrics", params={"run": "demo", "stage": "pretrain"}).json()
    steps = found["columns"]["step"]
    assert found["every"] == 10
    assert MOST_POINTS <= len(steps) <= MOST_POINTS + 2
    assert steps[-1] == 10 * MOST_POINTS
    assert found["columns"]["val_bpb"][steps.index(3)] == 2.0


def test_samples(http: Any, tmp_path: Path) -> None:
    lines = [{"step": 1, "prompt": "In", "text": " the"}, {"no": "step"}]
    (tmp_path / "demo" / "pretrain" / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = http.get("/api/runs/samples", params={"run": "demo", "stage": "pretrain"}).json()
    assert found["samples"] == [{"step": 1, "prompt": "In", "text": " the"}]
    assert http.get("/api/runs/samples", params={"run": "demo", "stage": "corpus"}).json() == {"samples": []}


@pytest.mark.parametrize(
    ("run", "stage", "message"),
    [
        ("absent", "pretrain", "there is no run 'absent' here"),
        ("../demo", "pretrain", "there is no run '../demo' here"),
        ("demo", "../another/pretrain", "demo has no stage '../another/pretrain'"),
        ("demo", ".", "demo has no stage '.'"),
    ],
)
def test_names_lead_nowhere_else(http: Any, run: str, stage: str, message: str) -> None:
    answer = http.get("/api/runs/metrics", params={"run": run, "stage": stage})
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, message)


def test_a_damaged_manifest_is_told(http: Any, tmp_path: Path) -> None:
    (tmp_path / "another" / "manifest.json").write_text("{")
    assert "is damaged" in http.get("/api/runs").json()["runs"][1]["error"]
