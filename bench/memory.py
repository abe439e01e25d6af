"""Memory of a training step: what `cutaway plan` foretells beside what a step takes.

    .venv/bin/python bench/memory.py                 # five shapes; takes some minutes
    .venv/bin/python bench/memory.py --compiled      # compiled steps too, which take longer
    .venv/bin/python bench/memory.py --only GPT-2

Each shape is trained for three steps in a process of its own, on the CPU in float32. What is measured is how far its
resident memory rises, at most, above where it stood before the model was built; a toy model has taken a step before
that, so that the libraries are loaded. Of a compiled step, what the compiler itself has taken is left out: the third
step's rise is measured, and weights and moments are added. The allocator is told to give freed memory back at once
(`MALLOC_` below), or it would count what it holds in reserve; `--as-is` leaves it as it comes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cutaway.evals.markdown import markdown_table
from cutaway.model.config import ModelConfig
from cutaway.model.presets import PRESETS
from cutaway.train.memory import Layout, step_memory

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072"}
STEPS = 3
VOCAB = 4096
GPT2 = PRESETS["gpt2"].shape
assert isinstance(GPT2, ModelConfig)
SHAPES: dict[str, tuple[ModelConfig, int, int]] = {
    "depth 4, 16 rows of 256": (ModelConfig.from_depth(4, VOCAB, context=256), 16, 256),
    "depth 8, 8 rows of 256": (ModelConfig.from_depth(8, VOCAB, context=256), 8, 256),
    "depth 12, 8 rows of 256": (ModelConfig.from_depth(12, VOCAB, context=256), 8, 256),
    "depth 4, 4 rows of 1,024": (ModelConfig.from_depth(4, VOCAB, context=1024), 4, 1024),
    "GPT-2 124M, 2 rows of 256": (dataclasses.replace(GPT2, context=256), 2, 256),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--compiled", action="store_true", help="compiled steps too")
    options.add_argument("--only", metavar="TEXT", default="", help="shapes whose name holds this")
    options.add_argument("--as-is", action="store_true", help="leave the allocator as it comes")
    options.add_argument("--one", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        print(json.dumps(measured(given.one, compiled=given.compiled)))
        return
    rows: list[list[str]] = []
    for name, (config, n_rows, length) in SHAPES.items():
        if given.only not in name:
            continue
        for compiled in (False, True)[: 1 + given.compiled]:
            layout = Layout(n_rows, length, compute=4, compiled=compiled)
            foretold = step_memory(config, layout)
            took = in_a_process(name, compiled=compiled, as_is=given.as_is)
            how = "compiled" if compiled else "eager"
            ratio = f"{foretold.peak / took:.2f}"
            rows.append([name, how, f"{foretold.peak / 1e6:,.0f}", f"{took / 1e6:,.0f}", ratio, foretold.at])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    print(markdown_table(["Shape", "Step", "foretold, MB", "measured, MB", "ratio", "most"], rows))


def in_a_process(name: str, *, compiled: bool, as_is: bool) -> int:
    """What a step of this shape takes, in bytes, measured in a fresh process."""
    command = [sys.executable, __file__, "--one", name, *(["--compiled"] if compiled else [])]
    environment = os.environ | ({} if as_is else MALLOC)
    return int(json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout))


def measured(name: str, *, compiled: bool) -> int:
    """How far this process's memory rises above where it stood before the model was built, in bytes."""
    config, rows, length = SHAPES[name]
    toy = dataclasses.replace(config, n_layers=1, d_model=32, d_mlp=64, vocab_size=64, context=16)
    step_of(toy, 1, 16, compiled=False)()
    before = resident()
    step = step_of(config, rows, length, compiled=compiled)
    for _ in range(STEPS - 1):
        step()
    if compiled:
        before = resident() - always(config)
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what there is now
    step()
    return highest() - before


def always(config: ModelConfig) -> int:
    """Bytes of weights and moments, which are there between steps too."""
    memory = step_memory(config, Layout(1, 1))
    return round(memory.weights + memory.optimizer)


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def highest() -> int:
    """Bytes that this process had in memory at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def step_of(config: ModelConfig, rows: int, length: int, *, compiled: bool) -> Callable[[], None]:
    """A training step of a new model."""
    import torch

    from cutaway.model import Transformer
    from cutaway.train.objectives import LanguageModelling
    from cutaway.train.optimizer import Optimizer, OptimizerSettings
    from cutaway.train.step import TrainStep

    torch.manual_seed(0)
    model = Transformer(config)
    optimizer = Optimizer(model, OptimizerSettings())
    step = TrainStep(model, LanguageModelling(), optimizer, compiled=compiled, dtype=torch.float32)

    def once() -> None:
        tokens = torch.randint(0, config.vocab_size, (rows, length + 1))
        learned = torch.ones(rows, length, dtype=torch.bool)
        step({"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "learned": learned}, scale=1.0)

    return once


if __name__ == "__main__":
    main()
