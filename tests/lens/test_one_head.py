"""The parts of one head: each follows from the one before it, in models of every kind of attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cutaway.lens import Trace, one_head
from cutaway.model import ModelConfig, Transformer
from cutaway.model.config import Sparsity
from cutaway.runs import BadInput

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


def model(**changed: Any) -> Transformer:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"n_heads": 4, "n_kv_heads": 2, "d_head": 8, "d_model": 32, "d_mlp": 64, "n_layers": 2}
    made = Transformer(ModelConfig(vocab_size=50, context=32, **(shape | changed)))
    for parameter in made.parameters():
        # Gains other than 1, and scores far enough from 0 to be capped.
        torch.nn.init.normal_(parameter, 0.3, 0.5)
    return made.eval()


@pytest.mark.parametrize(
    ("changed", "compared"),
    [
        ({}, "hook_rot_q"),
        ({"qk_norm": "none", "positions": "learned"}, "hook_q"),
        ({"qk_norm": "head", "positions": "none"}, "q_norm.hook_out"),
        ({"qk_norm": "all", "positions": "none"}, "q_norm.hook_out"),
        ({"unrotated_layers": (1,)}, "q_norm.hook_out"),
        ({"attention_softcap": 2.0, "attention_scale": 5.0}, "hook_rot_q"),
        ({"sparsity": Sparsity("window", 3), "local_layers": (1,), "n_kv_heads": 1}, "hook_rot_q"),
    ],
)
def test_each_step_follows_from_the_one_before(changed: dict[str, Any], compared: str) -> None:
    made = model(**changed)
    config = made.config
    for head in range(config.n_heads):
        found = one_head(Trace(made, TOKENS), 1, head, 5)
        assert found.names[0] == f"blocks.1.attn.{compared}"
        scaled = found.k @ found.q * config.scale
        if config.attention_softcap:
            assert scaled.abs().max() > config.attention_softcap
            scaled = config.attention_softcap * torch.tanh(scaled / config.attention_softcap)
        seen = found.scores.isfinite()
        first = 3 if config.sparsity else 0
        assert seen.tolist() == [first <= key <= 5 for key in range(len(TOKENS))]
        torch.testing.assert_close(found.scores[seen], scaled[seen], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.pattern, found.scores.softmax(-1))
        torch.testing.assert_close(found.z, found.pattern @ found.v)


def test_they_are_the_traces_tensors_of_that_head() -> None:
    trace = Trace(model(), TOKENS)
    found = one_head(trace, 1, 3, 6)
    for part, name, place in zip(
        found.parts,
        ("hook_rot_q", "hook_rot_k", "hook_attn_scores", "hook_pattern", "hook_v", "hook_z"),
        ((6, 3), (slice(None), 1), (3, 6), (3, 6), (slice(None), 1), (6, 3)),
        strict=True,
    ):
        assert torch.equal(part, trace[f"blocks.1.attn.{name}"][(0, *place)])


@pytest.mark.parametrize(("block", "head", "query"), [(2, 0, 0), (0, 4, 0), (0, 0, 8)])
def test_what_is_not_there_is_told(block: int, head: int, query: int) -> None:
    with pytest.raises(BadInput):
        one_head(Trace(model(), TOKENS), block, head, query)
