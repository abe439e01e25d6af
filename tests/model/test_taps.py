"""Taps in every family: what is named can be read and replaced, forward and backward, and nothing else is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cutaway.model import ModelConfig, TapNames, Taps, Transformer, attach, load_model, tap_names
from cutaway.runs import BadInput

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

DECODER = ModelConfig(vocab_size=97, n_layers=2, d_model=32, n_heads=4, n_kv_heads=2, d_head=8, d_mlp=48, context=64)
FAMILIES = ("gpt2", "gpt_neox", "gpt_neox-serial", "bloom", "llama", "llama-biased", "mistral", "mixtral", "qwen2",
            "qwen2-window", "qwen3", "qwen3_moe", "smollm3", "phi3", "gemma2", "gemma3", "olmo2", "bert", "bert-body",
            "roberta", "modernbert", "t5", "t5-1.1", "bart", "marian")  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, load_module: Callable[[Path], ModuleType]
) -> Transformer:
    """A small model of the family with random weights, opened from a directory."""
    directory = tmp_path_factory.mktemp(request.param)
    load_module(Path(__file__).with_name("zoo.py")).build(request.param).save_pretrained(directory)
    return load_model(directory)


def run(model: Transformer, taps: Any = None) -> Tensor:
    read = torch.randint(3, 97, (2, 7), generator=torch.Generator().manual_seed(0))
    target = read.flip(0) if model.encoder else None
    return model(read, target, **({"tap": taps} if taps else {}))


def close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-4 * b.abs().max())


def whole(name: str) -> bool:
    return name.endswith(("embed.hook_in", "expert_indices"))


def test_every_name_is_read_with_the_shape_that_is_told(model: Transformer) -> None:
    seen: dict[str, Tensor] = {}
    names = tap_names(model.config)
    out = run(model, attach(model.config, {name: lambda x, name=name: seen.update({name: x}) for name in names.shapes}))
    assert {name: tuple(x.shape) for name, x in seen.items()} == names.shapes
    # With everything asked for, attention is worked out step by step: its result is that of the fused one.
    assert close(out, run(model))
    patterns = [x for name, x in seen.items() if name.endswith("hook_pattern")]
    assert len(patterns) >= model.config.n_layers
    assert all(torch.allclose(x.sum(-1), torch.ones(())) for x in patterns)


def test_every_name_is_replaced(model: Transformer) -> None:
    plain = run(model)
    names = tap_names(model.config)
    assert close(run(model, attach(model.config, dict.fromkeys(names.shapes, torch.clone))), plain)
    without_effect = [
        name
        for name in names.shapes
        if not whole(name)
        and torch.equal(plain, run(model, attach(model.config, {name: lambda x: torch.full_like(x, 0.7)})))
    ]
    assert without_effect == []


def test_gradients_arrive_and_are_replaced(model: Transformer) -> None:
    # The weights of a model that was opened are not trained, and yet gradients reach every tensor.
    names = [name for name in tap_names(model.config).shapes if not whole(name)]
    for some in (names[::2], names[1::2]):
        arrived: dict[str, Tensor] = {}

        def note(x: Tensor, name: str, arrived: dict[str, Tensor] = arrived) -> None:
            arrived[name] = x

        taps = attach(model.config, backward={name: lambda x, name=name: note(x, name) for name in some})
        run(model, taps).square().sum().backward()
        # What nobody reads when each head has an input of its own.
        bypassed = (".ln1.hook_", ".attn.hook_in", ".attn.q.hook_in", ".attn.k.hook_in", ".attn.v.hook_in")
        assert [name for name in some if name not in arrived and not any(part in name for part in bypassed)] == []
    place, before = "blocks.1.hook_mlp_out", "blocks.1.mlp.hook_out"
    seen: list[Tensor] = []
    for change in (None, torch.zeros_like, lambda g: 2 * g):
        backward: dict[str, Any] = {before: seen.append}
        run(
            model, attach(model.config, backward=backward | ({place: change} if change else {}))
        ).square().sum().backward()
    assert seen[0].abs().sum() > 0
    assert seen[1].abs().sum() == 0
    assert close(seen[2], 2 * seen[0])


def test_no_pattern_is_made_unasked(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    fused = F.scaled_dot_product_attention

    def counted(q: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        calls.append(tuple(q.shape))
        return fused(q, *args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    config = model.config
    layers = config.n_layers * (2 if model.encoder else 1) + config.n_encoder_layers
    run(model)
    run(model, attach(config, {"blocks.*.hook_resid_post": torch.clone, "blocks.1.attn.hook_z": torch.clone}))
    # Capped scores have no fused attention to go into.
    assert len(calls) == (0 if config.attention_softcap else 2 * layers)
    calls.clear()
    run(model, attach(config, {"blocks.1.attn.hook_pattern": torch.clone}))
    assert len(calls) == (0 if config.attention_softcap else layers - 1)


def test_other_names_mean_the_same_tensors(model: Transformer) -> None:
    names = tap_names(model.config)
    assert not set(names.aliases) & set(names.shapes)
    assert set(names.aliases.values()) <= set(names.shapes)
    encoder = "encoder_blocks" if model.encoder else "blocks"
    assert names.one(f"{encoder}.1.hook_in") in ("encoder.blocks.1.hook_resid_pre", "blocks.1.hook_resid_pre")
    if model.encoder:
        assert names.one("decoder_blocks.1.ln2.hook_scale") == "blocks.1.ln_cross.hook_scale"
        assert names.one("decoder_blocks.1.self_attn.q.hook_out") == "blocks.1.attn.hook_q"


def names_of(**changes: Any) -> TapNames:
    return tap_names(ModelConfig(**{**vars(DECODER), **changes}))


def test_a_gate_changes_what_in_means() -> None:
    assert names_of().one("blocks.0.mlp.in.hook_out") == "blocks.0.mlp.hook_pre_linear"
    assert names_of(gated=False).one("blocks.0.mlp.in.hook_out") == "blocks.0.mlp.hook_pre"


def test_a_pattern_names_many() -> None:
    names = names_of()
    assert names.all("blocks.*.attn.hook_z") == ["blocks.0.attn.hook_z", "blocks.1.attn.hook_z"]
    assert names.all(["blocks.*.attn.q.hook_out", "blocks.0.attn.hook_q"]) == names.all("blocks.*.attn.hook_q")
    assert set(names.all("*")) == set(names.shapes)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("blocks.0.attn.hook_patern", "blocks.0.attn.hook_pattern"),
        ("blocks.7.hook_resid_pre", r"blocks\.[01]\.hook_resid_pre"),
        ("blocks.0.attn.q.hook_ot", "blocks.0.attn.q.hook_out"),
        ("blocks.*.attn.hook_patern", "embed.hook_in"),
    ],
)
def test_a_name_that_no_tensor_has_is_refused_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(BadInput, match=near) as caught:
        attach(DECODER, {wrong: torch.clone})
    assert "\n" not in str(caught.value)


def test_changes_follow_one_another() -> None:
    torch.manual_seed(0)
    model = Transformer(DECODER)
    tokens = torch.randint(0, 97, (1, 5))
    place, seen = "blocks.0.hook_mlp_out", []
    twice = attach(
        DECODER, {place: [lambda x: 2 * x, seen.append, lambda x: x / 2], "blocks.0.mlp.hook_out": seen.append}
    )
    assert close(model(tokens, tap=twice), model(tokens))
    assert torch.equal(seen[1], 2 * seen[0])


def test_a_head_taken_away_leaves_what_the_others_write() -> None:
    torch.manual_seed(0)
    model = Transformer(DECODER).requires_grad_(False)
    tokens = torch.randint(0, 97, (2, 9))
    found: dict[str, Tensor] = {}

    def without(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, :, 1] = 0
        return x

    for name in ("hook_z", "hook_result"):
        found[name] = model(tokens, tap=attach(DECODER, {f"blocks.0.attn.{name}": without}))
    assert close(found["hook_z"], found["hook_result"])
    assert not close(found["hook_z"], model(tokens))


def test_one_head_reads_an_input_of_its_own() -> None:
    torch.manual_seed(0)
    model = Transformer(DECODER).requires_grad_(False)
    tokens = torch.randint(0, 97, (1, 6))
    seen: dict[str, list[Tensor]] = {"q": [], "k": [], "v": []}

    def other(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, :, 1] = x[:, :, 1].flip(-1)
        return x

    look = {f"blocks.1.attn.hook_{kind}": some.append for kind, some in seen.items()}
    for changes in ({}, {"blocks.1.hook_q_input": other}, {"blocks.1.hook_attn_in": other}):
        model(tokens, tap=attach(DECODER, look | changes))
    changed = {
        kind: [[head for head in range(x.shape[2]) if not close(x[:, :, head], some[0][:, :, head])] for x in some[1:]]
        for kind, some in seen.items()
    }
    assert changed == {"q": [[1], [1]], "k": [[], [1]], "v": [[], [1]]}


def test_untapped_is_one_graph() -> None:
    torch.manual_seed(0)
    model = Transformer(DECODER).requires_grad_(False)
    tokens = torch.randint(0, 97, (1, 9))
    explained = torch._dynamo.explain(model)(tokens)
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert close(compiled(tokens), model(tokens))
    # One that changes nothing leaves the same operations.
    assert torch.equal(model(tokens, tap=Taps()), model(tokens))
