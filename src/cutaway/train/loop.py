"""The loop that every model of the house trains through."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cutaway.runs import CutawayError, MetricsLog, Progress, SilentProgress, Terminated
from cutaway.runs.manifest import peak_memory
from cutaway.train.checkpoint import Checkpoints, Position, put_weights, trained_weights, weights_of
from cutaway.train.distributed import gather, gathered_in, parallelise
from cutaway.train.ema import WeightAverage
from cutaway.train.faults import first_not_finite
from cutaway.train.interruption import stoppable
from cutaway.train.machine import can_compile, device, keep_freed_memory, matmul_flops
from cutaway.train.objectives import Batch, Feed, LanguageModelling, Objective
from cutaway.train.optimizer import Optimizer
from cutaway.train.recompute import recomputed
from cutaway.train.settings import LoopSettings
from cutaway.train.snapshots import Snapshots
from cutaway.train.step import Alone, Outcome, TrainStep
from cutaway.train.trackers import followers

COMPILE_PAYS_AFTER = 1_000_000
"""Tokens from which on a compiled step has won back the half minute that a cold compilation takes."""
MOST_SKIPPED = 8
"""Steps left out one after another before it is plain that none will be finite again."""


@dataclass(frozen=True)
class Watch:
    """What to look at during training: called with the model at the first step, each `every` steps and the last.

    It gives figures for that step's line of metrics, such as `val_bpb`; of the first of them less is better.
    """

    every: int
    look: Callable[[Any, int], dict[str, float]]


def unwatched() -> Watch:
    """Look at nothing."""
    return Watch(2**62, lambda model, step: {})


def train(
    model: nn.Module,
    feed: Feed,
    settings: LoopSettings,
    directory: Path,
    progress: Progress,
    watch: Watch,
    name: str,
    objective: Objective | None = None,
    processes: Alone | None = None,
    snapshots: Snapshots | None = None,
) -> None:
    """Train `model` in place, resuming from the last checkpoint in `directory` if there is one.

    All of its weights, or those that require a gradient if only some do. Without an `objective` it learns to foretell
    tokens. Writes `metrics.jsonl` and `checkpoints/`. A resumed run ends with the same bits as an unbroken one. Ctrl-C
    and SIGTERM leave a checkpoint of the last whole step. With `processes` (`cutaway.train.distributed`) all of them
    train it together, each calling this; the first alone looks and writes, and all end with the whole model.
    At the steps of `snapshots` the model is kept beside.

    Raises:
        CutawayError: the loss or its gradient is not finite; the checkpoint before it stays. Or the disk is full.
    """
    Training(model, feed, settings, directory, progress, watch, name, objective, processes, snapshots).run()


class Training:
    """One training and where it stands."""

    def __init__(
        self,
        model: nn.Module,
        feed: Feed,
        settings: LoopSettings,
        directory: Path,
        progress: Progress,
        watch: Watch,
        name: str,
        objective: Objective | None = None,
        processes: Alone | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        keep_freed_memory()
        self.snapshots = snapshots or Snapshots(frozenset(), lambda model, step: None)
        self.whole, self.feed, self.settings, self.watch, self.name = model, feed, settings, watch, name
        self.processes = processes or Alone()
        self.directory, self.progress = directory, progress if self.processes.is_first else SilentProgress()
        self.objective: Objective = objective or LanguageModelling(settings.z_loss)
        if not any(weight.requires_grad for weight in model.parameters()):
            model.requires_grad_(True)
        set_dropout(model, settings.dropout)
        # Measured in each process, and yet one for all.
        self.dtype = self.processes.same(settings.dtype)
        compiled = compiles(settings)
        self.home = next(model.parameters()).device
        # `model` is what is trained: the whole one, or where it is divided this process's part of its twin.
        self.model, summed, self.sharing = parallelise(
            model, self.objective, settings.parallel, self.dtype, self.processes, compiled=compiled
        )
        self.optimizer = Optimizer(self.model, settings.optimizer)
        self.average = WeightAverage(self.model, settings.ema) if settings.ema else None
        self.checkpoints = Checkpoints(directory / "checkpoints", keep=settings.keep, processes=self.processes)
        self.position = self.resume()
        self.log = MetricsLog(directory / "metrics.jsonl")
        if self.processes.is_first:
            self.log.truncate_after(self.written)
        self.step_once = TrainStep(
            self.model,
            summed,
            self.optimizer,
            compiled=compiled and not (self.divided and settings.parallel == "shard"),
            dtype=self.dtype,
            clip=settings.clip,
            micro_rows=settings.rows_at_once,
            processes=self.sharing,
        )

    @property
    def divided(self) -> bool:
        """Whether each process has only a part of the weights."""
        return self.model is not self.whole

    @property
    def written(self) -> int:
        """The last step whose line of metrics counts: the one before, where that of the last is not written yet."""
        return self.position.step - bool(self.position.line)

    def resume(self) -> Position:
        """Take up the last checkpoint, if there is one."""
        found = self.checkpoints.load(weights_of(self.model))
        if found is None:
            return Position()
        position, parts = found
        self.put(parts)
        return position

    def put(self, parts: dict[str, dict[str, torch.Tensor]]) -> None:
        """Take the state that `parts` gave."""
        put_weights(self.model, parts["model"], self.checkpoints.root)
        self.optimizer.load_state_dict(parts["optimizer"])
        if self.average:
            self.average.load_state_dict(parts["average"])

    def parts(self) -> dict[str, dict[str, torch.Tensor]]:
        """All that a checkpoint holds: of the weights, those that are trained."""
        parts = {"model": trained_weights(self.model), "optimizer": self.optimizer.state_dict()}
        return parts | ({"average": self.average.state_dict()} if self.average else {})

    def run(self) -> None:
        """All steps that are left; then the model is that of the last one, or with `patience` of the best one."""
        settings, saved_at = self.settings, time.monotonic()
        with ExitStack() as stack:
            track = settings.track if self.processes.is_first else ()
            self.trackers = followers(track, self.directory, self.written, settings.model_dump(mode="json"))
            for tracker in self.trackers:
                stack.callback(tracker.finish)
            stack.enter_context(recomputed(self.model, wanted=settings.recompute))
            self.stopping = stack.enter_context(stoppable(together=self.processes.world > 1))
            task = stack.enter_context(self.progress.task(self.name, settings.steps, "steps"))
            stack.enter_context(self.checkpoints.kept(lambda: (self.position, self.parts())))
            ended = self.ends_early()
            if self.position.step == 0:
                self.take_snapshot()
            while (self.position.line or self.position.step < settings.steps) and not ended:
                figures = self.step()
                task.update(
                    self.position.step,
                    loss=figures["loss"],
                    tok_s=figures["tokens_per_second"],
                    mfu=figures["flops_utilization"],
                    **beside(figures),
                )
                ended = self.ends_early()
                due = time.monotonic() - saved_at > settings.checkpoint_seconds
                stop, due = self.processes.any(self.stopping.asked is not None, due)
                if stop:
                    self.stopping.agreed()
                better = bool(settings.patience) and self.position.is_best
                if due or better or ended or self.position.step == settings.steps:
                    self.checkpoints.save(self.position, self.parts())
                    saved_at = time.monotonic()
            if ended:
                self.progress.say(
                    f"no better {self.scored} for {settings.patience} looks: ended early, with the model of step "
                    f"{self.position.best_step:,}"
                )
        if settings.patience and (best := self.checkpoints.load_best(weights_of(self.model))):
            self.put(best)
        if self.divided:
            gather(self.watched(), self.whole)
        elif self.average:
            self.average.swap(self.model)
        set_dropout(self.whole, 0.0)
        self.whole.to(self.home).eval().requires_grad_(False)

    scored = "score"

    def ends_early(self) -> bool:
        """Whether the watched figure has not become better for as long as patience lasts."""
        return 0 < self.settings.patience <= self.position.since_best

    def step(self) -> dict[str, float]:
        """One step, with what is watched after it, or what is left of the last one; its line of metrics."""
        if self.position.line:
            with self.stopping.hold():
                return self.write_down()
        settings, step = self.settings, self.position.step
        began = time.perf_counter()
        # What is drawn in a step (dropout) follows from its number, so nothing need be remembered of it; and from the
        # process's, for each has other rows.
        torch.manual_seed(step + (self.sharing.rank << 40))
        batch = self.feed.batch(step, settings.batch_rows)
        outcome = self.step_once.gradient(batch)
        if not outcome.finite:
            self.not_finite(batch, outcome)
        with self.stopping.hold():
            self.step_once.apply(outcome, scale=settings.scale(step))
            if self.average:
                self.average.update(self.model, step)
            seconds = time.perf_counter() - began
            self.position = replace(
                self.position,
                step=step + 1,
                seconds=self.position.seconds + seconds,
                skipped=0 if outcome.finite else self.position.skipped + 1,
                line=self.figures(batch, outcome, seconds),
            )
            return self.write_down()

    def write_down(self) -> dict[str, float]:
        """The last step's line of metrics, with what is watched after it.

        A look may be broken off. Then the line is not written yet, and a resumed run looks again before it goes on.
        """
        step, figures = self.position.step, dict(self.position.line or {})
        if step == 1 or step == self.settings.steps or step % self.watch.every == 0:
            figures |= self.look()
        if step == self.settings.steps or self.ends_early():
            figures["peak_memory"] = most_memory()
        self.position = replace(self.position, line=None)
        if self.processes.is_first:
            self.log.append(figures)
        for tracker in self.trackers:
            tracker.log(figures, step)
        self.take_snapshot()
        return figures

    def take_snapshot(self) -> None:
        """Keep the model as it is now, if it is to be kept at this step."""
        if self.position.step in self.snapshots.at:
            with self.shown():
                if self.processes.is_first:
                    self.snapshots.write(self.whole, self.position.step)

    def look(self) -> dict[str, float]:
        """What is watched of the model, or of its average where there is one."""
        seen: dict[str, float] | None = {}
        # Whoever looks need not know where the model is: what it makes is made there too.
        with self.shown(), device() if device().type == "cuda" else nullcontext():
            if self.processes.is_first:
                seen = self.unless_stopped(lambda: self.watch.look(self.whole, self.position.step))
        seen = self.processes.same(seen)
        self.model.train()
        if seen is None:
            self.stopping.agreed()
        elif seen:
            self.scored, score = next(iter(seen.items()))
            best = self.position.best
            if math.isfinite(score) and (best is None or score < best):
                at = {"best": score, "best_step": self.position.step, "since_best": 0}
            else:
                at = {"since_best": self.position.since_best + 1}
            self.position = replace(self.position, **at)
        return seen or {}

    def unless_stopped(self, look: Callable[[], dict[str, float]]) -> dict[str, float] | None:
        """What is seen; None if a signal broke it off, for a look may take longer than whoever stops us will wait."""
        try:
            with self.stopping.let_go():
                return look()
        except (KeyboardInterrupt, Terminated):
            if self.stopping.asked is None:
                raise
            return None

    def watched(self) -> dict[str, torch.Tensor]:
        """The weights that are watched and kept: the last ones, or their average."""
        return weights_of(self.model) | (self.average.weights if self.average else {})

    def shown(self) -> AbstractContextManager[None]:
        """Within the block the whole model has the weights that are watched."""
        if self.divided:
            return gathered_in(self.whole, self.watched(), self.processes)
        return self.average.in_place_of(self.model) if self.average else nullcontext()

    def figures(self, batch: Batch, outcome: Outcome, seconds: float) -> dict[str, float]:
        """A step's line of metrics."""
        settings, done = self.settings, self.position.step + 1
        tokens = settings.batch_rows * settings.row_length
        ceiling = matmul_flops(self.dtype) * self.processes.world
        return {
            "step": done,
            "tokens": done * tokens,
            "seconds": round(self.position.seconds + seconds, 3),
            "loss": outcome.loss,
            "lr": settings.scale(done - 1) * self.optimizer.lr,
            "grad_norm": outcome.norm,
            "tokens_per_second": round(tokens / seconds, 1),
            "flops_utilization": round(self.objective.flops(self.whole, batch) / seconds / ceiling, 4),
        }

    def not_finite(self, batch: Batch, outcome: Outcome) -> None:
        """Raise an error that names the batch and the tensor, unless the step is to be left out."""
        settings, step = self.settings, self.position.step
        if self.divided:
            gather(weights_of(self.model), self.whole)
        at = next(self.whole.parameters()).device
        there = {name: values.to(at) for name, values in batch.items()}
        first = first_not_finite(self.whole, self.objective, there, settings.rows_at_once)
        rows = f"rows {step * settings.batch_rows:,} to {(step + 1) * settings.batch_rows - 1:,}"
        what = (
            f"the loss or its gradient is not finite at step {step + 1} of {self.name}, {rows} "
            f"(loss {outcome.loss}, norm {outcome.norm}; the first that is not is {first})"
        )
        if settings.nonfinite == "skip" and self.position.skipped < MOST_SKIPPED:
            self.progress.say(f"{what}; the step is left out")
            return
        again = f"{MOST_SKIPPED} steps before it were not either; " if settings.nonfinite == "skip" else ""
        self.checkpoints.wait()
        raise CutawayError(
            f"{what}; {again}what was trained before is kept; lower the learning rates and train anew, or leave such "
            "steps out by setting nonfinite to skip"
        )


def compiles(settings: LoopSettings) -> bool:
    """Whether the step is compiled: where that pays for itself or is asked for, and can be done."""
    wanted = settings.tokens >= COMPILE_PAYS_AFTER if settings.compile is None else settings.compile
    return wanted and can_compile()


def set_dropout(model: nn.Module, share: float) -> None:
    """Let every block leave out this share of what its branches write, in training (Srivastava et al. 2014)."""
    for module in model.modules():
        if hasattr(module, "dropout"):
            setattr(module, "dropout", share)  # noqa: B010


def most_memory() -> int:
    """The most memory that this process has had so far, in bytes: its tensors' on a GPU, else all that is resident."""
    return torch.cuda.max_memory_allocated(device()) if device().type == "cuda" else peak_memory()


def beside(figures: Mapping[str, float]) -> dict[str, float | str]:
    """What a person is shown of a line of metrics beside loss and speed."""
    looked: dict[str, float | str] = {key: value for key, value in figures.items() if key.startswith("val_")}
    most = figures.get("peak_memory")
    return looked | ({"memory": f"{most / 1e9:.2f} GB"} if most else {})
