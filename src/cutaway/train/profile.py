"""Where the time of a training step goes, and how far each part is from what the machine can do."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, TypeVar

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from cutaway.model import Transformer
from cutaway.train.cost import forward_flops
from cutaway.train.loop import set_dropout
from cutaway.train.machine import can_compile, device, keep_freed_memory, matmul_flops, timed
from cutaway.train.memory import Layout, step_memory
from cutaway.train.objectives import Batch, Feed, LanguageModelling
from cutaway.train.optimizer import Optimizer
from cutaway.train.settings import LoopSettings
from cutaway.train.step import TrainStep, portions

T = TypeVar("T")
WARM_UP, TIMED, PROFILED = 3, 8, 4
STILL = 1e-9
"""Scale of the learning rates: the steps are only for looking at."""

KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear", "linear_pointwise"),
    "attention": ("scaled_dot_product", "flash_attention", "efficient_attention"),
    "fused element by element": ("cpp_fused", "triton_"),
}
"""Names of operations, or pieces of them, by what they are; all others are `other`."""


@dataclass(frozen=True)
class Part:
    """A part of a step."""

    phase: str
    """`gradient` or `update`."""
    name: str
    seconds: float
    """Of one step."""
    flops: float
    """Operations of one step; 0 where there are no products to count."""


@dataclass(frozen=True)
class StepProfile:
    """One step, taken apart. The parts' times are the profiler's, scaled to those of a step without it."""

    seconds: float
    tokens: int
    flops: float
    ceiling: float
    """Operations a second of a large matrix product."""
    dtype: str
    compiled: bool
    memory: float
    """The most bytes that it takes at once: weights, gradients, moments and all that is allocated on the way."""
    foretold: float
    """What `cutaway plan` takes these bytes to be."""
    parts: tuple[Part, ...]

    @property
    def of_ceiling(self) -> float:
        """The model's operations a second as a share of what a large matrix product does."""
        return self.flops / self.seconds / self.ceiling


def profile_step(model: Transformer, feed: Feed, settings: LoopSettings) -> StepProfile:
    """Take some steps of a training and tell where their time goes. The model is none to keep afterwards."""
    keep_freed_memory()
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would tell each time that it begins and ends
    dtype = settings.dtype
    compiled = settings.compile is not False and can_compile()
    if compiled:
        import torch._inductor.config as inductor

        # Else what inductor has fused has no names.
        inductor.cpp.enable_kernel_profile = True
    model.to(device()).requires_grad_(True)
    set_dropout(model, settings.dropout)
    objective = LanguageModelling(settings.z_loss)
    optimizer = Optimizer(model, settings.optimizer)
    step = TrainStep(
        model,
        objective,
        optimizer,
        compiled=compiled,
        dtype=dtype,
        clip=settings.clip,
        micro_rows=settings.rows_at_once,
    )
    batch = feed.batch(0, settings.batch_rows)
    for _ in range(WARM_UP):
        step(batch, scale=STILL)
    seconds = statistics.median(timed(lambda: step(batch, scale=STILL)) for _ in range(TIMED))
    rows, length = next(portions(batch, settings.rows_at_once))["tokens"].shape
    attention = 3 * forward_flops(model.config, length)[-1].attention * batch["tokens"].numel()
    return StepProfile(
        seconds,
        batch["tokens"].numel(),
        objective.flops(model, batch),
        matmul_flops(dtype),
        str(dtype).removeprefix("torch."),
        compiled,
        memory_of(step, batch, sum(held.nbytes for held in (*model.parameters(), *optimizer.state_dict().values()))),
        step_memory(
            model.config,
            Layout(
                rows,
                length,
                compute=dtype.itemsize,
                compiled=compiled,
                accumulated=rows < settings.batch_rows,
                optimizer=settings.optimizer.kind,
            ),
        ).peak,
        scaled(parts_of(step, batch), seconds, attention),
    )


def memory_of(step: TrainStep, batch: Batch, always: int) -> int:
    """The most bytes that there are at once in a step, with the `always` ones that are there between steps too."""
    if device().type == "cuda":
        torch.cuda.reset_peak_memory_stats(device())
        step(batch, scale=STILL)
        return torch.cuda.max_memory_allocated(device())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step(batch, scale=STILL)
    recorded: Any = seen.profiler
    changes = [event for event in recorded.kineto_results.events() if event.name() == "[memory]"]
    levels = accumulate(event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns()))
    return always + max(levels, default=0)


def parts_of(step: TrainStep, batch: Batch) -> dict[tuple[str, str], tuple[float, float]]:
    """Microseconds and counted operations by phase and kind, summed over `PROFILED` steps."""
    found: dict[tuple[str, str], tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))

    def watched(phase: str, work: Callable[[], T]) -> T:
        on_gpu = device().type == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        with profile(activities=activities, record_shapes=True, with_flops=True) as seen:
            result = work()
        for event in seen.key_averages():
            if on_gpu and event.device_type == DeviceType.CPU:
                continue  # the kernels that it started are counted themselves
            spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            key = (phase, kind_of(event.key))
            found[key] = (found[key][0] + spent, found[key][1] + (event.flops or 0))
        return result

    for _ in range(PROFILED):
        outcome = watched("gradient", lambda: step.gradient(batch))
        watched("update", partial(step.apply, outcome, scale=STILL))
    return found


def kind_of(operation: str) -> str:
    """What an operation is, by its name."""
    for kind, names in KINDS.items():
        if any(operation == name or (":" not in name and name in operation) for name in names):
            return kind
    return "other"


def scaled(found: dict[tuple[str, str], tuple[float, float]], seconds: float, attention: float) -> tuple[Part, ...]:
    """The parts of one step that took `seconds`, longest first; `attention` are its own products' operations."""
    whole = sum(spent for spent, _ in found.values())
    parts = [
        Part(phase, kind, spent / whole * seconds, attention if kind == "attention" else flops / PROFILED)
        for (phase, kind), (spent, flops) in found.items()
    ]
    return tuple(sorted(parts, key=lambda part: -part.seconds))
