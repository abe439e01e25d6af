"""Training any module that maps tokens to logits: the same loss as the transformer's own objective, in the one loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cutaway.ladder.neural_ngram import NeuralNgram
from cutaway.ladder.recurrent_model import RecurrentModel
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import MetricsLog, SilentProgress
from cutaway.train import LoopSettings, train, unwatched
from cutaway.train.faults import first_not_finite
from cutaway.train.objectives import Batch, LanguageModelling
from cutaway.train.objectives.next_token import NextToken
from cutaway.train.optimizer import Optimizer, OptimizerSettings


def batch_of(tokens: torch.Tensor, learned: torch.Tensor | None = None) -> Batch:
    seen = tokens[:, :-1]
    return {
        "tokens": seen,
        "targets": tokens[:, 1:],
        "learned": torch.ones_like(seen, dtype=torch.bool) if learned is None else learned,
    }


@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("z_loss", [0.0, 0.1])
def test_a_transformers_loss_is_that_of_its_own_objective(some: bool, z_loss: float) -> None:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(31, 2, 16, 2, 1, 8, 32))
    learned = torch.rand(3, 12) < 0.4 if some else None
    batch = batch_of(torch.randint(0, 31, (3, 13)), learned)
    gradients = []
    for objective in (LanguageModelling(z_loss), NextToken(z_loss)):
        loss = objective.total(model, objective.ready(batch))
        gradients.append((loss, torch.autograd.grad(loss, list(model.parameters()))))
    assert NextToken().count(batch) == int(batch["learned"].sum())
    torch.testing.assert_close(gradients[0], gradients[1])


def test_operations_of_matrices_are_counted() -> None:
    model = NeuralNgram(10, 4, 5, 7)
    batch = batch_of(torch.randint(0, 10, (3, 13)))
    assert NextToken().flops(model, batch) == 6 * 36 * (15 * 7 + 7 * 10)


class Repeating:
    """Rows of a sequence that repeats after nine tokens."""

    def batch(self, step: int, size: int) -> Batch:
        starts = np.random.default_rng(step).integers(0, 9, size)
        return batch_of(torch.from_numpy((starts[:, None] + np.arange(33)) % 9))


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_recurrent_network_learns_in_the_loop_and_goes_on_to_the_bit(kind: str, tmp_path: Path) -> None:
    def trained(directory: Path, *stops: int) -> RecurrentModel:
        for tokens in (*stops, 40 * 256):
            torch.manual_seed(1)
            model = RecurrentModel(kind, 9, 8, 16)
            optimizer = OptimizerSettings(kind="adamw", adamw_lr=0.02)
            # A level rate, so that a shorter training is the beginning of the longer one.
            settings = LoopSettings(
                tokens=tokens, batch_tokens=256, row_length=32, optimizer=optimizer, decay=0, warmup=0,
                precision="float32", compile=False,
            )  # fmt: skip
            train(model, Repeating(), settings, directory, SilentProgress(), unwatched(), kind, NextToken())
        return model

    whole = trained(tmp_path / "whole")
    losses = [row["loss"] for row in MetricsLog.read(tmp_path / "whole" / "metrics.jsonl")]
    assert losses[0] == pytest.approx(np.log(9), rel=0.2)
    assert losses[-1] < 0.2
    parted = trained(tmp_path / "parted", 15 * 256)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parted.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_every_weight_of_the_ladders_models_goes_through_adamw(kind: str) -> None:
    settings = OptimizerSettings.model_validate({"kind": kind})
    for model in (RecurrentModel("lstm", 9, 8, 16, 2), NeuralNgram(9, 4, 8, 16, direct=True)):
        optimizer = Optimizer(model, settings)
        assert not optimizer.muon.stacks
        assert optimizer.rest.keys() == dict(model.named_parameters()).keys()
        assert optimizer.lr == settings.adamw_lr


def test_logits_that_are_not_finite_are_named() -> None:
    class Bad(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return (self.weight / 0).expand(*tokens.shape, 4)

    assert first_not_finite(Bad(), NextToken(), batch_of(torch.zeros(1, 5, dtype=torch.long))) == "logits"
