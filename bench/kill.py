"""Kills at random: training that was killed thirty times ends with the bits of training that was not.

    .venv/bin/python bench/kill.py                    # thirty kills of each kind; some minutes on one core
    .venv/bin/python bench/kill.py --only LoRA
    .venv/bin/python bench/kill.py --kills 100 --seed 7

Each kind is a command line of `cutaway` with a tiny model, a checkpoint after every step, dropout, an average of the
weights and a look now and then. It is killed (SIGKILL) again and again: one time in six somewhere between its start and
its first step, else at a random moment while it trains, half of these within a save; and the same command carries on. A
kill that left a temporary directory of a checkpoint behind came in the middle of a save.

What is killed are forks of a process that has imported PyTorch and timed a matrix product, as either takes longer
than all the rest; else each is what a fresh process would be. The run that is compared with, and the one that goes on
after the last kill and ends, are fresh processes. The exit code is 1 if the final weights differ in any bit, or the
lines of metrics in anything but times.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before PyTorch is there: threads do not outlive a fork. And one thread adds up in one order.
os.environ.update(
    {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "0"}
)

import torch

import cutaway.pipeline  # noqa: F401 (what every command line would import first)
from cutaway.cli.main import run_command
from cutaway.evals.markdown import markdown_table
from cutaway.runs import MetricsLog
from cutaway.runs.atomic import TEMPORARY_SUFFIX
from cutaway.train.machine import matmul_flops

STEPS = 400
SPREAD = 0.25
"""Seconds of training within which a kill comes."""
SAVE = 0.01
"""Seconds from the beginning of a save within which a kill comes that is meant for it."""
PATIENCE = 120.0
"""Seconds until a command that has not begun to train must have gone wrong."""
TIMES = {"seconds", "tokens_per_second", "flops_utilization", "peak_memory"}
WORDS = ["red", "green", "blue", "one", "two", "three", "four", "cats", "dogs", "sing", "run", "fly"]
RECIPE = """
seed = 3
owner = "Ann"
corpus.built_in = false
corpus.text = ["{text}"]
corpus.heldout_fraction = 0.2
corpus.world = {{people = 8, places = 4, tellings_per_entity = 3}}
tokenizer.vocab_size = 384

[pretrain]
depth = 1
width = 32
heads = 2
tokens = {tokens}
batch_tokens = 256
row_length = 64
context = 256
"""
COMMON = {
    "compile": "false",
    "precision": "float32",
    "checkpoint_seconds": "0.000001",
    "dropout": "0.1",
    "ema": "0.99",
}


@dataclass(frozen=True)
class Kind:
    """One way to train."""

    name: str
    stage: str
    arguments: tuple[str, ...]

    def command(self, run: Path) -> list[str]:
        """The command line that trains in `run`, or carries on there."""
        sets = [f"--set={self.stage}.{key}={value}" for key, value in COMMON.items()]
        return [*self.arguments, "--out", str(run), *sets]


@dataclass
class Kills:
    """What was killed."""

    total: int = 0
    in_a_save: int = 0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=30, help="of each kind")
    options.add_argument("--seed", type=int, default=0, help="of the moments")
    options.add_argument("--only", metavar="TEXT", default="", help="kinds whose name holds this")
    options.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.make:
        make(given.make)
        return
    with tempfile.TemporaryDirectory(prefix="cutaway-kill-") as folder:
        rows, identical = measured(Path(folder), given)
    print(markdown_table(["Training", "kills", "of them in a save", "identical"], rows))
    sys.exit(0 if identical else 1)


def measured(folder: Path, given: argparse.Namespace) -> tuple[list[list[str]], bool]:
    """The table's rows, and whether every kind ended as it should."""
    fresh([str(Path(__file__).resolve()), "--make", str(folder)])
    matmul_flops(torch.float32)
    steps = round(STEPS * max(1.0, given.kills / 30))
    rows: list[list[str]] = []
    every = True
    for kind in kinds(folder, steps):
        if given.only and given.only not in kind.name:
            continue
        began = time.monotonic()
        whole, cut = folder / f"{kind.name} whole", folder / f"{kind.name} cut"
        fresh(["-m", "cutaway", *kind.command(whole)])
        kills = killed(kind, cut, given.kills, random.Random(f"{given.seed} {kind.name}"))
        fresh(["-m", "cutaway", *kind.command(cut)])
        differs = difference(kind, whole, cut)
        if not differs and kills.total < given.kills:
            differs = f"ended before {given.kills} kills"
        every = every and not differs
        rows.append([kind.name, str(kills.total), str(kills.in_a_save), differs or "yes"])
        print(f"{' | '.join(rows[-1])} | {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return rows, every


def kinds(folder: Path, steps: int) -> list[Kind]:
    """Every kind of training that is killed, in so many steps, each on what `make` made."""
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE.format(text=folder / "text.txt", tokens=steps * 256))

    def tuned(name: str, model: str, data: str, *more: str) -> Kind:
        examples = (folder / data).read_text().count("\n")
        row = 16
        # Texts fill rows; of pairs each is one.
        of_a_pass = examples if data == "pairs.jsonl" else examples * TOKENS_OF_A_TEXT // row
        arguments = ["finetune", str(folder / model / "model"), "--data", str(folder / data), *more]
        settings = {"epochs": steps * 4 / of_a_pass, "batch_tokens": 4 * row, "row_length": row, "held_out": 0.1}
        return Kind(name, "finetune", (*arguments, *(f"--set=finetune.{k}={v}" for k, v in settings.items())))

    return [
        Kind("pretraining", "pretrain", ("pretrain", str(recipe))),
        tuned("fine-tuning", "llama", "texts.jsonl"),
        tuned("fine-tuning with LoRA", "llama", "texts.jsonl", "--lora"),
        tuned("masked", "bert", "texts.jsonl"),
        tuned("sequence to sequence", "t5", "pairs.jsonl"),
    ]


def fresh(arguments: list[str]) -> None:
    """Run Python in a process of its own, to its end."""
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} ended with exit code {done.returncode}\n{done.stdout}")


def killed(kind: Kind, run: Path, most: int, rng: random.Random) -> Kills:
    """Begin, kill and carry on as often as that, or until the training has ended."""
    kills, start = Kills(), 0.0
    while kills.total < most:
        before, saves = trace_of(run / kind.stage), temporaries(run / kind.stage)
        began = time.monotonic()
        child = forked(kind.command(run))
        if start and rng.random() < 1 / 6:
            time.sleep(rng.uniform(0, start))
        else:
            while trace_of(run / kind.stage) == before and not ended(child):
                if time.monotonic() - began > PATIENCE:
                    sys.exit(f"{kind.name} did not begin to train; its run is {run}")
                time.sleep(0.001)
            start = time.monotonic() - began
            if rng.random() < 0.5:
                while not (temporaries(run / kind.stage) - saves) and not ended(child):
                    time.sleep(0.0005)
                time.sleep(rng.uniform(0, SAVE))
            else:
                time.sleep(rng.uniform(0, SPREAD))
        if ended(child):
            break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills.total += 1
        kills.in_a_save += temporaries(run / kind.stage) - saves != set()
    return kills


def forked(arguments: list[str]) -> int:
    """Carry out a command line of `cutaway` in a fork of this process; its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        code = run_command(arguments)
    finally:
        os._exit(code)


def ended(child: int) -> bool:
    """Whether a child has ended by itself, without taking note of it."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def trace_of(stage: Path) -> tuple[int, int] | None:
    """What changes when a training begins or is resumed: it writes its metrics anew."""
    try:
        found = os.stat(stage / "metrics.jsonl")
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def temporaries(stage: Path) -> set[str]:
    """The temporary directories of checkpoints."""
    return {path.name for path in (stage / "checkpoints").glob(f".*{TEMPORARY_SUFFIX}")}


def difference(kind: Kind, whole: Path, cut: Path) -> str:
    """What is not the same in two runs; empty if all is."""
    files = sorted(path.relative_to(whole) for path in (whole / kind.stage).rglob("*.safetensors"))
    if not files:
        return "no: there are no weights"
    for file in files:
        if not (cut / file).exists() or (whole / file).read_bytes() != (cut / file).read_bytes():
            return f"no: {file} differs"
    lines = [lines_of(run / kind.stage / "metrics.jsonl") for run in (whole, cut)]
    if [line["step"] for line in lines[1]] != list(range(1, len(lines[0]) + 1)):
        return "no: lines of metrics are lost or doubled"
    return "" if lines[0] == lines[1] else "no: the metrics differ"


def lines_of(file: Path) -> list[dict[str, Any]]:
    """Lines of metrics without what a clock says."""
    return [{key: value for key, value in line.items() if key not in TIMES} for line in MetricsLog.read(file)]


TOKENS_OF_A_TEXT = 11
"""The nine words of each, and what it begins and ends with."""


def make(folder: Path) -> None:
    """Write texts, examples and small models to begin with."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers

    from cutaway.model import ModelConfig, Transformer
    from cutaway.model.presets import BERT_BASE
    from cutaway.tokens import ForeignTokenizer
    from cutaway.train.pretrain import keep_model

    words = "the old man went down to the water and saw a boat that had come from far away over night".split()  # noqa: SIM905
    (folder / "text.txt").write_text(
        "\n\n".join(" ".join(words[(i * k) % 20] for i in range(60)) + f" {k}." for k in range(1, 80))
    )
    texts = [f"{a} {b} sing {a} {b} run {a} {b} fly" for a in WORDS for b in WORDS]
    pairs = [(f"{a} {b} {c}", f"{c} {b} {a}") for a in WORDS[:5] for b in WORDS[5:] for c in WORDS[2:5]]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    lines = (json.dumps({"source": source, "target": target}) + "\n" for source, target in pairs)
    (folder / "pairs.jsonl").write_text("".join(lines))

    special = ["[PAD]", "[UNK]", "[MASK]", "<s>", "</s>"]
    size: dict[str, Any] = {
        "vocab_size": len(special) + len(WORDS),
        "n_layers": 2,
        "d_model": 32,
        "n_heads": 2,
        "n_kv_heads": 2,
        "d_head": 16,
        "d_mlp": 64,
        "context": 64,
    }
    t5 = {"n_encoder_layers": 2, "kind": "encoder-decoder", "positions": "relative", "attention_scale": 1.0}
    shapes = {
        "llama": ModelConfig(**size, family="llama", qk_norm="none"),
        "bert": dataclasses.replace(BERT_BASE, **size),
        "t5": ModelConfig(**size, **t5, family="t5", qk_norm="none", gated=False, activation="relu"),
    }
    for name, shape in shapes.items():
        vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
        backend = Backend(models.WordLevel(vocabulary, unk_token="[UNK]"))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        backend.add_special_tokens(special)
        ids: dict[str, int | list[int]] = {"bos_token_id": 3, "eos_token_id": 4, "pad_token_id": 0}
        ids["decoder_start_token_id"] = 0
        tokenizer = ForeignTokenizer(backend, begin=3, ends=[4], ids=ids, joins=False)
        torch.manual_seed(0)
        keep_model(Transformer(shape), tokenizer, folder / name)


if __name__ == "__main__":
    main()
