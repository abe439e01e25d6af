"""Taps beside TransformerLens's bridge on the same random weights: names, shapes, values, and heads taken away."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from cutaway.infer.trace import Trace
from cutaway.model import Transformer, attach, load_model, tap_names

pytest.importorskip("transformer_lens")
from tokenizers import Tokenizer, models
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer, PreTrainedTokenizerFast

WITH_HEADS_INPUTS = ("use_attn_result", "use_split_qkv_input", "use_hook_mlp_in")
WITH_ONE_INPUT = ("use_attn_in",)
FAMILIES = ("gpt2", "llama", "llama3", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gpt_neox", "olmo2")
# The input of their module of angles, of which it takes no more than the type.
NOT_OURS = {"rotary_emb.hook_in"}


@pytest.fixture(scope="module", params=FAMILIES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, load_module: Callable[[Path], ModuleType]
) -> tuple[Transformer, Any]:
    """Our model, and theirs of the same weights."""
    zoo = load_module(Path(__file__).parents[1] / "model" / "zoo.py")
    directory = tmp_path_factory.mktemp(request.param)
    theirs = zoo.build(request.param)
    theirs.config.architectures = [type(theirs).__name__]
    theirs.save_pretrained(directory)
    # The bridge wants a tokenizer; nothing is tokenized.
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(zoo.V)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="w1", eos_token="w2", pad_token="w0").save_pretrained(
        directory
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = AutoTokenizer.from_pretrained(directory)
        bridge = TransformerBridge.boot_transformers(request.param, hf_model=theirs, tokenizer=tokenizer)
    return load_model(directory), bridge


def tokens_of(model: Transformer) -> Tensor:
    return torch.randint(3, model.config.vocab_size, (2, 13), generator=torch.Generator().manual_seed(0))


def switch(bridge: Any, wanted: tuple[str, ...]) -> None:
    for name in (*WITH_HEADS_INPUTS, *WITH_ONE_INPUT):
        getattr(bridge, f"set_{name}")(False)
    for name in wanted:
        getattr(bridge, f"set_{name}")(True)


def distance(ours: Tensor, theirs: Tensor) -> float:
    # What may not be read has a score of minus infinity here, and of the least number there.
    ours, theirs = (x.float().clamp(min=-1e6) for x in (ours, theirs))
    return float((ours - theirs).abs().max())


@pytest.mark.parametrize("wanted", [(), WITH_HEADS_INPUTS, WITH_ONE_INPUT], ids=["plain", "split", "one-input"])
def test_names_shapes_and_values_are_theirs(pair: tuple[Transformer, Any], wanted: tuple[str, ...]) -> None:
    model, bridge = pair
    tokens = tokens_of(model)
    switch(bridge, wanted)
    theirs = bridge.run_with_cache(tokens)[1]
    names = tap_names(model.config)
    assert {name for name in theirs if name not in names.shapes and name not in names.aliases} <= NOT_OURS
    asked = sorted({names.one(name) for name in theirs if name not in NOT_OURS})
    ours = Trace(model, tokens).get(asked)
    for name in set(theirs) - NOT_OURS:
        mine = ours[names.one(name)]
        assert mine.shape == theirs[name].shape, name
        assert distance(mine, theirs[name]) <= 1e-4, name
    print(
        f"\n{len(theirs)} names, worst {max(distance(ours[names.one(n)], theirs[n]) for n in set(theirs) - NOT_OURS)}"
    )


def test_they_know_every_name_of_ours(pair: tuple[Transformer, Any]) -> None:
    model, bridge = pair
    switch(bridge, ())
    theirs = {name for block in bridge.hook_dict.items() for name in block[:1]}
    ours = set(tap_names(model.config).shapes)
    assert ours - theirs == set()


@pytest.mark.parametrize("place", ["hook_z", "hook_v", "hook_pattern", "hook_result"])
def test_a_head_taken_away_is_missed_equally(pair: tuple[Transformer, Any], place: str) -> None:
    model, bridge = pair
    tokens = tokens_of(model)
    switch(bridge, ("use_attn_result",) if place == "hook_result" else ())
    plain = model(tokens)

    def without(x: Tensor, hook: object = None, *, head: int) -> Tensor:
        x = x.clone()
        x.select(1 if place == "hook_pattern" else 2, head).zero_()
        return x

    worst = 0.0
    for layer in range(model.config.n_layers):
        heads = model.config.n_kv_heads if place == "hook_v" else model.config.n_heads
        for head in range(heads):
            name, change = f"blocks.{layer}.attn.{place}", partial(without, head=head)
            ours = model(tokens, tap=attach(model.config, {name: change}))
            with torch.no_grad():
                theirs = bridge.run_with_hooks(tokens, fwd_hooks=[(name, change)])
            worst = max(worst, distance(ours, theirs))
            assert distance(ours, plain) > 1e-3
    print(f"\nworst {worst}")
    assert worst <= 1e-4
