"""The foretold peak of a step against every byte that PyTorch allocates and frees in one."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch

from cutaway.model import ModelConfig, Transformer
from cutaway.model.anatomy import anatomy_of
from cutaway.model.config import Experts
from cutaway.model.footprint import training_bytes
from cutaway.train.activations import kept_of
from cutaway.train.memory import Layout, muons_matrices, step_memory
from cutaway.train.objectives import LanguageModelling
from cutaway.train.optimizer import Optimizer, OptimizerSettings
from cutaway.train.step import TrainStep

LENGTH = 32
WIDE = ModelConfig(vocab_size=16, n_layers=3, d_model=96, n_heads=6, n_kv_heads=3, d_head=16, d_mlp=256, context=64)
WORDY = replace(WIDE, vocab_size=4096, n_layers=2)
UNGATED = replace(WIDE, gated=False, activation="gelu")
GATED = replace(WIDE, d_mlp=640)
SQUARE = replace(WIDE, d_mlp=96, gated=False, n_kv_heads=6)


def allocated(config: ModelConfig, layout: Layout, portions: int) -> int:
    """Bytes of weights and moments, and the most that a step has allocated on top of them at once."""
    torch.manual_seed(0)
    model = Transformer(config)
    optimizer = Optimizer(model, OptimizerSettings(kind=layout.optimizer))
    dtype = torch.float32 if layout.compute == 4 else torch.bfloat16
    micro_rows = layout.rows if portions > 1 else 0
    step = TrainStep(model, LanguageModelling(), optimizer, compiled=False, dtype=dtype, micro_rows=micro_rows)
    tokens = torch.randint(0, config.vocab_size, (portions * layout.rows, LENGTH + 1))
    learned = torch.ones(portions * layout.rows, LENGTH, dtype=torch.bool)
    batch = {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "learned": learned}
    step(batch, scale=1.0)
    always = sum(weight.nbytes for weight in model.parameters())
    always += sum(moment.nbytes for moment in optimizer.state_dict().values())
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step(batch, scale=1.0)
    assert profile.profiler is not None
    assert profile.profiler.kineto_results is not None
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return always + most


@pytest.mark.parametrize(
    ("config", "rows", "at"),
    [
        (WORDY, 4, "at the loss"),
        (UNGATED, 32, "in the last norm on the way back"),
        (GATED, 32, "in the first block on the way back"),
        (WIDE, 1, "in the optimiser's update"),
        (SQUARE, 1, "in the optimiser's update"),
    ],
    ids=["loss", "norm", "block", "update", "square"],
)
@pytest.mark.parametrize("compute", [4, 2], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("portions", [1, 2])
def test_the_peak(config: ModelConfig, rows: int, at: str, compute: int, portions: int) -> None:
    layout = Layout(rows, LENGTH, compute=compute, compiled=False, accumulated=portions > 1)
    foretold = step_memory(config, layout)
    assert foretold.at == at
    assert foretold.peak == pytest.approx(allocated(config, layout, portions), rel=0.02)


def test_the_peak_with_adamw_alone() -> None:
    for rows in (1, 16):
        layout = Layout(rows, LENGTH, compute=4, compiled=False, optimizer="adamw")
        assert step_memory(WIDE, layout).peak == pytest.approx(allocated(WIDE, layout, 1), rel=0.02)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_weights_gradients_and_moments_are_divided_among_devices(optimizer: Literal["muon", "adamw"]) -> None:
    whole = step_memory(WIDE, Layout(4, LENGTH, optimizer=optimizer))
    eighth = step_memory(WIDE, Layout(4, LENGTH, optimizer=optimizer, shards=8))
    anatomy = anatomy_of(WIDE)
    counted = training_bytes(anatomy)["Muon" if optimizer == "muon" else "AdamW"]
    assert whole.weights + whole.gradients + whole.optimizer == counted
    assert 8 * (eighth.weights + eighth.gradients + eighth.optimizer) == counted
    assert eighth.kept == whole.kept
    assert eighth.working < whole.working or optimizer == "adamw"


def test_muons_matrices_are_those_it_moves() -> None:
    experts = replace(WIDE, experts=Experts(4, 2, 24), expert_layers=(1,))
    for config in (WIDE, SQUARE, experts):
        stacks = Optimizer(Transformer(config), OptimizerSettings()).muon.stacks
        moved = {tuple(next(iter(stack.values())).shape): len(stack) for stack in stacks}
        assert {shape: count for shape, count in muons_matrices(config).items() if count} == moved


def test_working_blocks_out_again_leaves_their_inputs() -> None:
    kept, again = (step_memory(WIDE, Layout(64, LENGTH, recompute=recompute)) for recompute in (False, True))
    blocks = kept_of(WIDE, 64, LENGTH, compute=2, compiled=True).blocks
    inputs = WIDE.n_layers * 64 * LENGTH * WIDE.d_model * 4
    assert kept.kept - again.kept == pytest.approx(sum(blocks) - inputs)
    # In the first block on the way back, that one is there again too.
    last = "in the first block on the way back"
    assert kept.moments[last] - again.moments[last] == pytest.approx(
        sum(blocks) - inputs - (blocks[0] - inputs / WIDE.n_layers)
    )
