"""The digit networks over several seeds: what share of MNIST's test images each names, and how long it trained for.

    .venv/bin/python bench/digits.py ../shared/data/digits/mnist.npz
    .venv/bin/python bench/digits.py mnist.npz --networks small --seeds 2 --set updates=1000

Each training is a process of its own on two threads, or as many as OMP_NUM_THREADS says; its time is wall time from the
first step to the last, without reading the images and without the test. With --cpu-time it is processor time, of one
thread: for a machine that others use too. The table gives mean and sample standard deviation over the seeds, the worst
share and the longest time, and whether those two hold what is asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))


class Target(NamedTuple):
    """What is asked of a network."""

    title: str
    seeds: int
    share: float
    seconds: float


TARGETS = {
    "small": Target("784-16-16-10, sigmoid, squared error", 5, 0.95, 60),
    "wide": Target("fully connected, better", 3, 0.984, 180),
    "cnn": Target("convolutional", 3, 0.992, 180),
}


class Trial(NamedTuple):
    """What one training came to."""

    parameters: int
    share: float
    seconds: float


def train(name: str, data: Path, seed: int, overrides: list[str], *, cpu_time: bool) -> Trial:
    """One training in this process."""
    import time

    import torch

    from cutaway.ladder.digits import accuracy
    from cutaway.ladder.image_data import read_images
    from cutaway.pipeline.rungs import digits
    from cutaway.runs import SilentProgress, load_recipe

    torch.set_num_threads(1 if cpu_time else THREADS)
    clock = time.process_time if cpu_time else time.perf_counter
    images = read_images(data)
    settings = load_recipe(None, overrides, digits.DigitsSettings)
    function = {"small": digits.train_small, "wide": digits.train_wide, "cnn": digits.train_cnn}[name]
    began = clock()
    network = function(images, settings, seed, SilentProgress())
    seconds = clock() - began
    return Trial(network.parameters, accuracy(network.says(images.test_x), images.test_y), seconds)


def apart(name: str, data: Path, seed: int, overrides: list[str], *, cpu_time: bool) -> Trial:
    """One training in a process of its own."""
    command = [sys.executable, __file__, str(data), "--one", name, "--seed", str(seed)]
    for override in overrides:
        command += ["--set", override]
    if cpu_time:
        command.append("--cpu-time")
    threads = str(1 if cpu_time else THREADS)
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads),
    }
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    trial = Trial(*json.loads(done.stdout))
    print(f"{name}, seed {seed}: {trial.share:.2%} after {trial.seconds:.1f} s", file=sys.stderr, flush=True)
    return trial


def row(target: Target, trials: list[Trial]) -> list[str]:
    shares, slowest = [trial.share for trial in trials], max(trial.seconds for trial in trials)
    spread = f" ± {statistics.stdev(shares):.2%}" if len(shares) > 1 else ""
    # A share is counted, so that the target is reached when it is exact: no room for rounding.
    holds = min(shares) >= target.share and slowest <= target.seconds
    return [
        target.title,
        f"{trials[0].parameters:,}",
        f"{len(trials)}",
        f"{statistics.mean(shares):.2%}{spread}",
        f"{min(shares):.2%}",
        f"{slowest:.0f}",
        f"{target.share:.1%} in {target.seconds:.0f} s",
        "yes" if holds else "no",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="MNIST, in any form that `cutaway ladder digits --data` takes")
    parser.add_argument("--networks", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--seeds", type=int, help="how many; left out: 5 of the small network, 3 of the others")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the rung")
    parser.add_argument("--cpu-time", action="store_true", help="processor time, one thread")
    parser.add_argument("--one", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(train(asked.one, asked.data, asked.seed, asked.set, cpu_time=asked.cpu_time)))
        return
    from cutaway.evals.markdown import markdown_table

    head = ["Network", "Parameters", "Seeds", "Test images right", "Worst", "Slowest, s", "Asked for", "Holds"]
    rows = [
        row(
            TARGETS[name],
            [
                apart(name, asked.data, seed + 1, asked.set, cpu_time=asked.cpu_time)
                for seed in range(asked.seeds or TARGETS[name].seeds)
            ],
        )
        for name in asked.networks
    ]
    print(markdown_table(head, rows))


if __name__ == "__main__":
    main()
