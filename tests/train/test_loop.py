"""The training loop: rows, learning, resuming to the bit, and what happens when things go wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cutaway.model import ModelConfig, Transformer
from cutaway.runs import BadInput, CutawayError, MetricsLog, SilentProgress
from cutaway.train import Example, LoopSettings, Rows, Source, Watch, lay_out, train
from cutaway.train.checkpoint import checkpoints
from cutaway.train.cost import flops_per_token
from cutaway.train.machine import can_compile
from cutaway.train.objectives import LanguageModelling, language_loss, select
from cutaway.train.optimizer import Optimizer, OptimizerSettings
from cutaway.train.pretrain import PretrainSettings
from cutaway.train.step import TrainStep

CONFIG = ModelConfig(vocab_size=50, n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=64, context=32)
SETTINGS = LoopSettings(tokens=40 * 4 * 16, batch_tokens=64, row_length=16, compile=False, checkpoint_seconds=1e-6)
NOBODY = Watch(10**9, lambda model, step: {})


def counting_rows() -> Rows:
    examples = [Example([(start + i) % 50 for i in range(20)]) for start in range(50)]
    return lay_out([Source("counting", examples, 1.0)], 160, 16, seed=0)


def new_model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(CONFIG)


def test_rows_are_filled_in_shares_and_from_the_seed_alone() -> None:
    ones, twos = [Example([1] * 5)], [Example([2, 2, 2], [False, True, False])]
    sources = [Source("a", ones, 3.0), Source("b", twos, 1.0), Source("empty", [], 5.0)]
    rows = lay_out(sources, 40, 8, seed=3)
    assert rows.tokens.shape == (40, 9)
    assert (rows.tokens == 1).all(1).sum() == 30
    assert (rows.tokens == 2).all(1).sum() == 10
    assert np.array_equal(rows.tokens, lay_out(sources, 40, 8, seed=3).tokens)
    assert not np.array_equal(rows.tokens, lay_out(sources, 40, 8, seed=4).tokens)
    batch = rows.batch(1, 4)
    inputs, targets, learned = batch["tokens"], batch["targets"], batch["learned"]
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert learned[targets == 1].all()
    twos_of = torch.from_numpy(rows.learned[(rows.tokens == 2).all(1)].astype(float))
    assert abs(float(twos_of.mean()) - 1 / 3) < 0.1


def test_it_learns_to_count(tmp_path: Path) -> None:
    model = new_model()
    train(model, counting_rows(), SETTINGS, tmp_path, SilentProgress(), NOBODY, "counting")
    metrics = MetricsLog.read(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in metrics] == list(range(1, 41))
    assert metrics[-1]["loss"] < 2 < 3 < metrics[0]["loss"]
    assert {"tokens", "seconds", "lr", "grad_norm", "tokens_per_second", "flops_utilization"} <= metrics[0].keys()


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = new_model()
    train(whole, counting_rows(), SETTINGS, tmp_path / "whole", SilentProgress(), NOBODY, "counting")

    class Stopped(Exception):
        pass

    def stop(model: Transformer, step: int) -> dict[str, float]:
        if step in (7, 23) and step not in stopped:
            stopped.add(step)
            raise Stopped
        return {}

    stopped: set[int] = set()
    for _ in range(2):
        with pytest.raises(Stopped):
            train(
                new_model(), counting_rows(), SETTINGS, tmp_path / "cut", SilentProgress(), Watch(1, stop), "counting"
            )
    model = new_model()
    train(model, counting_rows(), SETTINGS, tmp_path / "cut", SilentProgress(), Watch(1, stop), "counting")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), model.parameters(), strict=True))
    assert [row["step"] for row in MetricsLog.read(tmp_path / "cut/metrics.jsonl")] == list(range(1, 41))
    assert len(checkpoints(tmp_path / "cut/checkpoints")) == 2


def test_a_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    train(new_model(), counting_rows(), SETTINGS, tmp_path, SilentProgress(), NOBODY, "counting")
    last = checkpoints(tmp_path / "checkpoints")[-1]
    weights = last / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BadInput, match=f"{last}.*damaged") as caught:
        train(new_model(), counting_rows(), SETTINGS, tmp_path, SilentProgress(), NOBODY, "counting")
    assert "\n" not in str(caught.value)
    shutil.rmtree(last)
    train(new_model(), counting_rows(), SETTINGS, tmp_path, SilentProgress(), NOBODY, "counting")


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    def poison(model: Transformer, step: int) -> dict[str, float]:
        if step == 20:
            with torch.no_grad():
                model.ln_final.weight[0] = torch.nan
        return {}

    with pytest.raises(CutawayError, match="not finite at step 21"):
        train(new_model(), counting_rows(), SETTINGS, tmp_path, SilentProgress(), Watch(20, poison), "counting")
    assert [row["step"] for row in MetricsLog.read(tmp_path / "metrics.jsonl")][-1] == 20


def test_the_learning_rate_rises_stays_and_falls() -> None:
    settings = LoopSettings(tokens=100 * 64, batch_tokens=64, row_length=16, warmup=0.1, decay=0.5)
    scales = [settings.scale(step) for step in range(settings.steps)]
    assert scales[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert scales[10:50] == [1.0] * 40
    assert scales[-1] == pytest.approx(0.02)


def test_the_loss_at_chosen_positions_is_the_masked_loss_of_all() -> None:
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, CONFIG.vocab_size, (3, 9), generator=draw)
    inputs, targets, learned = tokens[:, :-1], tokens[:, 1:], torch.rand(3, 8, generator=draw) < 0.4
    ours, masked = new_model(), new_model()
    loss = language_loss(ours, inputs, *select(targets, learned))
    every = torch.nn.functional.cross_entropy(
        masked(inputs).flatten(0, 1), targets.masked_fill(~learned, -100).flatten(), ignore_index=-100
    )
    assert float(loss.detach()) == pytest.approx(float(every.detach()), rel=1e-6)
    loss.backward()
    every.backward()
    for mine, other in zip(ours.parameters(), masked.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_takes_batches_with_more_and_fewer_tokens_to_learn(compiled: bool) -> None:
    if compiled and not can_compile():
        pytest.skip("no C++ compiler")
    model = new_model()
    step = TrainStep(
        model.requires_grad_(True),
        LanguageModelling(),
        Optimizer(model, OptimizerSettings()),
        compiled=compiled,
        dtype=torch.float32,
    )
    inputs = torch.arange(16).view(2, 8) % CONFIG.vocab_size
    before = {name: weight.clone() for name, weight in model.state_dict().items()}

    def batch(share: float) -> dict[str, torch.Tensor]:
        return {"tokens": inputs, "targets": inputs, "learned": torch.arange(16).view(2, 8) < 16 * share}

    nothing = step(batch(0.0), scale=1.0)
    assert (nothing.loss, nothing.norm) == (0.0, 0.0)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    for share in (0.3, 1.0, 0.6):
        outcome = step(batch(share), scale=0.1)
        assert 0 < outcome.loss < 10
        assert outcome.norm > 0


def test_flops_per_token_count_every_product() -> None:
    weights = sum(w.numel() for n, w in new_model().named_parameters() if w.dim() == 2 and n != "embed.weight")
    unembedding = CONFIG.vocab_size * CONFIG.d_model
    assert flops_per_token(CONFIG, 0) == 6 * (weights + unembedding)
    assert flops_per_token(CONFIG, 0, learned=0.5) == 6 * (weights + unembedding / 2)


def test_depth_sets_what_is_not_given() -> None:
    small, large = (PretrainSettings.model_validate({"depth": depth}) for depth in (2, 8))
    assert small.width < large.width
    assert small.tokens < large.tokens
    assert small.optimizer.muon_lr > large.optimizer.muon_lr
    assert PretrainSettings.model_validate({"depth": 8, "width": 64, "heads": 2}).config(100).d_model == 64
