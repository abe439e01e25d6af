"""Muon and AdamW against PyTorch's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from cutaway.model import ModelConfig, Transformer
from cutaway.train.optimizer import POLYNOMIALS, Optimizer, OptimizerSettings, StackedMuon, orthogonalize

CONFIG = ModelConfig(vocab_size=50, n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=64, context=32)


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 40, 20), (2, 20, 40), (1, 30, 30)):
        u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
        for smallest in (-2.0, -5.0):
            before = torch.logspace(0, smallest, v.shape[-2])
            x = orthogonalize((u * before) @ v)
            shares = before / before.norm()
            assert (x - (u * polynomials(shares)) @ v).abs().max() < 1e-4
            assert polynomials(shares).max() < 1.2
            # From 0.003 of the Frobenius norm up, all come near one.
            assert polynomials(shares[shares > 0.003]).min() > 0.8


def polynomials(values: torch.Tensor) -> torch.Tensor:
    """What the composed polynomials make of single values, in double precision."""
    x = values.double()
    for a, b, c in POLYNOMIALS:
        x = a * x + b * x**3 + c * x**5
    return x.float()


def through_singular_values(matrix: torch.Tensor, *args: object) -> torch.Tensor:
    """What `orthogonalize` is to give, by way of the singular values themselves."""
    u, values, v = torch.linalg.svd(matrix.double() / matrix.double().norm(), full_matrices=False)
    return ((u * polynomials(values).double()) @ v).float()


def beside_pytorchs_muon(steps: int, *, momentum: float) -> Iterator[list[tuple[nn.Parameter, nn.Parameter]]]:
    """Our weights, each beside PyTorch's, after each step on the same random gradients."""
    ours = [nn.Parameter(torch.randn(shape)) for shape in [(24, 16), (24, 16), (16, 32), (16, 16)]]
    theirs = [nn.Parameter(weight.detach().clone()) for weight in ours]
    muon = StackedMuon({str(i): weight for i, weight in enumerate(ours)}, momentum=momentum, weight_decay=0.1)
    reference = torch.optim.Muon(theirs, lr=0.02, momentum=momentum, weight_decay=0.1, nesterov=True)
    for _ in range(steps):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        muon.step(0.02)
        reference.step()
        yield list(zip(ours, theirs, strict=True))


def test_muon_equals_pytorchs_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # PyTorch's own orthogonalisation is another, in bfloat16; all the rest of its update is held to the last digits.
    monkeypatch.setattr("torch.optim._muon._zeropower_via_newtonschulz", through_singular_values)
    torch.manual_seed(0)
    for step, pairs in enumerate(beside_pytorchs_muon(20, momentum=0.9)):
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5, msg=lambda text, n=step: f"step {n}: {text}")


def test_adamw_equals_pytorchs_at_every_step() -> None:
    torch.manual_seed(0)
    ours, theirs = Transformer(CONFIG), Transformer(CONFIG)
    theirs.load_state_dict(ours.state_dict())
    settings = OptimizerSettings(kind="adamw", adamw_lr=0.01, weight_decay=0.1)
    optimizer = Optimizer(ours, settings)
    reference = torch.optim.AdamW(
        [
            {"params": [weight for weight in theirs.parameters() if weight.dim() > 1], "weight_decay": 0.1},
            {"params": [weight for weight in theirs.parameters() if weight.dim() < 2], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),
        eps=1e-10,
        foreach=False,
    )
    for step in range(20):
        scale = 1 - step / 20
        tokens = torch.randint(0, 50, (2, 9))
        for model in (ours, theirs):
            logits = model(tokens[:, :-1]).flatten(0, 1)
            nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()).backward()
        # The same gradient for both, or the last digit of one would grow into a difference of the models.
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert b.grad is not None
            a.grad = b.grad.clone()
        optimizer.step(scale)
        for group in reference.param_groups:
            group["lr"] = 0.01 * scale
        reference.step()
        for model in (ours, theirs):
            model.zero_grad()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=lambda text, n=step: f"step {n}: {text}")


def test_muon_moves_where_pytorchs_does() -> None:
    torch.manual_seed(0)
    *_, pairs = beside_pytorchs_muon(5, momentum=0.95)
    for a, b in pairs:
        # PyTorch's polynomials are others and it iterates in bfloat16, so only direction and size agree.
        assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.999
        assert (a - b).abs().max() < 2e-2


def test_every_weight_is_updated_once_and_the_state_comes_back() -> None:
    torch.manual_seed(0)
    model = Transformer(CONFIG)
    optimizer = Optimizer(model, OptimizerSettings())
    tokens = torch.randint(0, 50, (2, 8))

    def step(model: Transformer, optimizer: Optimizer) -> None:
        model(tokens).logsumexp(-1).mean().backward()
        optimizer.step(1.0)
        optimizer.zero_grad()

    before = [weight.detach().clone() for weight in model.parameters()]
    step(model, optimizer)
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(weight.grad is None for weight in model.parameters())

    again = Transformer(CONFIG)
    again.load_state_dict(model.state_dict())
    other = Optimizer(again, OptimizerSettings())
    other.load_state_dict({name: value.clone() for name, value in optimizer.state_dict().items()})
    step(model, optimizer)
    step(again, other)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
