"""The whole way, from raw text to report, with a model too small to learn anything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cutaway.cli.main import run_command
from cutaway.pipeline import STAGES
from cutaway.runs import read_results

TINY = """
seed = 3
owner = "Ann"
corpus.built_in = false
corpus.text = ["{text}"]
corpus.heldout_fraction = 0.2
corpus.world = {{people = 8, places = 4, tellings_per_entity = 3}}
tokenizer.vocab_size = 384
sft = {{tokens = 2048, batch_tokens = 512, row_length = 64, compile = false}}
rl = {{steps = 1, problems = 2, group = 2, max_tokens = 8, replay_rows = 1}}

[pretrain]
depth = 1
width = 32
heads = 2
tokens = 4096
batch_tokens = 512
row_length = 64
context = 256
compile = false

[evals]
facts = 4
unknown = 4
sums = 4
direct = 2
three_operands = 2
products = 2
calculator = 2
without_calculator = 2
counting = 2
spelling = 2
passage = 2
rewordings = 1
context = 64
stride = 64
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    texts = folder / "texts"
    texts.mkdir()
    words = "the old man went down to the water and saw a boat that had come from far away over night".split()
    for n in range(20):
        paragraphs = [" ".join(words[(i * k + n) % len(words)] for i in range(60)) + "." for k in range(1, 9)]
        (texts / f"{n}.txt").write_text("\n\n".join(paragraphs))
    (folder / "tiny.toml").write_text(TINY.format(text=texts))
    return folder / "tiny.toml"


@pytest.fixture(scope="module")
def finished(recipe: Path) -> Path:
    run = recipe.parent / "run"
    assert run_command(["run", str(recipe), "--out", str(run)]) == 0
    return run


def weights(run: Path) -> dict[str, bytes]:
    return {path.parts[-3]: path.read_bytes() for path in run.glob("*/model/model.safetensors")}


def test_every_stage_left_what_it_should(finished: Path) -> None:
    manifest: dict[str, Any] = json.loads((finished / "manifest.json").read_text())
    assert list(manifest["stages"]) == [stage.name for stage in STAGES if not stage.optional]
    assert {record["state"] for record in manifest["stages"].values()} == {"finished"}
    for record in manifest["stages"].values():
        assert record["outputs"]
    for name in ("recipe.toml", "report.json", "report.md", "report.html", "corpus/world.json"):
        assert (finished / name).stat().st_size > 100, name
    stages = {result.stage for result in read_results(finished / "report.json")}
    assert {"pretrain", "sft", "rl", "baseline"} <= stages


def test_it_is_not_done_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "manifest.json").read_bytes()
    assert run_command(["run", str(finished)]) == 0
    assert (finished / "manifest.json").read_bytes() == before
    assert capsys.readouterr().out.startswith("  finished earlier, unchanged: corpus, tokenizer")


def test_fine_tuning_without_refusals_is_compared_when_asked_for(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = weights(run)
    assert run_command(["run", str(run), "--compare"]) == 0
    assert weights(run).keys() - before.keys() == {"sft_without_refusals"}
    assert {stage: weights(run)[stage] for stage in before} == before
    assert weights(run)["sft_without_refusals"] != before["sft"]
    stages = {result.stage for result in read_results(run / "report.json")}
    assert "sft_without_refusals" in stages
    page = (run / "report.html").read_text()
    assert "Not taught" in page
    # It counts for nothing in the time that the assistant took.
    assert "sft without refusals" not in page


def test_the_verbs_that_use_it(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["corpus", "stats", str(finished), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["train"]["user"]["documents"] > 5
    assert run_command(["tokenizer", "encode", str(finished), "the boat", "--json"]) == 0
    ids = json.loads(capsys.readouterr().out)["ids"]
    assert run_command(["tokenizer", "decode", str(finished), *map(str, ids)]) == 0
    assert capsys.readouterr().out == "the boat\n"
    assert run_command(["generate", str(finished), "the old", "--max-tokens", "4"]) == 0
    text = capsys.readouterr().out
    assert run_command(["generate", str(finished), "the old", "--max-tokens", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["text"] + "\n" == text
    assert 1 <= len(told["tokens"]) <= 4
    assert run_command(["generate", f"{finished}:sft", "Who are you?", "--chat", "--max-tokens", "4"]) == 0
    capsys.readouterr()
    assert run_command(["eval", f"{finished}:sft", "--json"]) == 0
    results = {(r["metric"]): r["value"] for r in json.loads(capsys.readouterr().out)}
    of_run = {r.metric: r.value for r in read_results(finished / "sft" / "evals.json")}
    assert results == of_run
    assert run_command(["generate", f"{finished}:nope", "x"]) == 2
    assert "has no model of stage 'nope'" in capsys.readouterr().err


def test_a_typo_costs_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file() and path.name != ".lock"}
    assert run_command(["run", str(finished), "--text", "/there/is/none"]) == 2
    assert "there is no file or folder /there/is/none" in capsys.readouterr().err
    assert run_command(["run", str(finished), "--set", "pretrain.depth=2"]) == 2
    assert "holds work made from other settings or inputs (pretrain, sft, rl)" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_may_have_a_colon_in_its_name(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = finished.parent / "one:two"
    odd.symlink_to(finished)
    assert run_command(["eval", f"{odd}:sft", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert run_command(["generate", str(odd), "the", "--max-tokens", "2"]) == 0


def test_bytes_that_are_no_text_do_not_end_a_pipe(finished: Path) -> None:
    command = [sys.executable, "-m", "cutaway", "generate", str(finished), "-", "--max-tokens", "2"]
    told = subprocess.run(command, input=b"caf\xe9 and more", capture_output=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.decode()


def test_a_killed_run_carries_on_to_the_same_bits(finished: Path, recipe: Path) -> None:
    run = recipe.parent / "killed"
    command = [sys.executable, "-u", "-m", "cutaway", "pretrain", str(recipe), "--out", str(run)]
    command += ["--set", "pretrain.checkpoint_seconds=0.000001"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("  step 3"):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (run / "pretrain" / "model").exists()
    again = subprocess.run(command, stdout=subprocess.PIPE, env=environment, text=True, check=True, timeout=280)
    assert "finished earlier, unchanged: corpus, tokenizer, shards" in " ".join(again.stdout.split())
    assert "step 2 " not in again.stdout
    assert weights(run)["pretrain"] == weights(finished)["pretrain"]


def test_a_full_disk_and_a_busy_run(finished: Path, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cutaway.runs import RunDirectory

    with RunDirectory(finished).lock():
        assert run_command(["run", str(recipe), "--out", str(finished)]) == 2
    assert f"{finished} is in use by process {os.getpid()}" in capsys.readouterr().err
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a small tmpfs needs root on Linux")
    small = recipe.parent / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        assert run_command(["run", str(recipe), "--out", str(small / "run")]) == 1
        err = capsys.readouterr().err
        assert err.startswith("error: no space left on the disk that holds")
        assert err.count("\n") == 1
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"caf\xe9 " * 400, "UTF-8"),
        (b"", "empty"),
        (b"the same line again and again and again\n" * 2000, "repeat"),
    ],
)
def test_texts_that_cannot_be_learned_from(
    text: bytes, message: str, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_bytes(text)
    command = ["run", str(recipe), "--out", str(tmp_path / "run"), "--text", str(tmp_path / "mine.txt")]
    assert run_command(command) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
