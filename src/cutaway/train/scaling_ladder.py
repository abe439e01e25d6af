"""A ladder of small trainings for a scaling law: several sizes, each trained for several numbers of tokens.

Every run is an ordinary one: warm-up, a level learning rate, and a fall to nothing over the last part of its tokens.
Until its rate begins to fall, a longer run of the same size does what a shorter one does: with the same weights, rows
and rates. So that part is trained once, as a *trunk*, and each run branches off it (Hu et al. 2024, MiniCPM; Hägele et
al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations"). Runs each twice as long as the
one before cost 1 + decay times the longest of them instead of 2. Each ends with the bits it would end with alone.

All runs of all sizes read the same rows in the same order, and none reads anything twice: rows are cut from the text
once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from cutaway.model import ModelConfig, Transformer
from cutaway.model.anatomy import anatomy_of
from cutaway.runs import MetricsLog, Progress, SilentProgress, Task, atomic
from cutaway.train.checkpoint import directory_of
from cutaway.train.cost import flops_per_token
from cutaway.train.loop import train, unwatched
from cutaway.train.pretrain import PretrainSettings, new_model
from cutaway.train.rows import Example, Rows, Source, lay_out
from cutaway.train.scaling_fit import Run
from cutaway.train.scaling_settings import LadderSettings, Size, level_steps, settings_of, tokens_a_step, trunk_of

TRUNKS = "trunks"
"""The folder of what runs branch off; of no use once all have finished."""
RUN, RUNS = "run.json", "runs.json"
A_TOKEN_BESIDES = 4e6
"""What a token of a small model costs beside its operations, as operations: on two cores a model of 0.15M parameters
takes a quarter of the time of one of 2.4M, not a sixteenth. Only the time that is left is reckoned with it."""


@dataclass(frozen=True)
class Measured:
    """A model's loss in nats a token on held-out text, the same in bits a byte, and the tokens that were measured."""

    loss: float
    bits_per_byte: float
    n: int


@dataclass(frozen=True)
class FinishedRun:
    """A run that was trained, and what came of it."""

    name: str
    depth: int
    width: int
    parameters: int
    embeddings: int
    """Of the parameters, those of embedding and unembedding."""
    tokens: int
    flops: float
    """Operations of its training, forward and backward, the level part included though other runs share it."""
    seconds: float
    """Time of its steps, likewise."""
    loss: float
    bits_per_byte: float
    n: int
    """Held-out tokens that it was measured on."""

    @property
    def point(self) -> Run:
        """What a law is fitted to."""
        return Run(self.parameters, self.tokens, self.loss)


Measure = Callable[[Transformer], Measured]


def rows_of_text(examples: Sequence[Example], length: int, seed: int) -> Rows:
    """All of a text as rows in an order drawn from `seed`, each token in one of them."""
    n = sum(len(example.tokens) for example in examples) // (length + 1)
    return lay_out([Source("text", examples, 1.0)], n, length, seed)


def flops_of_run(config: ModelConfig, settings: PretrainSettings) -> float:
    """Operations of a whole training, forward and backward."""
    return settings.steps * tokens_a_step(settings) * flops_per_token(config, settings.row_length)


def finished_run(
    size: Size, settings: PretrainSettings, config: ModelConfig, folder: Path, measured: Measured
) -> FinishedRun:
    """What there is to say of a run whose metrics are in `folder`."""
    anatomy = anatomy_of(config)
    return FinishedRun(
        name=size.name,
        depth=size.depth,
        width=size.width,
        parameters=anatomy.parameters,
        embeddings=anatomy.by_part["embeddings"],
        tokens=settings.steps * tokens_a_step(settings),
        flops=flops_of_run(config, settings),
        seconds=MetricsLog.read(folder / "metrics.jsonl")[-1]["seconds"],
        **asdict(measured),
    )


def write_run(path: Path, run: FinishedRun) -> None:
    """Put a run on record."""
    atomic.write_json(path, asdict(run))


def read_run(path: Path) -> FinishedRun:
    """A run that is on record."""
    return FinishedRun(**json.loads(path.read_text("utf-8")))


def read_runs(directory: Path) -> list[FinishedRun]:
    """The runs of a finished ladder."""
    return [FinishedRun(**run) for run in json.loads((directory / RUNS).read_text("utf-8"))]


class Ladder:
    """The runs of a ladder, each in a folder of its own in `directory`; `measure` tells what a model has come to."""

    def __init__(
        self, settings: LadderSettings, vocab_size: int, rows: Rows, directory: Path, measure: Measure, seed: int
    ) -> None:
        self.vocab_size, self.rows, self.directory, self.measure, self.seed = vocab_size, rows, directory, measure, seed
        self.sizes = {
            size: [settings_of(size, tokens, settings) for tokens in sorted(settings.tokens)] for size in settings.sizes
        }

    def train(self, progress: Progress) -> list[FinishedRun]:
        """Train every run and write `runs.json`.

        Resumes: what has finished is not trained again, and what had begun goes on from its last checkpoint.
        """
        finished: list[FinishedRun] = []
        with progress.task("ladder", round(sum(map(self.work, self.sizes.values()))), "GFLOP") as whole:
            along = Along(progress, whole)
            for size, several in self.sizes.items():
                # What was compiled for another size is of no use to this one, and the compiler keeps only so much.
                torch.compiler.reset()
                begun = 0
                for settings in several:
                    finished.append(self.train_run(size, settings, begun, along))
                    begun = level_steps(settings)
        atomic.write_json(self.directory / RUNS, [asdict(run) for run in finished])
        return finished

    def train_run(self, size: Size, settings: PretrainSettings, begun: int, along: Along) -> FinishedRun:
        """One run: the trunk, whose first `begun` steps a shorter run has done, and what is its own."""
        config, level, a_step = settings.config(self.vocab_size), level_steps(settings), self.work_of_step(settings)
        name = f"{size.name}-{settings.tokens}"
        folder, trunk = self.directory / name, self.directory / TRUNKS / size.name
        missing = not (folder / RUN).exists()
        with along.part(name, begun, level, a_step) as progress:
            if missing:
                shared = new_model(config, self.seed)
                train(shared, self.rows, trunk_of(settings), trunk, progress, unwatched(), name)
                branch_off(trunk, folder, level)
        with along.part(name, level, settings.steps, a_step) as progress:
            if missing:
                model = new_model(config, self.seed)
                train(model, self.rows, settings, folder, progress, unwatched(), name)
                done = finished_run(size, settings, config, folder, self.measure(model))
                write_run(folder / RUN, done)
                progress.say(f"{done.loss:.3f} nats a token, {done.bits_per_byte:.3f} bits per byte")
        # Not before it is on record.
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return read_run(folder / RUN)

    def work(self, several: Sequence[PretrainSettings]) -> float:
        """What the runs of a size take together, in the units of progress."""
        falls = sum(settings.steps - level_steps(settings) for settings in several)
        return (level_steps(several[-1]) + falls) * self.work_of_step(several[-1])

    def work_of_step(self, settings: PretrainSettings) -> float:
        """What a step takes, in billions of operations and what weighs as much."""
        a_token = flops_per_token(settings.config(self.vocab_size), settings.row_length) + A_TOKEN_BESIDES
        return tokens_a_step(settings) * a_token / 1e9


def branch_off(trunk: Path, folder: Path, step: int) -> None:
    """Let the run in `folder` go on from where its trunk stands after `step` steps, unless it has gone on already."""
    if (folder / "checkpoints").is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trunk / "metrics.jsonl", folder / "metrics.jsonl")
    with atomic.directory(folder / "checkpoints") as place:
        shutil.copytree(directory_of(trunk / "checkpoints", step), directory_of(place, step))


class Along:
    """The progress of several trainings as one piece of work."""

    def __init__(self, progress: Progress, whole: Task) -> None:
        self.progress, self.whole, self.done = progress, whole, 0.0

    @contextmanager
    def part(self, name: str, first: int, last: int, a_step: float) -> Generator[Part]:
        """What a training of the steps from `first` to `last` reports to; after the block they are done."""
        yield Part(self, name, first, a_step)
        self.done += (last - first) * a_step
        self.whole.update(round(self.done))


@dataclass(frozen=True)
class Part(SilentProgress):
    """A training's `Progress`, and the `Task` of its steps."""

    along: Along
    name: str
    first: int
    a_step: float

    def task(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Task]:
        """The training's own steps."""
        return nullcontext(self)

    def update(self, done: int, **figures: float | str) -> None:
        """So many steps of the training are done, those before the first perhaps for another run."""
        work = self.along.done + max(0, done - self.first) * self.a_step
        self.along.whole.update(round(work), **figures, run=self.name)

    def say(self, text: str) -> None:
        """A line about this run."""
        self.along.progress.say(f"{self.name}: {text}")
