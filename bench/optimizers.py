"""Muon against AdamW: which has learned more in the same time, at three sizes, each at its own best learning rate.

    .venv/bin/python bench/optimizers.py                      # depths 2, 4 and 6; half an hour on two cores
    .venv/bin/python bench/optimizers.py --sizes 2:5 --seeds 1 --rounds 4 --also-time --out runs/try

Equal time is made of steps, so that others may use the machine meanwhile: both optimisers' steps are timed in turns, in
processor time, and each optimiser then gets as many as fit into the seconds of its size (DEPTH:SECONDS) at its fastest.
The schedule spans each one's own steps. Rates are swept by factors of two around those that follow from the depth, with
the first seed, until the best lies between two others; the other seeds are trained at that one. Muon's sweep is of its
own rate, and AdamW's rate for the weights that Muon does not move stays as it follows from the depth. All train through
the house's loop, in float32, compiled where there is a compiler, on the built-in texts. What is compared is bits per
byte of text that was held out.

A training is a line of trainings.jsonl in --out and is not done again; optimizers.json holds all there is to know.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cutaway.corpus import Document
from cutaway.evals.bits_per_byte import bits_per_byte
from cutaway.evals.markdown import markdown_table
from cutaway.model import Transformer
from cutaway.pipeline.materials import examples_of, heldout_of, tokenizer_of
from cutaway.pipeline.recipe import Recipe
from cutaway.pipeline.run import run_recipe
from cutaway.pipeline.stages import STAGES
from cutaway.pipeline.watching import some_of
from cutaway.runs import Manifest, MetricsLog, RunDirectory, SilentProgress, atomic
from cutaway.tokens import Tokenizer
from cutaway.train import Source, lay_out, unwatched
from cutaway.train.machine import can_compile, device, keep_freed_memory, timed
from cutaway.train.objectives import LanguageModelling
from cutaway.train.optimizer import Optimizer
from cutaway.train.pretrain import PretrainSettings, pretrain
from cutaway.train.step import TrainStep

RATES = {"muon": "muon_lr", "adamw": "adamw_lr"}
"""The rate that is swept of each optimiser."""
NAMES = {"muon": "Muon", "adamw": "AdamW"}
FIRST = (1.0, 0.5, 2.0)
"""The rates that every sweep has, as multiples of the one that follows from the depth."""
WARM_UP = 4
STILL = 1e-9
"""Scale of the learning rates of steps that are only timed."""


class Size(NamedTuple):
    depth: int
    seconds: float


SIZES = (Size(2, 30), Size(4, 60), Size(6, 120))


class Trial(NamedTuple):
    """One training, by all in which it may differ from others."""

    depth: int
    kind: str
    rate: float
    steps: int
    seed: int


@dataclass(frozen=True)
class Texts:
    tokenizer: Tokenizer
    training: list[Source]
    heldout: list[Document]


class Trials:
    """The trainings that were done, a line each in a file."""

    def __init__(self, file: Path, train: Callable[[Trial], dict[str, Any]]) -> None:
        self.log, self.train = MetricsLog(file), train
        self.done = {Trial(*(row[field] for field in Trial._fields)): row for row in MetricsLog.read(file)}

    def score(self, trial: Trial) -> float:
        """Bits per byte after a training, which is done now if it was not done before."""
        if trial not in self.done:
            self.done[trial] = trial._asdict() | self.train(trial)
            self.log.append(self.done[trial])
            say(" ".join(f"{field} {value}" for field, value in self.done[trial].items() if field != "losses"))
        return self.done[trial]["bits_per_byte"]


def texts_in(directory: Path) -> Texts:
    """The built-in texts without an invented world, as the first stages of every recipe make them ready."""
    run = RunDirectory(directory)
    recipe = Recipe.model_validate({"corpus": {"world": {"people": 0}}})
    run_recipe(recipe, STAGES, run, SilentProgress(), until="shards")
    tokenizer = tokenizer_of(run)
    return Texts(tokenizer, [Source("real", examples_of(run, "real", tokenizer), 1.0)], some_of(heldout_of(run)))


def settings_of(depth: int, kind: str, rate: float | None = None, steps: int = 1) -> PretrainSettings:
    """What follows from the depth, but for the optimiser, its rate and the number of steps."""
    follows = PretrainSettings.model_validate({"depth": depth})
    return PretrainSettings.model_validate(
        {
            "depth": depth,
            "tokens": steps * follows.batch_rows * follows.row_length,
            "precision": "float32",
            "compile": True,
            "checkpoint_seconds": 1e9,
            "optimizer": {"kind": kind, **({RATES[kind]: rate} if rate else {})},
        }
    )


def costs_of(depth: int, rounds: int, texts: Texts) -> dict[str, Any]:
    """Seconds of a step with each optimiser, timed in turns: of the processor, on all of its cores together."""
    torch.compiler.reset()
    settings = {kind: settings_of(depth, kind) for kind in RATES}
    steps = {kind: step_of(each, texts.tokenizer.vocab_size) for kind, each in settings.items()}
    size, length = settings["muon"].batch_rows, settings["muon"].row_length
    rows = lay_out(texts.training, size * (WARM_UP + rounds), length, seed=0)
    wall: dict[str, list[float]] = {kind: [] for kind in RATES}
    processor: dict[str, list[float]] = {kind: [] for kind in RATES}
    for number in range(WARM_UP + rounds):
        batch = rows.batch(number, size)
        for kind, step in steps.items():
            began = time.process_time()
            seconds = timed(partial(step, batch, scale=STILL))
            if number >= WARM_UP:
                wall[kind].append(seconds)
                processor[kind].append(time.process_time() - began)
    by_kind = {
        kind: {
            "fastest": min(processor[kind]),
            "median": statistics.median(processor[kind]),
            "clock": min(wall[kind]),
        }
        for kind in RATES
    }
    halves = [min(processor["muon"][half::2]) / min(processor["adamw"][half::2]) for half in range(2)]
    weights = sum(weight.numel() for weight in steps["muon"].model.parameters())
    of_both = {"depth": depth, "weights": weights, "tokens": size * length, "rounds": rounds, "ratio_of_halves": halves}
    return of_both | by_kind


def step_of(settings: PretrainSettings, vocab_size: int) -> TrainStep:
    """A step as the loop takes it."""
    model = Transformer(settings.config(vocab_size)).to(device())
    return TrainStep(
        model,
        LanguageModelling(settings.z_loss),
        Optimizer(model, settings.optimizer),
        compiled=can_compile(),
        dtype=settings.dtype,
        clip=settings.clip,
        micro_rows=settings.rows_at_once,
    )


def train_once(texts: Texts, trial: Trial) -> dict[str, Any]:
    """Train a new model; what it knows of the held-out text, and how its loss fell."""
    torch.compiler.reset()
    settings = settings_of(trial.depth, trial.kind, trial.rate, trial.steps)
    length, silent = settings.row_length, SilentProgress()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        rows = lay_out(texts.training, settings.steps * settings.batch_rows, length, trial.seed)
        model = pretrain(settings, texts.tokenizer, rows, directory, silent, unwatched(), trial.seed)
        losses = [row["loss"] for row in MetricsLog.read(directory / "metrics.jsonl")]
    measured = bits_per_byte(model, texts.tokenizer, texts.heldout, length, length)["total"]
    return {
        "bits_per_byte": measured.value,
        "bytes": measured.bytes,
        "tokens": settings.tokens,
        "seconds": round(time.monotonic() - began, 1),
        "losses": [round(loss, 4) for loss in losses[:: max(1, trial.steps // 20)]],
    }


def steps_within(seconds: float, cost: float) -> int:
    """The steps that fit."""
    return max(1, int(seconds / cost))


def next_rate(tried: Mapping[float, float], follows: float, most: int) -> float | None:
    """What to try after the rates in `tried`, which have their scores; None when the best of them has neighbours.

    Beyond the first three, on from whichever end is the best; at most `most` in all.
    """
    for factor in FIRST:
        if follows * factor not in tried:
            return follows * factor
    best = best_of(tried)
    if best not in (min(tried), max(tried)) or len(tried) >= most:
        return None
    return best * 2 if best == max(tried) else best / 2


def best_of(tried: Mapping[float, float]) -> float:
    return min(tried, key=tried.__getitem__)


def left_between(tried: Mapping[float, float]) -> float | None:
    """How far below the best score that parabola's lowest point is which goes through it and its two neighbours.

    None where the best has not both: then nothing says how far it is from the bottom.
    """
    rates = sorted(tried)
    at = rates.index(best_of(tried))
    if not 0 < at < len(rates) - 1:
        return None
    left, middle, right = (tried[rate] for rate in rates[at - 1 : at + 2])
    bend = left - 2 * middle + right
    return (left - right) ** 2 / (8 * bend) if bend else 0.0


def compared(size: Size, seeds: Sequence[int], most: int, cost: Mapping[str, Any], trials: Trials) -> dict[str, Any]:
    """Both optimisers at one size: the sweep of each, and all seeds at its best rate."""
    found: dict[str, Any] = {"depth": size.depth, "seconds": size.seconds, "cost": cost, "seeds": list(seeds)}
    for kind, rate_of in RATES.items():
        steps = steps_within(size.seconds, cost[kind]["fastest"])
        follows = getattr(settings_of(size.depth, kind).optimizer, rate_of)
        tried: dict[float, float] = {}
        while (rate := next_rate(tried, follows, most)) is not None:
            tried[rate] = trials.score(Trial(size.depth, kind, rate, steps, seeds[0]))
        best = best_of(tried)
        found[kind] = {
            "steps": steps,
            "follows": follows,
            "sweep": sorted(tried.items()),
            "left_between": left_between(tried),
            "rate": best,
            "scores": [trials.score(Trial(size.depth, kind, best, steps, seed)) for seed in seeds],
        }
    found["lead"] = [b - a for a, b in zip(found["muon"]["scores"], found["adamw"]["scores"], strict=True)]
    return found


def results_table(sizes: Sequence[Mapping[str, Any]]) -> str:
    head = ["Depth", "Weights", "Optimiser", "rate", "ms a step", "steps", "tokens", "bits per byte", "Muon's lead"]
    rows: list[list[str]] = []
    for found, kind in itertools.product(sizes, RATES):
        one, cost = found[kind], found["cost"]
        first = kind == "muon"
        rows.append(
            [
                f"{found['depth']}, {found['seconds']:g} s" if first else "",
                f"{cost['weights'] / 1e6:.1f}M" if first else "",
                NAMES[kind],
                f"{one['rate']:.2g}",
                f"{cost[kind]['fastest'] * 1e3:,.0f}",
                f"{one['steps']:,}",
                f"{one['steps'] * cost['tokens']:,}",
                mean_and_spread(one["scores"]),
                mean_and_spread(found["lead"], sign="+") if first else "",
            ]
        )
    return markdown_table(head, rows, text_columns=3)


def mean_and_spread(values: Sequence[float], sign: str = "") -> str:
    """Mean and sample standard deviation."""
    average = f"{statistics.mean(values):{sign}.4f}"
    return f"{average} ± {statistics.stdev(values):.4f}" if len(values) > 1 else average


def sweep_table(sizes: Sequence[Mapping[str, Any]]) -> str:
    swept = {(found["depth"], kind): found[kind] for found, kind in itertools.product(sizes, RATES)}
    factors = sorted({rate / one["follows"] for one in swept.values() for rate, _ in one["sweep"]})
    rows: list[list[str]] = []
    for (depth, kind), one in swept.items():
        scores = {rate / one["follows"]: score for rate, score in one["sweep"]}
        left = "at an end" if one["left_between"] is None else f"{one['left_between']:.4f}"
        cells = [f"{scores[factor]:.4f}" if factor in scores else "" for factor in factors]
        rows.append([str(depth), NAMES[kind], f"{one['follows']:.2g}", *cells, left])
    head = ["Depth", "Optimiser", "rate of the depth", *(f"{factor:g} of it" for factor in factors), "left between"]
    return markdown_table(head, rows, text_columns=2)


def costs_table(costs: Sequence[Mapping[str, Any]]) -> str:
    rows: list[list[str]] = []
    for cost in costs:
        muon, adamw, halves = cost["muon"], cost["adamw"], cost["ratio_of_halves"]
        ratios = [muon[figure] / adamw[figure] for figure in ("fastest", "median", "clock")]
        rows.append(
            [
                str(cost["depth"]),
                f"{cost['tokens']:,}",
                f"{muon['fastest'] * 1e3:,.0f}",
                f"{adamw['fastest'] * 1e3:,.0f}",
                f"{ratios[0]:.3f} ({min(halves):.3f}–{max(halves):.3f})",
                f"{ratios[1]:.3f}",
                f"{ratios[2]:.3f}",
            ]
        )
    head = ["Depth", "tokens a step", "Muon, ms", "AdamW, ms", "ratio (halves)", "of medians", "by the clock"]
    return markdown_table(head, rows)


def timed_before_or_now(depths: Sequence[int], rounds: int, file: Path, texts: Texts) -> dict[int, dict[str, Any]]:
    """The costs of steps by depth: measured once, so that a run which goes on goes on with the same steps."""
    log, costs = MetricsLog(file), {row["depth"]: row for row in MetricsLog.read(file)}
    for depth in depths:
        if depth not in costs:
            costs[depth] = costs_of(depth, rounds, texts)
            log.append(costs[depth])
        say(f"depth {depth}: " + ", ".join(f"{kind} {costs[depth][kind]['fastest']:.3f} s" for kind in RATES))
    return {depth: costs[depth] for depth in depths}


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def size_from(text: str) -> Size:
    depth, _, seconds = text.partition(":")
    return Size(int(depth), float(seconds))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", nargs="+", type=size_from, metavar="DEPTH:SECONDS", default=SIZES)
    options.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    options.add_argument("--rounds", type=int, default=16, help="steps of each that are timed")
    options.add_argument("--most-rates", type=int, default=5, help="rates of a sweep, at most")
    options.add_argument("--also-time", nargs="*", type=int, metavar="DEPTH", default=[8], help="time, but train none")
    options.add_argument("--out", type=Path, default=Path("runs/optimizers"))
    given = options.parse_args()

    keep_freed_memory()
    texts = texts_in(given.out / "texts")
    depths = [*(size.depth for size in given.sizes), *given.also_time]
    costs = timed_before_or_now(depths, given.rounds, given.out / "costs.jsonl", texts)
    trials = Trials(given.out / "trainings.jsonl", partial(train_once, texts))
    done: list[dict[str, Any]] = []
    for size in given.sizes:
        done.append(compared(size, given.seeds, given.most_rates, costs[size.depth], trials))
        say(f"depth {size.depth}, Muon's lead: {', '.join(f'{lead:+.4f}' for lead in done[-1]['lead'])}")
    machine = Manifest.of_this_machine(given.seeds[0]).machine.model_dump()
    everything = {
        "machine": machine,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "compiled": can_compile(),
        "costs": list(costs.values()),
        "sizes": done,
        "trainings": list(trials.done.values()),
    }
    atomic.write_json(given.out / "optimizers.json", everything)
    for table in (results_table(done), sweep_table(done), costs_table(list(costs.values()))):
        print(f"{table}\n")


if __name__ == "__main__":
    main()
