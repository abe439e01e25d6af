"""Translation of Multi30k, German to English, over several seeds: BLEU and chrF of every model, and two targets.

    .venv/bin/python bench/translation.py                  # seeds 1 to 3
    .venv/bin/python bench/translation.py --seeds 1 --set translation.epochs=1 --out runs/try

Each run is `cutaway ladder translation` in a process of its own: it learns from the 29,000 pairs of the training set
and translates the 1,014 sentences of the validation set. BLEU is sacreBLEU's by default (13a, case kept) on plain text.
Required: attention at least 5 points above the fixed vector, the Transformer at least 30. A run that was stopped goes
on where it was, and one that finished is not run again.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cutaway.evals.markdown import markdown_table
from cutaway.evals.measures import RESULTS, duration
from cutaway.runs import read_results

REPOSITORY = Path(__file__).resolve().parents[1]
PAIRS = REPOSITORY.parent / "shared" / "data" / "pairs"
MODELS = ("fixed", "bahdanau", "luong", "transformer")
FIGURES = {
    "nats_per_token": ("nats a token", "{:.3f}".format),
    "bleu_greedy": ("BLEU, greedy", "{:.2f}".format),
    "bleu": ("BLEU, beam", "{:.2f}".format),
    "chrf": ("chrF", "{:.2f}".format),
    "train_seconds": ("training", duration),
}
LEAST_GAIN, LEAST_BLEU = 5.0, 30.0


def run(data: Path, seed: int, directory: Path, overrides: Sequence[str]) -> None:
    """One run to its end."""
    command = [sys.executable, "-m", "cutaway", "ladder", "translation", "--data", str(data), "--out", str(directory)]
    command += ["--seed", str(seed), "--set", 'translation.size="base"']
    for override in overrides:
        command += ["--set", override]
    print(" ".join(command), file=sys.stderr, flush=True)
    subprocess.run(command, check=True)


def figures(directory: Path) -> dict[tuple[str, str], float]:
    """A run's figures by model and name."""
    return {(r.stage, r.metric): r.value for r in read_results(directory / "translation" / RESULTS)}


def trained(runs: Sequence[dict[tuple[str, str], float]]) -> list[str]:
    """The models that every run has: `--set translation.models=[...]` trains some of them."""
    return [model for model in MODELS if all((model, "bleu") in found for found in runs)]


def table(runs: Sequence[dict[tuple[str, str], float]]) -> str:
    """Every model's figures as mean and sample standard deviation over the runs."""
    rows: list[list[str]] = []
    for model in trained(runs):
        row = [model]
        for name, (_, how) in FIGURES.items():
            values = [found[model, name] for found in runs]
            spread = f" ± {how(statistics.stdev(values))}" if len(values) > 1 else ""
            row.append(how(statistics.mean(values)) + spread)
        rows.append(row)
    return markdown_table(["model", *(title for title, _ in FIGURES.values())], rows)


def targets(runs: Sequence[dict[tuple[str, str], float]]) -> tuple[str, bool]:
    """The targets with each run's figure, and whether both hold in the mean."""
    gains = {
        f"{model} above fixed": ([found[model, "bleu"] - found["fixed", "bleu"] for found in runs], LEAST_GAIN)
        for model in ("bahdanau", "luong")
        if {model, "fixed"} <= set(trained(runs))
    }
    reached = {"transformer": ([found["transformer", "bleu"] for found in runs], LEAST_BLEU)}
    asked = {**gains, **(reached if "transformer" in trained(runs) else {})}
    rows = [
        [name, f"at least {least:g}", ", ".join(f"{value:.2f}" for value in values), f"{statistics.mean(values):.2f}"]
        for name, (values, least) in asked.items()
    ]
    holds = all(statistics.mean(values) >= least for values, least in asked.values())
    return markdown_table(["BLEU of", "required", "each seed", "mean"], rows), holds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=PAIRS, help="a folder with multi30k-train.de.gz and its like")
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--out", type=Path, default=Path("runs/translation-seeds"))
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    options.add_argument("--strict", action="store_true", help="exit code 1 if a target does not hold in the mean")
    given = options.parse_args()
    if not given.data.exists():
        sys.exit(f"there is no {given.data}; name the folder of Multi30k with --data")

    directories = [given.out / f"seed-{seed}" for seed in given.seeds]
    for seed, directory in zip(given.seeds, directories, strict=True):
        run(given.data, seed, directory, given.set)
    runs = [figures(directory) for directory in directories]
    shown, holds = targets(runs)
    print(f"{table(runs)}\n\n{shown}")
    if given.strict and not holds:
        sys.exit(1)


if __name__ == "__main__":
    main()
