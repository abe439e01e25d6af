"""What is told of a pass through depth, and what becomes of it without some blocks."""

from __future__ import annotations

import pytest
import torch

from cutaway.lens import Trace, logit_lens, through_depth, without_blocks
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import BadInput

TOKENS = [3, 14, 15, 92, 65]


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(ModelConfig.from_depth(3, 128, context=64)).eval()


def test_each_stage_is_the_logit_lens(model: Transformer) -> None:
    trace = Trace(model, TOKENS)
    answers = trace.logits[0].argmax(-1)
    stages = list(through_depth(trace, answers))
    assert [stage.name for stage in stages] == [
        "blocks.0.hook_resid_pre",
        *(f"blocks.{i}.hook_resid_post" for i in range(3)),
    ]
    for position in range(len(TOKENS)):
        lens = logit_lens(trace, position)
        for stage, shares in zip(stages, lens, strict=True):
            assert int(stage.likeliest[position]) == int(shares.argmax())
            assert float(stage.shares[position]) == pytest.approx(float(shares.max()), rel=1e-5)
            assert float(stage.answers[position]) == pytest.approx(float(shares[answers[position]]), rel=1e-5)
    assert torch.allclose(stages[2].norms, trace["blocks.1.hook_resid_post"][0].norm(dim=-1))


def test_a_block_that_is_left_out_changes_nothing_in_the_stream(model: Transformer) -> None:
    trace = Trace(model, TOKENS, replace=without_blocks(3, [1]))
    assert torch.equal(trace["blocks.1.hook_resid_post"], trace["blocks.1.hook_resid_pre"])
    # The same as a model that never had it.
    shorter = Transformer(ModelConfig.from_depth(3, 128, context=64)).eval()
    shorter.load_state_dict(model.state_dict())
    del shorter.blocks[1]
    with torch.no_grad():
        assert torch.allclose(trace.logits, shorter(torch.tensor([TOKENS])), atol=1e-5)


def test_blocks_there_are_not(model: Transformer) -> None:
    with pytest.raises(BadInput, match="there is no block 3 to leave out; blocks go from 0 to 2"):
        without_blocks(3, [0, 3])
