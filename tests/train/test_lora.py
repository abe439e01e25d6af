"""LoRA: what adapters compute, what trains, and that merging and taking away are exact."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from cutaway.model import ModelConfig, Taps, Transformer, load_model, save_model, tap_names
from cutaway.model.config import Experts
from cutaway.runs import BadInput
from cutaway.train.loop import set_dropout
from cutaway.train.lora import LoraSettings, adapters, add_lora, merge_lora, remove_lora
from cutaway.train.objectives import LanguageModelling
from cutaway.train.optimizer import Optimizer, OptimizerSettings
from cutaway.train.step import TrainStep

SHAPE = {"vocab_size": 61, "n_layers": 2, "d_model": 32, "n_heads": 4, "d_head": 8, "d_mlp": 48, "context": 32}
PLAIN = {"norm": "layer", "norm_bias": True, "qk_norm": "none", "qkv_bias": True, "output_bias": True, "gated": False}
MODELS = {
    "qwen3": ModelConfig(**SHAPE, n_kv_heads=2),
    "llama": ModelConfig(**SHAPE, n_kv_heads=2, family="llama", qk_norm="none", tied_embeddings=False),
    "gpt2": ModelConfig(**SHAPE, **PLAIN, n_kv_heads=4, family="gpt2", positions="learned", mlp_bias=True),
    "t5": ModelConfig(
        **SHAPE,
        n_kv_heads=4,
        n_encoder_layers=2,
        kind="encoder-decoder",
        family="t5",
        positions="relative",
        qk_norm="none",
        attention_scale=1.0,
    ),
    "mixtral": ModelConfig(
        **SHAPE, n_kv_heads=2, family="mixtral", qk_norm="none", experts=Experts(4, 2, 24), expert_layers=(0, 1)
    ),
}
TOKENS = torch.randint(0, 61, (2, 11), generator=torch.Generator().manual_seed(3))


def new_model(name: str = "qwen3") -> Transformer:
    torch.manual_seed(0)
    model = Transformer(MODELS[name])
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def stir(model: Transformer) -> None:
    """Adapters that do something."""
    generator = torch.Generator().manual_seed(5)
    for layer in adapters(model).values():
        layer.lora_B.data.normal_(std=0.1, generator=generator)


def logits(model: Transformer) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS, TOKENS.flip(1)) if model.encoder else model(TOKENS)


@pytest.fixture(params=list(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_new_adapters_change_nothing_and_can_be_taken_away(name: str) -> None:
    model, plain = new_model(name), new_model(name)
    add_lora(model, LoraSettings())
    assert torch.equal(logits(model), logits(plain))
    stir(model)
    assert (logits(model) - logits(plain)).abs().max() > 0.01
    remove_lora(model)
    before, after = dict(plain.named_parameters()), dict(model.named_parameters())
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(logits(model), logits(plain))


def test_an_adapter_is_a_product_of_two_thin_matrices_on_top(name: str) -> None:
    model, dense = new_model(name), new_model(name)
    add_lora(model, LoraSettings(rank=3, alpha=6))
    stir(model)
    for at, layer in adapters(model).items():
        # With the sums written out: W[i, j] + alpha / rank · Σ_r B[i, r] A[r, j].
        added = torch.einsum("ir,rj->ij", layer.lora_B.double(), layer.lora_A.double()) * 2
        weight = dense.get_parameter(f"{at}.weight")
        weight.data = (weight.double() + added).float()
    assert (logits(model) - logits(dense)).abs().max() < 1e-5 * logits(dense).abs().max()


def test_only_adapters_train_and_there_are_as_many_as_foretold() -> None:
    model = new_model("qwen3")
    plain = model.n_parameters()
    add_lora(model, LoraSettings(rank=4))
    trained = {key: weight for key, weight in model.named_parameters() if weight.requires_grad}
    assert all("lora_" in key for key in trained)
    # q, k, v, o, gate, up, down: rank · (in + out) each.
    a_block = (32 + 32) + (32 + 16) + (32 + 16) + (32 + 32) + 3 * (32 + 48)
    assert sum(weight.numel() for weight in trained.values()) == 2 * 4 * a_block == model.n_parameters() - plain


def test_targets_choose_matrices_wherever_they_are() -> None:
    model = new_model("t5")
    add_lora(model, LoraSettings(targets=("q", "gate")))
    per_block = {"attn.q", "cross_attn.q", "mlp.gate"}
    assert adapters(model).keys() == {
        *(f"blocks.{i}.{place}" for i in range(2) for place in per_block),
        *(f"encoder.blocks.{i}.{place}" for i in range(2) for place in per_block - {"cross_attn.q"}),
    }
    model = new_model("mixtral")
    add_lora(model, LoraSettings())
    assert {key.rpartition(".")[2] for key in adapters(model)} == {"q", "k", "v", "o"}


def test_a_target_that_the_model_lacks_is_named() -> None:
    with pytest.raises(BadInput, match=r"no matrix gate .*; its matrices are q, k, v, o, up, down"):
        add_lora(new_model("gpt2"), LoraSettings(targets=("gate",)))


def test_adapters_are_not_put_on_adapters() -> None:
    model = new_model()
    add_lora(model, LoraSettings())
    with pytest.raises(BadInput, match="already"):
        add_lora(model, LoraSettings())


def test_rank_stabilised_scaling() -> None:
    """Kalajdzievski (2023): alpha / √rank."""
    one, other = new_model(), new_model()
    add_lora(one, LoraSettings(rank=16, alpha=4))
    add_lora(other, LoraSettings(rank=16, alpha=4, rslora=True))
    assert {layer.scale for layer in adapters(one).values()} == {0.25}
    assert {layer.scale for layer in adapters(other).values()} == {1.0}


def test_merged_is_unmerged_and_plain(name: str, tmp_path: Path) -> None:
    model, plain = new_model(name), new_model(name)
    add_lora(model, LoraSettings())
    stir(model)
    unmerged, adapted = logits(model), adapters(model)
    read = {key: torch.randn(5, layer.base.in_features) for key, layer in adapted.items()}
    written = {key: layer(read[key]) for key, layer in adapted.items()}
    merge_lora(model)
    for key, out in written.items():
        assert (model.get_submodule(key)(read[key]) - out).abs().max() < 1e-6 * out.abs().max()
    # Rounding grows from layer to layer.
    assert (logits(model) - unmerged).abs().max() < 5e-6 * unmerged.abs().max()
    assert [(key, type(module)) for key, module in model.named_modules()] == [
        (key, type(module)) for key, module in plain.named_modules()
    ]
    assert not torch.equal(logits(model), logits(plain))
    save_model(model, tmp_path)
    assert torch.equal(logits(load_model(tmp_path)), logits(model))


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "t5"])
def test_every_tensor_inside_is_that_of_the_merged_model(name: str) -> None:
    """Also what each head alone writes or reads, which is worked out from the matrices."""
    model = new_model(name)
    add_lora(model, LoraSettings())
    stir(model)
    merged = copy.deepcopy(model)
    merge_lora(merged)
    assert any(key.endswith("hook_result") for key in tap_names(model.config).shapes)
    assert any(key.endswith("hook_q_input") for key in tap_names(model.config).shapes)
    ours, theirs = seen(model), seen(merged)
    assert ours.keys() == theirs.keys() == tap_names(model.config).shapes.keys()
    for key, tensor in ours.items():
        assert (tensor.float() - theirs[key].float()).abs().max() < 1e-4, key


def seen(model: Transformer) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}

    def keep(key: str):
        def keep_one(tensor: torch.Tensor) -> None:
            found[key] = tensor.nan_to_num(neginf=0)

        return [keep_one]

    taps = Taps({key: keep(key) for key in tap_names(model.config).shapes})
    with torch.no_grad():
        model(TOKENS, TOKENS if model.encoder else None, tap=taps)
    return found


def test_steps_move_the_adapters_alone() -> None:
    torch.manual_seed(1)
    model, plain = new_model(), new_model()
    add_lora(model, LoraSettings(dropout=0.1))
    step = TrainStep(
        model, LanguageModelling(), Optimizer(model, OptimizerSettings()), compiled=False, dtype=torch.float32
    )
    assert not step.optimizer.muon.stacks  # type: ignore[attr-defined]
    before = {key: layer.lora_A.detach().clone() for key, layer in adapters(model).items()}
    batch = {"tokens": TOKENS[:, :-1], "targets": TOKENS[:, 1:], "learned": torch.ones(2, 10, dtype=torch.bool)}
    losses = [step(batch, scale=1.0).loss for _ in range(12)]
    assert losses[-1] < losses[0] - 0.5
    assert all(not torch.equal(layer.lora_A, before[key]) for key, layer in adapters(model).items())
    assert all(layer.lora_B.abs().min() >= 0 and layer.lora_B.any() for layer in adapters(model).values())
    remove_lora(model)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_an_adapters_dropout_is_its_own_and_only_in_training() -> None:
    model = new_model()
    add_lora(model, LoraSettings(dropout=0.5))
    stir(model)
    set_dropout(model, 0.0)
    assert torch.equal(logits(model), logits(model))
    model.train()
    assert not torch.equal(logits(model), logits(model))
    # The frozen matrix reads all of its input: without what the adapter adds, nothing is left out.
    for layer in adapters(model).values():
        nn.init.zeros_(layer.lora_B)
    assert torch.equal(logits(model), logits(model))


def test_a_model_in_half_the_bits_gets_adapters_of_its_type() -> None:
    model = new_model().to(torch.bfloat16)
    add_lora(model, LoraSettings())
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert logits(model).dtype == torch.bfloat16
