"""Muon and AdamW against PyTorch's own."""

from __future__ import annotations

import torch

from cutaway.model import ModelConfig, Transformer
from cutaway.train.optimizer import Optimizer, OptimizerSettings, StackedMuon, orthogonalize

CONFIG = ModelConfig(vocab_size=50, n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=64, context=32)


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 40, 20), (2, 20, 40), (1, 30, 30)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert values.min() > 0.3
        assert values.max() < 1.3


def test_muon_equals_pytorchs_step_by_step() -> None:
    torch.manual_seed(0)
    shapes = [(24, 16), (24, 16), (16, 32), (16, 16)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(weight.detach().clone()) for weight in ours]
    muon = StackedMuon(ours, momentum=0.95, weight_decay=0.1)
    reference = torch.optim.Muon(theirs, lr=0.02, momentum=0.95, weight_decay=0.1, nesterov=True)
    for _ in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        muon.step(0.02)
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        # PyTorch iterates in bfloat16 and we in float32, so only the direction and size agree, not every digit.
        assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.9999
        assert (a - b).abs().max() < 5e-3


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
