from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cutaway.pipeline.run import needed_for, run_stages
from cutaway.pipeline.stage import Stage, StageContext
from cutaway.runs import BadInput, CutawayError, Manifest, RunDirectory, Settings, SilentProgress, atomic


class Words(Settings):
    text: str = "hello"
    file: Path | None = None


class FakeRecipe(Settings):
    seed: int = 1
    owner: str = "ann"
    read: Words = Words()
    count: Words = Words()
    other: Words = Words()


class Heard(SilentProgress):
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.said: list[str] = []

    def stage(self, name: str) -> Any:
        self.stages.append(name)
        return nullcontext()

    def say(self, text: str) -> None:
        self.said.append(text)


def read(context: StageContext[Words]) -> None:
    text = context.settings.text
    if context.settings.file:
        text += context.settings.file.read_text()
    atomic.write_text(context.directory / "text", text.lower())
    atomic.write_text(context.directory / "log" / "time", str(time.time()))


def count(context: StageContext[Words]) -> None:
    text = (context.run.stage("read") / "text").read_text()
    atomic.write_text(context.directory / "count", f"{len(text)} {context.recipe.owner}")


def note(context: StageContext[Words]) -> None:
    atomic.write_text(context.directory / "note", "noted")


def stages(**functions: Callable[[StageContext[Words]], None]) -> list[Stage[Any]]:
    functions = {"read": read, "count": count, "note": note, **functions}
    return [
        Stage(
            "read",
            "read",
            functions["read"],
            lambda recipe: recipe.read,
            outputs=("text",),
            files=lambda recipe: [recipe.read.file] if recipe.read.file else [],
        ),
        Stage(
            "count",
            "tally",
            functions["count"],
            lambda recipe: recipe.count,
            inputs=("read",),
            outputs=("count",),
            uses=("seed", "owner", "other.text"),
        ),
        Stage("note", "run", functions["note"], lambda recipe: recipe.count, ("count",), ("note",), place="count"),
    ]


def go(run: RunDirectory, recipe: FakeRecipe | None = None, **functions: Any) -> list[str]:
    """Which stages ran."""
    heard = Heard()
    run_stages(stages(**functions), recipe or FakeRecipe(), run, heard)  # type: ignore[arg-type]
    return heard.stages


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "runs" / "fake")


def state(run: RunDirectory, stage: str) -> Any:
    return json.loads((run.path / "manifest.json").read_text())["stages"][stage]


def test_every_stage_runs_once(run: RunDirectory) -> None:
    assert go(run) == ["read", "count", "note"]
    assert (run.path / "count" / "count").read_text() == "5 ann"
    assert 'text = "hello"' in (run.path / "recipe.toml").read_text()
    record = state(run, "count")
    assert record["state"] == "finished"
    assert list(record["outputs"]) == ["count"]
    assert list(record["inputs"]) == ["read"]
    assert record["peak_memory"] > 1_000_000
    assert record["started"] <= record["finished"]
    heard = Heard()
    run_stages(stages(), FakeRecipe(), run, heard)  # type: ignore[arg-type]
    assert heard.stages == []
    assert heard.said == ["finished earlier, unchanged: read, count, note"]


def test_changed_settings_run_it_and_what_depends_on_it(run: RunDirectory) -> None:
    go(run)
    assert go(run, FakeRecipe(count=Words(text="other"))) == ["count", "note"]
    assert go(run, FakeRecipe(count=Words(text="other"), owner="bob")) == ["count", "note"]
    assert (run.path / "count" / "count").read_text() == "5 bob"
    assert (run.path / "count" / "note").exists()
    assert go(run, FakeRecipe(seed=2)) == ["read", "count", "note"]


def test_what_a_stage_uses_of_another_section_counts_too(run: RunDirectory) -> None:
    go(run)
    assert go(run, FakeRecipe(other=Words(text="changed"))) == ["count", "note"]


def test_the_same_output_again_stops_the_wave(run: RunDirectory) -> None:
    go(run)
    assert go(run, FakeRecipe(read=Words(text="HELLO"))) == ["read"]
    assert go(run, FakeRecipe(read=Words(text="HELLO!"))) == ["read", "count", "note"]


def test_a_changed_file_outside_runs_it_again(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "my.txt").write_text("one")
    recipe = FakeRecipe(read=Words(file=tmp_path / "my.txt"))
    go(run, recipe)
    assert go(run, recipe) == []
    (tmp_path / "my.txt").write_text("two!")
    assert go(run, recipe) == ["read", "count", "note"]


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("hel")])
def test_a_harmed_output_is_made_again(run: RunDirectory, harm: Callable[[Path], None]) -> None:
    go(run)
    harm(run.path / "read" / "text")

    def check(context: StageContext[Words]) -> None:
        assert not (context.directory / "text").exists()
        assert (context.directory / "log" / "time").exists(), "what is no output stays"
        read(context)

    assert go(run, read=check) == ["read"]


def test_old_work_is_cleared_when_settings_change(run: RunDirectory) -> None:
    go(run)

    def check(context: StageContext[Words]) -> None:
        assert list(context.directory.iterdir()) == []
        read(context)

    assert "read" in go(run, FakeRecipe(read=Words(text="new")), read=check)


def test_a_failed_stage_says_so_and_is_tried_again(run: RunDirectory) -> None:
    def fail(context: StageContext[Words]) -> None:
        atomic.write_text(context.directory / "half", "x")
        raise ValueError("no\nsuch word")

    with pytest.raises(ValueError, match="no"):
        go(run, count=fail)
    assert state(run, "count")["state"] == "failed"
    assert state(run, "count")["error"] == "ValueError: no such word"
    assert state(run, "read")["state"] == "finished"
    with run.lock():
        pass  # and the lock is free

    def again(context: StageContext[Words]) -> None:
        assert (context.directory / "half").exists()
        count(context)

    assert go(run, count=again) == ["count", "note"]
    assert state(run, "count")["error"] is None


def test_ctrl_c_resumes(run: RunDirectory) -> None:
    def stop(context: StageContext[Words]) -> None:
        atomic.write_text(context.directory / "checkpoint", "half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(run, count=stop)
    assert state(run, "count")["state"] == "running"

    def resume(context: StageContext[Words]) -> None:
        assert (context.directory / "checkpoint").read_text() == "half"
        count(context)

    assert go(run, count=resume) == ["count", "note"]

    # But other settings must not pick that checkpoint up.
    with pytest.raises(KeyboardInterrupt):
        go(run, FakeRecipe(seed=5), count=stop)

    def fresh(context: StageContext[Words]) -> None:
        assert not (context.directory / "checkpoint").exists()
        count(context)

    assert go(run, FakeRecipe(seed=6), count=fresh) == ["read", "count", "note"]


SLOW = """
import sys, time
from test_run import *
def slow(context):
    path = context.directory / "checkpoint"
    done = int(path.read_text()) if path.exists() else 0
    for step in range(done, 5):
        atomic.write_text(path, str(step + 1))
        print("step", step + 1, flush=True)
        time.sleep(0.05)
    count(context)
go(RunDirectory(sys.argv[1]), count=slow)
"""


def test_kill_resumes(run: RunDirectory) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", SLOW, str(run.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"step 1\n"
    assert process.stdout.readline() == b"step 2\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert state(run, "count")["state"] == "running"
    finished = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True, timeout=60)
    steps = finished.stdout.split(b"\n")[:-1]
    assert steps
    assert steps[0] != b"step 1"
    assert steps[-1] == b"step 5"
    assert state(run, "count")["state"] == "finished"


def test_checkpoints_go_when_the_stage_is_on_record_as_finished(run: RunDirectory) -> None:
    def save(context: StageContext[Words]) -> None:
        atomic.write_text(context.directory / "checkpoints" / "step-1", "x")
        count(context)

    def look(context: StageContext[Words]) -> None:
        assert not (context.directory / "checkpoints").exists()
        note(context)

    go(run, count=save, note=look)
    atomic.write_text(run.path / "count" / "checkpoints" / "step-1", "killed before they were removed")
    go(run)
    assert not (run.path / "count" / "checkpoints").exists()


def test_a_full_disk_in_a_stage(run: RunDirectory) -> None:
    def full(context: StageContext[Words]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(context.directory / "x"))

    with pytest.raises(CutawayError, match="no space left on the disk that holds"):
        go(run, count=full)
    assert state(run, "count")["state"] == "failed"


def test_a_run_in_use(run: RunDirectory) -> None:
    with run.lock(), pytest.raises(BadInput, match="in use by process"):
        go(run)


def test_until() -> None:
    def names(until: str | None) -> list[str]:
        return [stage.name for stage in needed_for(until, stages())]

    assert names("read") == ["read"]
    assert names("tally") == names("count") == ["read", "count"]
    assert names("note") == names(None) == ["read", "count", "note"]
    with pytest.raises(BadInput, match="there is no stage x; the stages are read, count, note"):
        names("x")


def test_an_optional_stage_runs_when_asked_for_and_goes_when_it_is_out_of_date(run: RunDirectory) -> None:
    plain = stages()
    extra = Stage("extra", "run", read, lambda recipe: recipe.read, ("read",), ("text",), optional=True)
    beside = Stage(
        "beside", "run", note, lambda recipe: recipe.read, ("extra",), ("note",), place="count", optional=True
    )
    last = Stage("last", "run", note, lambda recipe: recipe.count, ("count", "extra"), ("note",))
    every: list[Stage[Any]] = [*plain[:2], extra, beside, last]

    def ran(recipe: FakeRecipe, *, optional: bool) -> list[str]:
        heard = Heard()
        run_stages(every, recipe, run, heard, optional=optional)  # type: ignore[arg-type]
        return heard.stages

    recipe = FakeRecipe()
    assert ran(recipe, optional=False) == ["read", "count", "last"]
    assert ran(recipe, optional=False) == []
    assert ran(recipe, optional=True) == ["extra", "beside", "last"]
    assert ran(recipe, optional=False) == []
    assert (run.stage("count") / "note").exists()
    changed = recipe.model_copy(update={"read": Words(text="new words")})
    assert ran(changed, optional=False) == ["read", "count", "last"]
    assert not run.stage("extra").exists()
    assert not (run.stage("count") / "note").exists()
    assert ran(changed, optional=False) == []


def test_finished_models_are_thrown_away_only_when_told_to(run: RunDirectory) -> None:
    first, second, third = stages()
    model = replace(second, costly=True)
    every = [first, model, third]
    recipe = FakeRecipe()
    changed = recipe.model_copy(update={"read": Words(text="other words")})

    def ran(recipe: FakeRecipe, of: list[Stage[Any]], *, again: bool = False) -> list[str]:
        heard = Heard()
        run_stages(of, recipe, run, heard, every=every, again=again)  # type: ignore[arg-type]
        return heard.stages

    ran(recipe, every)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file() and path.name != ".lock"}
    # Even by a verb that ends before the model's stage.
    for of in (every, [first]):
        with pytest.raises(BadInput, match=r"holds work made from other settings or inputs \(count\).*--again"):
            ran(changed, of)
    missing = recipe.model_copy(update={"read": Words(file=run.path / "nothing")})
    with pytest.raises(BadInput, match="there is no file or folder"):
        ran(missing, every, again=True)
    assert {path: path.read_bytes() for path in before} == before
    assert ran(recipe, every) == []
    assert ran(changed, [first], again=True) == ["read"]
    assert not run.stage("count").exists()
    assert ran(changed, every) == ["count", "note"]


def test_a_model_that_is_being_made_again_is_not_of_other_settings(run: RunDirectory) -> None:
    first, second, third = stages()

    def stop(context: StageContext[Words]) -> None:
        raise KeyboardInterrupt

    def ran(of: list[Stage[Any]], recipe: FakeRecipe) -> list[str]:
        heard = Heard()
        run_stages(of, recipe, run, heard)  # type: ignore[arg-type]
        return heard.stages

    recipe = FakeRecipe()
    model, made_of_it = replace(second, costly=True), replace(third, costly=True)
    ran([first, model, made_of_it], recipe)
    (run.stage("count") / "count").unlink()
    with pytest.raises(KeyboardInterrupt):
        ran([first, replace(model, function=stop), made_of_it], recipe)
    changed = recipe.model_copy(update={"read": Words(text="other words")})
    with pytest.raises(BadInput, match=r"holds work made from other settings or inputs \(note\)"):
        ran([first, model, made_of_it], changed)
    assert ran([first, model, made_of_it], recipe) == ["count"]


def test_the_manifest_keeps_time_over_attempts(run: RunDirectory) -> None:
    def stop(context: StageContext[Words]) -> None:
        time.sleep(0.05)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            go(run, count=stop)
    manifest = Manifest.read(run)
    assert manifest is not None
    assert manifest.stages["count"].seconds >= 0.1
