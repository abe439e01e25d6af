"""A scaling run from raw text to report, with models too small to learn much."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cutaway.cli.main import run_command
from cutaway.model import load_model
from cutaway.pipeline import find_recipe, read_recipe
from cutaway.pipeline.scaling import SCALING, ScalingRecipe
from cutaway.runs import BadInput, read_results
from cutaway.train.scaling_law import read_law

TINY = """
kind = "scaling"
seed = 3
corpus.built_in = false
corpus.text = ["{text}"]
corpus.heldout_fraction = 0.2
tokenizer.vocab_size = 384
heldout = {{depth = 1, width = 96, tokens = 12_000}}

[ladder]
sizes = [{{depth = 1, width = 32}}, {{depth = 1, width = 48}}, {{depth = 1, width = 64}}]
tokens = [4_000, 6_000, 9_000]
warmup_tokens = 1_000
row_length = 32
compile = false
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaling")
    texts = folder / "texts"
    texts.mkdir()
    rng = random.Random(1)
    words = ["".join(rng.choices("aeioubdgklmnrst", k=rng.randint(2, 6))) for _ in range(150)]
    for n in range(40):
        paragraphs = [" ".join(rng.choices(words, k=60)) + "." for _ in range(8)]
        (texts / f"{n}.txt").write_text("\n\n".join(paragraphs))
    (folder / "tiny.toml").write_text(TINY.format(text=texts))
    return folder / "tiny.toml"


@pytest.fixture(scope="module")
def finished(recipe: Path) -> Path:
    run = recipe.parent / "run"
    assert run_command(["run", str(recipe), "--out", str(run)]) == 0
    return run


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_shipped_recipe_reads() -> None:
    recipe, stages = read_recipe(find_recipe("scaling"), [])
    assert isinstance(recipe, ScalingRecipe)
    assert stages is SCALING
    assert recipe.corpus.world.people == 0
    # Twice to four times the operations of the ladder's largest run, roughly.
    largest = recipe.ladder.sizes[-1]
    ratio = recipe.heldout.width**2 * recipe.heldout.tokens / (largest.width**2 * max(recipe.ladder.tokens))
    assert 2 < ratio < 5


def test_stages_come_after_their_inputs() -> None:
    seen: set[str] = set()
    for stage in SCALING:
        assert set(stage.inputs) <= seen, stage.name
        seen.add(stage.name)
    names = [stage.name for stage in SCALING]
    assert names == ["corpus", "tokenizer", "shards", "ladder", "fit", "heldout", "report"]


def test_the_prediction_is_on_record_before_the_run_begins(finished: Path) -> None:
    foretold, outcome = read(finished / "prediction.json"), read(finished / "heldout" / "outcome.json")
    stages = read(finished / "manifest.json")["stages"]
    assert stages["fit"]["finished"] <= stages["heldout"]["started"]
    assert read(finished / "law.json")["made"] <= foretold["made"] < outcome["began"] < outcome["finished"]
    assert (finished / "prediction.json").stat().st_mtime < (finished / "heldout" / "metrics.jsonl").stat().st_mtime
    run = outcome["run"]
    assert (foretold["parameters"], foretold["tokens"]) == (run["parameters"], run["tokens"])
    assert foretold["interval"][0] <= foretold["band"][0] <= foretold["band"][1] <= foretold["interval"][1]
    assert foretold["times_largest"] > 1
    assert foretold["loss"] == pytest.approx(read_law(finished / "law.json").loss(run["parameters"], run["tokens"]))
    assert load_model(finished / "heldout" / "model").n_parameters() == run["parameters"]


def test_no_run_reads_a_token_twice_and_all_are_measured_alike(finished: Path) -> None:
    text = (finished / "shards" / "real.bin").stat().st_size // 2
    runs = [*read(finished / "ladder" / "runs.json"), read(finished / "heldout" / "outcome.json")["run"]]
    assert len(runs) == 10
    assert len({run["n"] for run in runs}) == 1
    assert all(run["tokens"] <= text for run in runs)
    # What they measure is one thing in two units.
    assert len({round(run["loss"] / run["bits_per_byte"], 6) for run in runs}) == 1


def test_the_report_shows_prediction_and_outcome(finished: Path) -> None:
    report = read(finished / "report.json")
    results = {(result.stage, result.metric): result.value for result in read_results(finished / "report.json")}
    outcome, foretold = read(finished / "heldout" / "outcome.json"), read(finished / "prediction.json")
    assert results["heldout", "loss"] == outcome["run"]["loss"]
    assert results["fit", "foretold_loss"] == foretold["loss"]
    assert len([key for key in results if key[0] == "ladder"]) == 9
    law = read(finished / "law.json")
    # The report's law is the one that was written down before.
    assert all(report["law"][name] == law[name] for name in ("E", "A", "alpha", "B", "beta"))
    for name in ("report.md", "report.html"):
        text = (finished / name).read_text()
        for shown in (
            f"{outcome['run']['loss']:.3f}",
            f"{foretold['loss']:.3f}",
            "1x48",
            "This was written down before",
        ):
            assert shown in text, (name, shown)
    assert (finished / "report.html").read_text().count("<svg") >= 4


def test_plans_take_the_law(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "--depth", "4", "--tokens", "10M", "--on", "h100", "--fit", str(finished / "law.json"), "--json"]
    assert run_command(command) == 0
    told = json.loads(capsys.readouterr().out)["compute_optimal"][str(finished / "law.json")]
    law = read_law(finished / "law.json")
    assert told["loss_of_plan"] == pytest.approx(law.loss(json_parameters(capsys), 1e7))


def json_parameters(capsys: pytest.CaptureFixture[str]) -> float:
    assert run_command(["plan", "--depth", "4", "--tokens", "10M", "--on", "h100", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["active"]


def test_it_is_not_done_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "manifest.json").read_bytes()
    assert run_command(["run", str(finished)]) == 0
    assert (finished / "manifest.json").read_bytes() == before
    out = " ".join(capsys.readouterr().out.split())
    assert out == "finished earlier, unchanged: corpus, tokenizer, shards, ladder, fit, heldout, report"
    assert not (finished / "ladder" / "trunks").exists()


def test_another_larger_run_leaves_the_ladder_alone(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    assert run_command(["run", str(run), "--set", "heldout.width=128"]) == 2
    assert run_command(["run", str(run), "--set", "heldout.width=128", "--again"]) == 0
    assert (run / "ladder" / "runs.json").read_bytes() == (finished / "ladder" / "runs.json").read_bytes()
    stages = read(run / "manifest.json")["stages"]
    assert stages["ladder"] == read(finished / "manifest.json")["stages"]["ladder"]
    assert read(run / "prediction.json")["made"] < read(run / "heldout" / "outcome.json")["began"]
    assert read(run / "heldout" / "outcome.json")["run"]["name"] == "1x128"


def test_a_killed_run_carries_on_to_the_same_losses(finished: Path, recipe: Path) -> None:
    run = recipe.parent / "killed"
    command = [sys.executable, "-u", "-m", "cutaway", "run", str(recipe), "--out", str(run)]
    command += ["--set", "ladder.checkpoint_seconds=0.000001"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    told: list[str] = []
    for line in process.stdout:
        if "1x48-4000:" in line:
            told.append(line)
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert told
    assert not (run / "ladder" / "runs.json").exists()
    assert (run / "ladder" / "trunks").is_dir()
    again = subprocess.run(command, stdout=subprocess.PIPE, env=environment, text=True, check=True, timeout=280)
    assert "1x48-4000:" not in again.stdout
    assert "1x48-9000:" in again.stdout
    kept = ("parameters", "tokens", "loss", "bits_per_byte")
    for name in ("ladder/runs.json", "heldout/outcome.json"):
        ours, theirs = (read(place / name) for place in (run, finished))
        ours, theirs = ([each["run"]] if "run" in each else each for each in (ours, theirs))
        assert [[each[key] for key in kept] for each in ours] == [[each[key] for key in kept] for each in theirs]
    assert all(read(run / "law.json")[name] == read(finished / "law.json")[name] for name in ("E", "A", "alpha"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("ladder.tokens=[4000, 6000, 90000000]", "heldout takes"),
        ("heldout.width=32", "make heldout larger"),
        ("ladder.tokens=[4000, 6000]", "there are 6, of 3 and 2"),
        ("ladder.token=[4000]", "there is no key ladder.token; did you mean ladder.tokens?"),
        ("ladder.sizes=[{depth = 1, widht = 32}]", "there is no key ladder.sizes"),
        ("heldout.width='a'", 'heldout.width is "a", but should be a whole number'),
        ("corpus.world.people=5", "leave corpus.world out"),
        ("pretrain.depth=5", "there is no key pretrain"),
    ],
)
def test_recipes_that_cannot_be(change: str, message: str, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", str(recipe), "--out", str(recipe.parent / "never"), "--set", change]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (recipe.parent / "never").exists()


def test_a_recipe_without_a_ladder(tmp_path: Path) -> None:
    (tmp_path / "none.toml").write_text('kind = "scaling"\n')
    with pytest.raises(BadInput, match="the key ladder is needed"):
        read_recipe(tmp_path / "none.toml", [])


@pytest.mark.parametrize("key", ["heldout.tokens=9000000", "ladder.tokens=[4000, 6000, 8000000]"])
def test_more_tokens_than_there_is_text(
    key: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    command = ["run", str(run), "--again", "--set", key, "--set", "heldout.width=4096"]
    assert run_command(command) == 2
    err = capsys.readouterr().err
    name, _, value = key.partition("=")
    most = max(json.loads(f"[{value.strip('[]')}]"))
    assert f"{name} asks for {most:,} tokens, but the text has" in err
    assert "give more text with --text" in err
    assert not (run / "heldout").exists()
