"""The bits that a model needs for tokens, with all that stands before them and with less."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from cutaway.lens import surprise, surprise_within
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import BadInput

TOKENS = [3, 14, 15, 92, 65, 35, 89, 79]


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(ModelConfig.from_depth(2, 128, context=64)).eval()


def test_the_mean_is_the_loss(model: Transformer) -> None:
    with torch.no_grad():
        loss = F.cross_entropy(model(torch.tensor([TOKENS]))[0, :-1], torch.tensor(TOKENS[1:]))
    assert float(surprise(model, TOKENS).mean()) * 0.6931472 == pytest.approx(float(loss), rel=1e-5)


def test_what_lies_outside_of_the_window_has_no_part(model: Transformer) -> None:
    within = surprise_within(model, TOKENS, 3, 4)
    alone = [float(surprise(model, TOKENS[end - 3 : end + 1])[-1]) for end in range(4, 8)]
    assert within.tolist() == pytest.approx(alone, rel=1e-4)
    other = [99, *TOKENS[1:]]
    assert torch.equal(surprise_within(model, other, 3, 4), within)
    # With all that there is before the last, it is as in the whole text.
    assert float(surprise_within(model, TOKENS, 7, 1)) == pytest.approx(float(surprise(model, TOKENS)[-1]), rel=1e-4)


def test_too_few_tokens(model: Transformer) -> None:
    with pytest.raises(BadInput, match="of 8 tokens, the last 4 cannot each be read with 5 before them"):
        surprise_within(model, TOKENS, 5, 4)
