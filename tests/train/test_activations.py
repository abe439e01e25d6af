"""What is counted as kept for the way back, against what autograd does keep, to the byte."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cutaway.model import ModelConfig, Transformer
from cutaway.model.config import Experts, Sparsity
from cutaway.train.activations import kept_of
from cutaway.train.objectives import LanguageModelling

BASE = ModelConfig(vocab_size=50, n_layers=2, d_model=32, n_heads=4, n_kv_heads=2, d_head=8, d_mlp=80, context=64)
GPT2: dict[str, Any] = {
    "norm": "layer", "norm_bias": True, "positions": "learned", "qk_norm": "none", "qkv_bias": True,
    "output_bias": True, "gated": False, "activation": "gelu_tanh", "mlp_bias": True, "n_kv_heads": 4,
}  # fmt: skip
CONFIGS = {
    "the default": BASE,
    "GPT-2": replace(BASE, **GPT2),
    "relu": replace(BASE, gated=False, activation="relu"),
    "gated relu": replace(BASE, activation="relu"),
    "quick gelu": replace(BASE, gated=False, activation="quick_gelu"),
    "norms after": replace(BASE, norm_place="after", qk_norm="all"),
    "norms around": replace(BASE, norm_place="around", embedding_norm=True),
    "norms of sums": replace(BASE, norm_place="after_sum", norm="layer", norm_bias=True, final_norm=False),
    "parallel": replace(BASE, parallel=True),
    "parallel, centred": replace(BASE, parallel=True, norm="layer"),
    "no first norm": replace(BASE, first_norm=False),
    "partly turned": replace(BASE, rotary_share=0.5, qk_norm="none"),
    "a window": replace(BASE, sparsity=Sparsity("window", 4), local_layers=(0,)),
    "a window that hides nothing": replace(BASE, sparsity=Sparsity("window", 99), local_layers=(0,)),
    "blocks": replace(BASE, sparsity=Sparsity("blocks", 4, 1), local_layers=(1,)),
    "capped": replace(BASE, attention_softcap=50.0, final_softcap=30.0),
    "alibi": replace(BASE, positions="alibi"),
    "T5's distances": replace(BASE, positions="relative"),
    "an encoder": replace(BASE, kind="encoder", head="none"),
    "BERT": replace(BASE, kind="encoder", head="masked", activation="gelu", gated=False),
    "an encoder–decoder": replace(BASE, kind="encoder-decoder", n_encoder_layers=1),
}
ROWS, LENGTH = 3, 16


def kept_by_autograd(config: ModelConfig, dtype: torch.dtype) -> int:
    """Bytes of all storages that a loss holds on to, but for the weights and their copies in `dtype`."""
    torch.manual_seed(0)
    model = Transformer(config).train()
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    shapes = {shape for weight in matrices for shape in (weight.shape, weight.mT.shape)}
    held: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        held.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    tokens = torch.randint(0, config.vocab_size, (ROWS, LENGTH))
    objective = LanguageModelling()
    learned = torch.ones_like(tokens, dtype=torch.bool)
    ready = objective.ready({"tokens": tokens, "targets": tokens.clone(), "learned": learned})
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16),
    ):
        if config.kind == "encoder-decoder":
            hidden = model.hidden(tokens, memory=model.encode(tokens.clone())).flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(model.logits(hidden).float(), ready["targets"], reduction="sum")
        elif config.head == "none":
            loss = model(tokens).sum()
        else:
            loss = objective.total(model, ready)
    assert loss.requires_grad
    return sum(
        tensor.untyped_storage().nbytes()
        for at, tensor in held.items()
        if at not in weights and not (tensor.dtype == torch.bfloat16 and tensor.shape in shapes) and tensor.dim() > 0
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_to_the_byte(name: str, dtype: torch.dtype) -> None:
    kept = kept_of(CONFIGS[name], ROWS, LENGTH, compute=dtype.itemsize, compiled=False)
    counted = sum(kept.blocks) + kept.ends + kept.logits
    slack = 128  # learned positions are looked up by one row of integers
    assert counted == pytest.approx(kept_by_autograd(CONFIGS[name], dtype), abs=slack, rel=0)


def test_a_mixture_of_experts() -> None:
    config = replace(BASE, experts=Experts(4, 2, 24), expert_layers=(0, 1))
    kept = kept_of(config, ROWS, LENGTH, compute=4, compiled=False)
    counted = sum(kept.blocks) + kept.ends + kept.logits
    assert counted == pytest.approx(kept_by_autograd(config, torch.float32), rel=1e-3)


def test_what_is_kept_grows_with_rows_and_is_less_when_compiled_or_worked_out_again() -> None:
    one, four = (kept_of(BASE, rows, LENGTH, compute=2, compiled=False) for rows in (1, 4))
    assert 4 * sum(one.blocks) == sum(four.blocks)
    compiled = kept_of(BASE, 4, LENGTH, compute=2, compiled=True)
    assert sum(compiled.blocks) < sum(four.blocks)
    assert compiled.logits == four.logits / 2
    assert four.all_blocks(recompute=True) == 2 * 4 * LENGTH * BASE.d_model * 4
    assert four.all_blocks(recompute=False) == sum(four.blocks)
