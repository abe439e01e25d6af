"""A model of one text, from the text to the report, and what cannot be learned from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cutaway.cli.main import run_command
from cutaway.pipeline import read_recipe
from cutaway.pipeline.find import find_recipe
from cutaway.pipeline.texts import Passes, TextRecipe, curve, read_text
from cutaway.runs import BadInput, MetricsLog, read_results

SHAKESPEARE = Path(__file__).parents[3] / "shared/data/text/tinyshakespeare.txt"
TINY = """
kind = "text"
seed = 3

[pretrain]
depth = 1
width = 32
heads = 2
tokens = 20480
batch_tokens = 256
row_length = 32
context = 64
compile = false
ema = 0.9
"""
VERSE = "".join(f"{who}:\nThe {what} of {n % 7} and {n % 5},\nno more.\n\n" for n in range(40) for who, what in
                (("ROMEO", "light"), ("JULIET", "night")))  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "tiny.toml"
    path.write_text(TINY)
    (path.parent / "verse.txt").write_text(VERSE)
    return path


@pytest.fixture(scope="module")
def finished(recipe: Path) -> Path:
    run = recipe.parent / "run"
    assert run_command(["run", str(recipe), "--out", str(run), "--text", str(recipe.parent / "verse.txt")]) == 0
    return run


def held_out(run: Path) -> str:
    return (run / "corpus" / "heldout.txt").read_text()


def test_the_text_is_split_where_nanogpt_splits_it(finished: Path) -> None:
    cut = int(len(VERSE) * 0.9)
    assert (finished / "corpus" / "train.txt").read_text() == VERSE[:cut]
    assert held_out(finished) == VERSE[cut:]
    assert run_command(["corpus", "stats", str(finished), "--json"]) == 0


def test_the_loss_is_that_of_transformers_over_the_same_blocks(finished: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(finished / "pretrain" / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(finished / "pretrain" / "model")
    text = held_out(finished)
    ids = torch.tensor([tokenizer.eos_token_id, *tokenizer(text).input_ids])
    nats, sliding = 0.0, 0.0
    with torch.inference_mode():
        for first in range(0, len(text), 32):
            # The last block, which is shorter, reads what lies before it too.
            end = min(len(text), first + 32)
            logits = model(ids[None, end - 32 : end]).logits[0, first - end :]
            nats += float(F.cross_entropy(logits, ids[first + 1 : end + 1], reduction="sum"))
        for at in range(1, len(ids)):
            # The last window that scores it ends at the next multiple of the stride.
            end = min(len(text), max(32, -(-at // 8) * 8))
            seen = ids[max(0, end - 32) : at]
            sliding += float(F.cross_entropy(model(seen[None]).logits[0, -1:], ids[at : at + 1]))
    results = {result.metric: result for result in read_results(finished / "pretrain" / "evals.json")}
    assert results["nats_per_token"].n == len(text)
    assert results["nats_per_token"].value == pytest.approx(nats / len(text), rel=1e-4)
    assert results["bits_per_byte"].value == pytest.approx(nats / np.log(2) / len(text.encode()), rel=1e-4)
    assert results["nats_per_token_sliding"].value == pytest.approx(sliding / len(text), rel=1e-4)
    # It has learned what the text repeats: an even guess costs log(27) = 3.3 nats or more.
    assert results["nats_per_token"].value < 2.5


def test_the_run_is_a_run_like_any_other(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    stages = ["corpus", "tokenizer", "shards", "pretrain", "evaluate_pretrain", "report"]
    assert list(manifest["stages"]) == stages
    capsys.readouterr()
    assert run_command(["run", str(finished)]) == 0
    assert "finished earlier, unchanged: " + ", ".join(stages) in " ".join(capsys.readouterr().out.split())
    assert run_command(["generate", str(finished), "ROMEO:", "--max-tokens", "20"]) == 0
    assert len(capsys.readouterr().out) == 21
    assert run_command(["tokenizer", "encode", str(finished), "ROMEO", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["ids"]) == 5


def test_the_report_says_what_was_measured(finished: Path) -> None:
    report = (finished / "report.md").read_text()
    value = next(r.value for r in read_results(finished / "pretrain" / "evals.json") if r.metric == "nats_per_token")
    assert f"| blocks of 32 tokens | {value:.4f} |" in report
    assert "# A model of verse.txt" in report
    assert "ROMEO" in report
    drawing = ElementTree.fromstring((finished / "curve.svg").read_text())
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    rows = MetricsLog.read(finished / "pretrain" / "metrics.jsonl")
    assert [row["step"] for row in rows if "val_loss" in row] == [1, *range(10, 81, 10)]


def test_measured_otherwise_it_is_not_trained_again(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    weights = (run / "pretrain" / "model" / "model.safetensors").read_bytes()
    assert run_command(["run", str(run), "--set", "evals.stride=32"]) == 0
    found = {result.metric: result.value for result in read_results(run / "pretrain" / "evals.json")}
    assert found["nats_per_token_sliding"] == found["nats_per_token"]
    assert (run / "pretrain" / "model" / "model.safetensors").read_bytes() == weights


def test_killed_while_it_learns_it_ends_the_same(finished: Path, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "cutaway", "run", str(recipe), "--out", str(run)]
    command += ["--text", str(recipe.parent / "verse.txt"), "--set", "pretrain.checkpoint_seconds=0.01"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = run / "pretrain" / "metrics.jsonl"
    while len(MetricsLog.read(log)) < 20 if log.exists() else True:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (run / "report.md").exists()
    assert run_command(["run", str(run)]) == 0
    model = Path("pretrain", "model", "model.safetensors")
    assert (run / model).read_bytes() == (finished / model).read_bytes()


def test_pieces_instead_of_characters(recipe: Path, tmp_path: Path) -> None:
    text = recipe.parent / "verse.txt"
    command = ["run", str(recipe), "--out", str(tmp_path / "run"), "--text", str(text)]
    command += ["--set", "tokenizer.kind=bpe", "--set", "tokenizer.vocab_size=300", "--set", "pretrain.tokens=1024"]
    assert run_command(command) == 0
    results = {result.metric: result for result in read_results(tmp_path / "run" / "pretrain" / "evals.json")}
    assert results["nats_per_token"].n < results["bits_per_byte"].n == len(held_out(tmp_path / "run"))


def test_a_pass_reads_all_of_the_text_and_the_next_cuts_it_elsewhere() -> None:
    tokens = np.arange(1000, dtype=np.uint16)
    feed = Passes(tokens, 16, seed=5)
    begins: set[int] = set()
    for number in range(4):
        batch = feed.batch(number, feed.rows)
        assert torch.equal(batch["targets"], batch["tokens"] + 1)
        assert bool(batch["learned"].all())
        read = np.sort(batch["tokens"].flatten().numpy())
        begins.add(int(read[0]))
        assert len(read) == feed.rows * 16 > 1000 - 2 * 16
        assert np.array_equal(read, np.arange(read[0], read[0] + len(read)))
        assert not torch.equal(batch["tokens"][:, 0].sort().values, batch["tokens"][:, 0])
    assert len(begins) > 1


def test_a_batch_follows_from_its_step_alone() -> None:
    tokens = np.random.default_rng(0).integers(0, 50, 500).astype(np.uint16)
    feed = Passes(tokens, 32, seed=1)
    in_order = [feed.batch(step, 4)["tokens"] for step in range(20)]
    fresh = Passes(tokens, 32, seed=1)
    assert all(torch.equal(fresh.batch(step, 4)["tokens"], in_order[step]) for step in reversed(range(20)))
    assert not torch.equal(Passes(tokens, 32, seed=2).batch(0, 4)["tokens"], in_order[0])


@pytest.mark.parametrize("n", [64, 65, 95, 96, 97])
def test_the_shortest_texts_that_rows_can_be_had_from(n: int) -> None:
    feed = Passes(np.arange(n, dtype=np.uint16), 32, seed=0)
    for step in range(30):
        batch = feed.batch(step, 3)
        assert batch["targets"].shape == (3, 32)
        assert int(batch["targets"].max()) < n


def test_reading_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\N{BOM}  one\r\ntwo\r\n\n\n\nthrée  ".encode())
    assert read_text(tmp_path / "a.txt") == "  one\ntwo\n\n\n\nthrée  "
    (tmp_path / "b.jsonl").write_text('{"text": "first"}\n{"text": "second"}\n')
    assert read_text(tmp_path / "b.jsonl") == "first\n\nsecond"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "holds no text"),
        (b" \n\n " * 500, "holds no text"),
        (b"caf\xe9 " * 400, "is not UTF-8 (byte offset 3)"),
        (b"s", "too little text"),
        (b"a few words too few for two rows or", "has 32 tokens to train on; two rows take 64"),
        (b"the same words again " * 100 + b"zebra quest", "characters that the part before it lacks ('b' 'q' 'u' 'z')"),
        (None, "there is no file or folder"),
    ],
)
def test_texts_that_cannot_be_learned_from(
    text: bytes | None, message: str, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "mine.txt").write_bytes(text)
    command = ["run", str(recipe), "--out", str(tmp_path / "run"), "--text", str(tmp_path / "mine.txt")]
    assert run_command(command) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err


def test_without_a_text_it_says_so(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", str(recipe), "--out", str(tmp_path / "run")]) == 2
    assert "give some with --text PATH" in capsys.readouterr().err


def test_several_texts_are_one(recipe: Path, tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text(f"{name * 600}\n")
    command = ["corpus", "build", str(recipe), "--out", str(tmp_path / "run")]
    assert run_command([*command, "--text", str(tmp_path / "b.txt"), "--text", str(tmp_path / "a.txt")]) == 0
    parts = [(tmp_path / "run" / "corpus" / f"{name}.txt").read_text() for name in ("train", "heldout")]
    assert "".join(parts) == "b" * 600 + "\n\n" + "a" * 600 + "\n"


def test_a_finished_run_can_be_profiled(recipe: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ["--text", str(recipe.parent / "verse.txt")]
    before = (finished / "manifest.json").read_bytes()
    assert run_command(["pretrain", str(recipe), "--out", str(finished), *text, "--profile"]) == 0
    assert "a step of 256 tokens" in capsys.readouterr().out
    assert (finished / "manifest.json").read_bytes() == before


def test_what_trains_many_models_is_not_profiled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["pretrain", "scaling", "--out", str(tmp_path / "run"), "--profile"]) == 2
    assert "a recipe of kind scaling pretrains no single model" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="the shared development data is not here")
def test_tinyshakespeare_has_nanogpts_sizes(tmp_path: Path) -> None:
    command = ["tokenizer", "train", "shakespeare", "--out", str(tmp_path / "run"), "--text", str(SHAKESPEARE)]
    assert run_command(command) == 0
    sizes = [len((tmp_path / "run" / "corpus" / f"{name}.txt").read_text()) for name in ("train", "heldout")]
    # As its data/shakespeare_char/prepare.py prints them.
    assert sizes == [1_003_854, 111_540]
    vocabulary = json.loads((tmp_path / "run" / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(vocabulary) == 65 + 2


def test_the_shipped_recipe_is_of_this_kind() -> None:
    found, _ = read_recipe(find_recipe("shakespeare"), [])
    assert isinstance(found, TextRecipe)
    with pytest.raises(BadInput, match="heldout_fraction"):
        read_recipe(find_recipe("shakespeare"), ["corpus.heldout_fraction=1.0"])


def test_a_curve_needs_no_page() -> None:
    drawn = curve({"": [(float(x), 4.0 - x / 100) for x in range(200)], "held <out>": [(0.0, 4.0), (9.0, 2.0)]})
    root = ElementTree.fromstring(drawn)
    style = root.find("{http://www.w3.org/2000/svg}style")
    assert style is not None
    assert style.text
    assert "url(" not in style.text
