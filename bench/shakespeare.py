"""Character-level tinyshakespeare within ten minutes, over several seeds: time, and loss on all that is held out.

    .venv/bin/python bench/shakespeare.py                  # recipes/shakespeare.toml, seeds 1 to 3; about 35 minutes
    .venv/bin/python bench/shakespeare.py --curve docs/images/shakespeare.svg
    .venv/bin/python bench/shakespeare.py --seeds 1 --set pretrain.tokens=100000

The text is split as nanoGPT's is: its first nine tenths to train on, its last tenth held out. What is timed is a
process of its own from start to end, `cutaway pretrain`: from the text to the trained model on disk, with the start of
Python, the tokenizer, a compilation from an empty cache and every look on the way. The evaluation after it is not
timed. A run that finished is not run again; one that was stopped cannot be carried on with, because its start would not
be cold.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cutaway.evals.charts import Reference
from cutaway.evals.markdown import markdown_table
from cutaway.evals.measures import duration, written
from cutaway.pipeline.texts import curve, looks, points
from cutaway.runs import RunDirectory, read_results

REPOSITORY = Path(__file__).resolve().parents[1]
TEXT = REPOSITORY.parent / "shared" / "data" / "text" / "tinyshakespeare.txt"
MEASURED = "measured.json"
MOST_NATS, MOST_SECONDS = 1.47, 600


def run(recipe: str, text: Path, seed: int, directory: Path, overrides: Sequence[str]) -> None:
    """One training from a cold start, timed, and what comes after it."""
    if directory.exists():
        sys.exit(f"{directory} holds a run that did not finish; remove it, for a cold start begins with nothing")
    options = ["--out", str(directory), "--text", str(text), "--seed", str(seed)]
    for override in overrides:
        options += ["--set", override]
    with tempfile.TemporaryDirectory() as empty:
        caches = {"TORCHINDUCTOR_CACHE_DIR": f"{empty}/inductor", "XDG_CACHE_HOME": f"{empty}/cache"}
        command = [sys.executable, "-m", "cutaway", "pretrain", recipe, *options]
        print(" ".join(command), file=sys.stderr, flush=True)
        began = time.monotonic()
        process = subprocess.Popen(command, env=os.environ | caches)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"the run in {directory} ended with exit code {os.waitstatus_to_exitcode(status)}")
    subprocess.run([sys.executable, "-m", "cutaway", "run", str(directory)], check=True)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    (directory / MEASURED).write_text(json.dumps({"seconds": seconds, "peak_memory": peak}) + "\n")


def table(directories: Sequence[Path], seeds: Sequence[int]) -> tuple[str, bool]:
    """Every seed's figures and their mean, as Markdown; and whether both targets hold in the mean."""
    columns: dict[str, list[float]] = {}
    for directory in directories:
        noted = json.loads((directory / MEASURED).read_text())
        found = {result.metric: result.value for result in read_results(directory / "pretrain" / "evals.json")}
        for name, value in {**noted, **found}.items():
            columns.setdefault(name, []).append(value)
    shown = {
        "time": ("seconds", duration),
        "memory": ("peak_memory", lambda value: written(value, "bytes")),
        "nats a character": ("nats_per_token", "{:.4f}".format),
        "bits a byte": ("bits_per_byte", "{:.4f}".format),
        "nats, sliding": ("nats_per_token_sliding", "{:.4f}".format),
    }
    rows = [[str(seed), *(how(columns[key][i]) for key, how in shown.values())] for i, seed in enumerate(seeds)]
    rows.append(["mean", *(how(statistics.mean(columns[key])) for key, how in shown.values())])
    if len(seeds) > 1:
        rows.append(["s.d.", *(how(statistics.stdev(columns[key])) for key, how in shown.values())])
    nats, seconds = statistics.mean(columns["nats_per_token"]), statistics.mean(columns["seconds"])
    rows.append(["required", f"at most {duration(MOST_SECONDS)}", "", f"at most {MOST_NATS}", "", ""])
    return markdown_table(["seed", *shown], rows), nats <= MOST_NATS and seconds <= MOST_SECONDS


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--recipe", default=str(REPOSITORY / "recipes" / "shakespeare.toml"))
    options.add_argument("--text", type=Path, default=TEXT, help="the text, where it is elsewhere")
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--out", type=Path, default=Path("runs/shakespeare-seeds"))
    options.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the recipe"
    )
    options.add_argument("--curve", type=Path, metavar="FILE", help="draw the held-out loss of the seeds as SVG")
    options.add_argument("--strict", action="store_true", help="exit code 1 if a target does not hold in the mean")
    given = options.parse_args()
    if not given.text.is_file():
        sys.exit(f"there is no {given.text}; name the text with --text")

    directories = [given.out / f"seed-{seed}" for seed in given.seeds]
    for seed, directory in zip(given.seeds, directories, strict=True):
        if not (directory / MEASURED).exists():
            run(given.recipe, given.text, seed, directory, given.set)
    if given.curve:
        lines = {
            f"seed {seed}": points(looks(RunDirectory(directory)), "val_loss")
            for seed, directory in zip(given.seeds, directories, strict=True)
        }
        given.curve.write_text(curve(lines, [Reference(f"{MOST_NATS}", MOST_NATS)]), encoding="utf-8")
    shown, holds = table(directories, given.seeds)
    print(shown)
    if given.strict and not holds:
        sys.exit(1)


if __name__ == "__main__":
    main()
