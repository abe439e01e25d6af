"""The whole recipe over several seeds: every target with its figure for each seed, and mean and standard deviation.

    .venv/bin/python bench/seeds.py                       # recipes/demo.toml, seeds 1 to 3; about 45 minutes
    .venv/bin/python bench/seeds.py --compare             # and fine-tuning without refusals, which is not timed
    .venv/bin/python bench/seeds.py --seeds 1 --set pretrain.tokens=100000

Each run is a process of its own; wall time and peak memory are measured from outside it. A run that was stopped goes
on where it was, and the time it took before is counted in; one that finished is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from cutaway.evals import all_hold, spread
from cutaway.evals.measures import RUN_STAGE
from cutaway.runs import Result, read_results

REPOSITORY = Path(__file__).resolve().parents[1]
MEASURED = "measured.json"


def run(recipe: str, seed: int, directory: Path, overrides: list[str]) -> None:
    """One run to its end; what it took is noted in its directory."""
    command = [sys.executable, "-m", "cutaway", "run", recipe, "--out", str(directory), "--set", f"seed={seed}"]
    for override in overrides:
        command += ["--set", override]
    print(" ".join(command), file=sys.stderr, flush=True)
    earlier = json.loads((directory / MEASURED).read_text()) if (directory / MEASURED).exists() else {}
    began = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    directory.mkdir(parents=True, exist_ok=True)
    noted = {"seconds": earlier.get("seconds", 0) + seconds, "peak_memory": max(earlier.get("peak_memory", 0), peak)}
    (directory / MEASURED).write_text(json.dumps(noted) + "\n")
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"the run in {directory} ended with exit code {os.waitstatus_to_exitcode(status)}")


def compare(directory: Path) -> None:
    """The finished run's comparison, outside of the time that is measured."""
    subprocess.run([sys.executable, "-m", "cutaway", "run", str(directory), "--compare"], check=True)


def measured(directory: Path) -> list[Result]:
    """The run's results, with time and memory as they were measured from outside."""
    noted = json.loads((directory / MEASURED).read_text())
    results = read_results(directory / "report.json")
    return [replace(r, value=float(noted[r.metric])) if r.stage == RUN_STAGE else r for r in results]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--recipe", default=str(REPOSITORY / "recipes" / "demo.toml"))
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--out", type=Path, default=Path("runs/seeds"))
    options.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the recipe"
    )
    options.add_argument("--compare", action="store_true", help="fine-tune each once more without refusals")
    options.add_argument("--strict", action="store_true", help="exit code 1 if a requirement does not hold in the mean")
    given = options.parse_args()

    directories = [given.out / f"seed-{seed}" for seed in given.seeds]
    for seed, directory in zip(given.seeds, directories, strict=True):
        if not ((directory / "report.json").exists() and (directory / MEASURED).exists()):
            run(given.recipe, seed, directory, given.set)
        if given.compare:
            compare(directory)
    runs = [measured(directory) for directory in directories]
    print(spread(runs))
    if given.strict and not all_hold(runs):
        sys.exit(1)


if __name__ == "__main__":
    main()
