"""The model is read to learn what a transformer is: the way from config.json to a Llama's logits must stay short."""

from __future__ import annotations

import inspect

from cutaway.model import positions, reach
from cutaway.model.attention import Attention
from cutaway.model.block import Block
from cutaway.model.families import llama, olmo2
from cutaway.model.mlp import MLP
from cutaway.model.norms import Norm
from cutaway.model.transformer import Stack, Transformer

A_LLAMA = [
    llama.read,
    llama.names,
    Transformer.__init__,
    Transformer.forward,
    Transformer.logits,
    Stack,
    Block,
    Norm,
    Attention,
    MLP,
    positions.rotation,
    positions.rotate,
    reach.causal,
]


def test_a_llama_is_followed_from_its_configuration_to_its_logits_in_under_400_lines() -> None:
    assert sum(len(inspect.getsourcelines(part)[0]) for part in A_LLAMA) < 400


def test_a_family_is_a_small_file() -> None:
    assert len(inspect.getsource(olmo2).splitlines()) < 50
