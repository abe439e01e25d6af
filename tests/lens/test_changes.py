"""Changes that can be written down do what the same changes by hand do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cutaway.lens import Clamp, Swap, Trace, changed_by, logit_lens
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import BadInput

CONFIG = ModelConfig(vocab_size=97, n_layers=3, d_model=32, n_heads=4, n_kv_heads=2, d_head=8, d_mlp=48, context=64)
TOKENS, OTHER = [5, 9, 2, 31, 7], [5, 9, 44, 31, 7]


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(CONFIG).requires_grad_(False).eval()


def test_an_ablated_head_writes_nothing(model: Transformer) -> None:
    """The oracle is the weights: a model whose output matrix has no columns for the head."""
    changed = Trace(model, TOKENS, replace=changed_by(model, [Clamp("blocks.1.attn.hook_z", (None, 3))])).logits
    before = model(torch.tensor([TOKENS]))
    model.blocks[1].attn.o.weight[:, 3 * 8 : 4 * 8] = 0  # type: ignore[index, union-attr, operator]
    assert torch.allclose(changed, model(torch.tensor([TOKENS])), atol=1e-6)
    assert not torch.allclose(changed, before, atol=1e-4)


def test_a_score_of_minus_infinity_takes_a_key_away(model: Transformer) -> None:
    trace = Trace(model, TOKENS, replace=changed_by(model, [Clamp("blocks.0.attn.hook_attn_scores", (2, 4, 1), -1e9)]))
    pattern, usual = trace["blocks.0.attn.hook_pattern"], Trace(model, TOKENS)["blocks.0.attn.hook_pattern"]
    assert pattern[0, 2, 4, 1] == 0
    rest = usual[0, 2, 4].clone()
    rest[1] = 0
    assert torch.allclose(pattern[0, 2, 4], rest / rest.sum(), atol=1e-6)
    assert torch.equal(pattern[0, :2], usual[0, :2])


def test_all_of_another_texts_stream_gives_its_answer(model: Transformer) -> None:
    swapped = Trace(model, TOKENS, replace=changed_by(model, [Swap("blocks.1.hook_resid_post", (), tuple(OTHER))]))
    assert torch.equal(swapped.logits, model(torch.tensor([OTHER])))


def test_one_position_of_it_changes_only_what_comes_after(model: Transformer) -> None:
    edits = [Swap("blocks.0.hook_resid_post", (2,), tuple(OTHER)), Clamp("blocks.2.mlp.hook_post", (4, 0), 2.0)]
    found = Trace(model, TOKENS, replace=changed_by(model, edits)).logits[0]
    plain, other = (model(torch.tensor([tokens]))[0] for tokens in (TOKENS, OTHER))
    assert torch.allclose(found[:2], plain[:2], atol=1e-6)
    # Up to the swap both texts are the same, so its stream there is all that the third position sees of the other.
    assert torch.allclose(found[2], other[2], atol=1e-6)
    assert not torch.allclose(found[3], plain[3], atol=1e-4)
    assert not torch.allclose(found[4], plain[4], atol=1e-4)


def test_changes_of_one_tensor_are_made_in_order(model: Transformer) -> None:
    edits = [Clamp("hook_embed", (0,), 3.0), Clamp("hook_embed", (0, 1), 5.0)]
    embed = Trace(model, TOKENS, replace=changed_by(model, edits))["hook_embed"][0, 0]
    assert embed[:3].tolist() == [3.0, 5.0, 3.0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Clamp("blocks.7.hook_mlp_out"), "no tensor of this model is called blocks.7.hook_mlp_out"),
        (Clamp("blocks.0.attn.hook_pattern", (4,)), r"axis 0 goes from 0 to 3, not to 4"),
        (Clamp("blocks.0.hook_resid_pre", (0, 0, 0)), r"it has 2 axes, not 3"),
        (Swap("blocks.0.hook_resid_pre", (), (1, 2)), r"\[5, 32\] for this text and \[2, 32\] for the other"),
        (Swap("blocks.0.hook_resid_pre", (3,), (1, 2)), r"axis 0 goes from 0 to 1, not to 3"),
    ],
)
def test_what_cannot_be(model: Transformer, edit: Clamp | Swap, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        _ = Trace(model, TOKENS, replace=changed_by(model, [edit])).logits


def test_the_lens_ends_with_what_the_model_says(model: Transformer) -> None:
    trace = Trace(model, TOKENS)
    stages = logit_lens(trace, 3)
    assert stages.shape == (4, 97)
    assert torch.allclose(stages[-1], model(torch.tensor([TOKENS]))[0, 3].softmax(-1), atol=1e-6)
    assert torch.allclose(stages.sum(-1), torch.ones(4), atol=1e-5)


def test_a_stage_is_the_model_that_ends_there(model: Transformer) -> None:
    """The oracle is a model of so many blocks with the same weights."""
    stages = logit_lens(Trace(model, TOKENS), 4)
    for depth in (1, 2):
        short = Transformer(replace(CONFIG, n_layers=depth)).requires_grad_(False).eval()
        short.load_state_dict(model.state_dict(), strict=False)
        assert torch.allclose(stages[depth], short(torch.tensor([TOKENS]))[0, 4].softmax(-1), atol=1e-6)


def test_the_lens_needs_a_position_of_the_text(model: Transformer) -> None:
    with pytest.raises(BadInput, match="positions go from 0 to 4, not to 5"):
        logit_lens(Trace(model, TOKENS), 5)
