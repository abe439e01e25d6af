"""Steps with the cache and without it: the same tokens, and what the cache holds."""

from __future__ import annotations

import torch

from cutaway.infer.timed import timed_steps
from cutaway.model import ModelConfig, Transformer


def test_both_ways_write_the_same() -> None:
    torch.manual_seed(0)
    config = ModelConfig.from_depth(2, 128, context=32)
    model = Transformer(config).eval()
    tokens = [3, 14, 15, 92, 65]
    steps = list(timed_steps(model, tokens, 6))
    written = list(tokens)
    for step in steps:
        with torch.no_grad():
            assert step.token == int(model(torch.tensor([written]))[0, -1].argmax())
        assert step.read == len(written)
        assert step.cache_bytes == 4 * 2 * 2 * config.n_kv_heads * config.d_head * len(written)
        written.append(step.token)
    assert all(step.same and step.cached > 0 and step.recomputed > 0 for step in steps)
    assert len(steps) == 6


def test_the_context_ends_it() -> None:
    torch.manual_seed(0)
    model = Transformer(ModelConfig.from_depth(2, 128, context=8)).eval()
    assert len(list(timed_steps(model, [1] * 6, 100))) == 3
    assert len(list(timed_steps(model, [1] * 8, 100))) == 1
