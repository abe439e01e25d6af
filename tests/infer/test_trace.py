"""A trace runs the model when it is asked, keeps only what was asked for, and makes the changes it was given."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cutaway.infer.trace import Trace
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import BadInput

CONFIG = ModelConfig(vocab_size=97, n_layers=2, d_model=32, n_heads=4, n_kv_heads=2, d_head=8, d_mlp=48, context=64)
TOKENS = [5, 9, 2, 31, 7]


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(CONFIG).requires_grad_(False).eval()


@pytest.fixture
def passes(model: Transformer) -> list[int]:
    """One entry for each forward pass."""
    made: list[int] = []
    model.register_forward_hook(lambda *_: made.append(1))
    return made


def test_what_is_asked_for_costs_one_pass_and_is_kept(model: Transformer, passes: list[int]) -> None:
    with Trace(model, TOKENS) as trace:
        assert passes == []
        pattern = trace["blocks.1.attn.hook_pattern"]
        assert pattern.shape == (1, 4, 5, 5)
        assert trace["blocks.1.attn.hook_pattern"] is pattern
        assert len(passes) == 1
        some = trace.get(["blocks.*.hook_resid_post", "embed.hook_out"])
        assert list(some) == ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post", "hook_embed"]
        assert len(passes) == 2
        assert torch.equal(trace.logits, model(torch.tensor([TOKENS])))
    assert trace["embed.hook_out"] is not some["hook_embed"]
    assert torch.equal(trace["embed.hook_out"], some["hook_embed"])


def test_an_alias_is_the_same_tensor(model: Transformer) -> None:
    trace = Trace(model, TOKENS)
    assert trace["blocks.0.attn.q.hook_out"] is trace["blocks.0.attn.hook_q"]
    with pytest.raises(BadInput, match=r"the nearest name is blocks\.0\.attn\.hook_pattern"):
        trace["blocks.0.attn.pattern"]
    assert "ln_final.hook_scale" in trace.names.shapes


def test_changes_are_made_and_seen(model: Transformer) -> None:
    plain = Trace(model, TOKENS)
    changed = Trace(model, TOKENS, replace={"blocks.0.mlp.out.hook_in": torch.zeros_like})
    assert changed["blocks.0.mlp.hook_post"].abs().sum() == 0
    assert torch.equal(changed["blocks.0.hook_resid_post"], plain["blocks.0.hook_resid_mid"])
    assert not torch.equal(changed.logits, plain.logits)


@pytest.mark.parametrize("trained", [False, True])
def test_gradients_are_those_of_small_steps(model: Transformer, trained: bool) -> None:
    model.requires_grad_(trained)
    trace = Trace(model, TOKENS)

    def number(logits: Tensor) -> Tensor:
        return logits[0, -1].log_softmax(-1)[3]

    names = ["blocks.0.hook_resid_pre", "blocks.1.hook_mlp_out", "hook_embed", "blocks.1.attn.hook_pattern"]
    gradients = trace.gradient(names, of=number)
    for name in names:
        step = torch.randn_like(gradients[name]) * 1e-3
        there, back = (
            number(Trace(model, TOKENS, replace={name: lambda x, step=step: x + step}).logits),
            number(Trace(model, TOKENS, replace={name: lambda x, step=step: x - step}).logits),
        )
        torch.testing.assert_close((gradients[name] * step).sum(), (there - back) / 2, rtol=1e-2, atol=1e-7)
    assert all(weight.grad is None for weight in model.parameters())


def test_what_a_number_does_not_depend_on_has_no_gradient(model: Transformer) -> None:
    trace = Trace(model, TOKENS)
    gradients = trace.gradient("blocks.*.hook_mlp_out", of=lambda logits: logits[0, 1].sum())
    assert all(gradient[0, :2].abs().sum() > 0 and gradient[0, 2:].abs().sum() == 0 for gradient in gradients.values())
    constant: Any = trace.gradient("hook_embed", of=lambda logits: torch.tensor(1.0))
    assert constant["hook_embed"].abs().sum() == 0
    with pytest.raises(BadInput, match="whole numbers"):
        trace.gradient("embed.hook_in", of=Tensor.sum)


def test_an_encoder_decoder_reads_a_source_and_a_target() -> None:
    torch.manual_seed(0)
    both = Transformer(ModelConfig(**{**vars(CONFIG), "kind": "encoder-decoder", "n_encoder_layers": 1}))
    trace = Trace(both, TOKENS, target=[1, 2])
    assert trace["blocks.0.cross_attn.hook_pattern"].shape == (1, 4, 2, 5)
    assert trace["encoder_blocks.0.attn.hook_pattern"].shape == (1, 4, 5, 5)
