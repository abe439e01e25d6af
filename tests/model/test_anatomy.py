"""Counts against our transformer, `transformers`, PyTorch's counter of operations, and totals that are published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cutaway.model import KVCache, ModelConfig, Transformer, read_config
from cutaway.model.anatomy import Anatomy, LayeredNetwork, anatomy_of
from cutaway.model.config import Experts, Sparsity
from cutaway.model.families import FAMILIES
from cutaway.model.flops import flops_of, pairs_read
from cutaway.model.footprint import cache_of, training_bytes, weight_bytes
from cutaway.model.huggingface import config_json
from cutaway.model.norms import Norm
from cutaway.model.presets import PRESETS
from cutaway.model.reach import causal, sparse
from cutaway.train.optimizer import Optimizer, OptimizerSettings

transformers = pytest.importorskip("transformers")


ZOO: dict[str, tuple[str, dict[str, Any]]] = zoo.ALL
TINY = ModelConfig(vocab_size=50, n_layers=3, d_model=32, n_heads=4, n_kv_heads=2, d_head=8, d_mlp=64, context=16)


def of(name: str) -> Anatomy:
    return anatomy_of(PRESETS[name].shape)


def theirs(architecture: str, config: Any) -> int:
    """Parameters as `transformers` counts them, without computed positions, with the biases it has as buffers."""
    with torch.device("meta"):
        model = getattr(transformers, architecture)(config)
    fixed = sum(w.numel() for name, w in model.named_parameters() if "embed_positions" in name and not w.requires_grad)
    buffers = sum(w.numel() for name, w in model.named_buffers() if name.endswith("final_logits_bias"))
    return model.num_parameters() - fixed + buffers


def test_gpt3s_well_known_table() -> None:
    anatomy = of("gpt3-175b")
    table = {row.name: (row.n, row.weights) for row in anatomy.matrices}
    assert table == {
        "embedding": (1, 617_558_016),
        "query": (9216, 14_495_514_624),
        "key": (9216, 14_495_514_624),
        "value": (9216, 14_495_514_624),
        "output": (96, 14_495_514_624),
        "up": (96, 57_982_058_496),
        "down": (96, 57_982_058_496),
        "unembedding": (1, 617_558_016),
    }
    assert (anatomy.n_matrices, anatomy.listed) == (27_938, 175_181_291_520)
    assert [(row.name, row.weights) for row in anatomy.tables] == [("positions", 2048 * 12_288)]
    assert anatomy.parameters == 174_604_259_328


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("llama2-7b", 6_738_415_616),
        ("llama3-8b", 8_030_261_248),
        ("llama3-70b", 70_553_706_496),
        ("llama3-405b", 405_853_388_800),
        ("mistral-7b", 7_241_732_096),
        ("mixtral-8x7b", 46_702_792_704),
        ("qwen3-0.6b", 596_049_920),
        ("qwen3-1.7b", 1_720_574_976),
        ("qwen3-4b", 4_022_468_096),
        ("qwen3-8b", 8_190_735_360),
        ("qwen3-14b", 14_768_307_200),
        ("qwen3-32b", 32_762_123_264),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("gemma2-2b", 2_614_341_888),
        ("gemma2-9b", 9_241_705_984),
        ("gemma3-270m", 268_098_176),
        ("gemma3-1b", 999_885_952),
        # 4,300,079,472 with the encoder of pictures and what leads from it to the text.
        ("gemma3-4b", 3_880_263_168),
        ("smollm2-135m", 134_515_008),
        ("bert-base", 109_514_298),
        ("t5-small", 60_506_624),
        ("t5-base", 222_903_552),
        ("transformer-2017-base", 63_045_632),
        ("digits-784-16-16-10", 13_002),
        ("cutaway-demo", 2_410_432),
    ],
)
def test_published_totals(name: str, parameters: int) -> None:
    assert of(name).parameters == parameters


def test_every_family_has_as_many_as_transformers_says(tmp_path: Path) -> None:
    for name, (architecture, keys) in ZOO.items():
        config = getattr(transformers, architecture).config_class(**keys)
        config.architectures = [architecture]
        config.save_pretrained(tmp_path / name)
        counted = anatomy_of(read_config(tmp_path / name))
        assert counted.parameters == theirs(architecture, config), name
        assert_is_ours(counted)


def test_every_preset_has_as_many_as_transformers_says() -> None:
    for preset in PRESETS.values():
        shape = preset.shape
        # Marian's attention has biases, which the 2017 paper's has not.
        if isinstance(shape, LayeredNetwork) or preset.name == "transformer-2017-base":
            continue
        # A few layers tell as much as all: the matrices of each are alike.
        shape = replace(shape, n_layers=min(shape.n_layers, 7), n_encoder_layers=min(shape.n_encoder_layers, 7))
        shape = replace(
            shape, **{key: tuple(i for i in getattr(shape, key) if i < 7) for key in ("local_layers", "expert_layers")}
        )
        keys = config_json(shape)
        (architecture,) = keys["architectures"]
        config = getattr(transformers, architecture).config_class(**keys)
        assert anatomy_of(shape).parameters == theirs(architecture, config), preset.name


def test_presets_are_read_as_what_they_are_written() -> None:
    for preset in PRESETS.values():
        shape = preset.shape
        if isinstance(shape, ModelConfig) and preset.name != "transformer-2017-base":
            keys = config_json(shape)
            again = FAMILIES[shape.family].read(keys)
            assert anatomy_of(again) == replace(anatomy_of(shape), shape=again)
            assert (again.rope_theta, again.sparsity, again.local_layers) == (
                shape.rope_theta,
                shape.sparsity,
                shape.local_layers,
            ), preset.name
            assert (again.rope_scaling, again.scale, again.n_kv_heads) == (
                shape.rope_scaling,
                shape.scale,
                shape.n_kv_heads,
            ), preset.name


def assert_is_ours(counted: Anatomy) -> None:
    """Every number in the anatomy is one in the model of that shape."""
    shape = counted.shape
    assert isinstance(shape, ModelConfig)
    model = Transformer(shape)
    assert counted.parameters == model.n_parameters() == sum(counted.by_part.values())
    modules = list(model.modules())
    assert counted.norms == sum(w.numel() for m in modules if isinstance(m, Norm) for w in m.parameters())
    assert counted.biases == sum(m.bias.numel() for m in modules if isinstance(m, nn.Linear) and m.bias is not None)
    tables = [
        w for name, w in model.named_parameters() if name.split(".")[-2] in ("pos_embed", "type_embed", "relative")
    ]
    assert sum(row.weights for row in counted.tables) == sum(table.numel() for table in tables)
    assert sum(row.n for row in counted.tables) == len(tables)
    for ours, name in (
        ("attn.q", "query"),
        ("attn.v", "value"),
        ("cross_attn.k", "cross key"),
        ("mlp.router", "router"),
    ):
        weights = sum(w.numel() for key, w in model.named_parameters() if key.endswith(f".{ours}.weight"))
        assert sum(row.weights for row in counted.matrices if row.name == name) == weights


@st.composite
def shapes(draw: st.DrawFn) -> ModelConfig:
    kind = draw(st.sampled_from(["decoder", "encoder", "encoder-decoder"]))
    booleans = (
        "first_norm",
        "final_norm",
        "embedding_norm",
        "norm_bias",
        "qkv_bias",
        "output_bias",
        "gated",
        "mlp_bias",
    )
    booleans += ("unembed_bias", "head_bias", "tied_embeddings")
    return replace(
        TINY,
        kind=kind,
        n_encoder_layers=2 if kind == "encoder-decoder" else 0,
        norm=draw(st.sampled_from(["rms", "layer"])),
        norm_place=draw(st.sampled_from(["before", "after", "around", "after_sum"])),
        positions=draw(st.sampled_from(["rotary", "learned", "relative", "none"])),
        position_offset=draw(st.sampled_from([0, 2])),
        n_token_types=draw(st.sampled_from([0, 2])),
        qk_norm=draw(st.sampled_from(["none", "head", "all"])),
        experts=draw(st.sampled_from([None, Experts(5, 2, 24)])),
        expert_layers=draw(st.sampled_from([(), (1,), (0, 1, 2)])),
        head=draw(st.sampled_from(["linear", "masked", "pooler", "none"])),
        **{name: draw(st.booleans()) for name in booleans},
    )


@settings(max_examples=60, deadline=None)
@given(shapes())
def test_every_choice_of_the_configuration_is_counted(shape: ModelConfig) -> None:
    assert_is_ours(anatomy_of(shape))


def test_a_token_goes_through_the_chosen_experts_alone() -> None:
    assert of("mixtral-8x7b").active == 12_879_925_248
    assert of("qwen3-30b-a3b").active == 3_353_032_704
    assert of("llama3-8b").active == of("llama3-8b").parameters


def test_tied_matrices_are_stored_once() -> None:
    tied, untied = of("qwen3-4b"), of("qwen3-8b")
    assert tied.tied == 151_936 * 2560
    assert untied.tied == 0
    assert tied.by_part["embeddings"] == 151_936 * 2560
    assert untied.by_part["embeddings"] == 2 * 151_936 * 4096


def test_memory_of_the_weights() -> None:
    llama = of("llama3-8b")
    assert weight_bytes(llama, "float32") == 4 * llama.parameters
    assert weight_bytes(llama, "bfloat16") == 2 * llama.parameters
    matrices = llama.parameters - llama.norms
    embeddings = 2 * 128_256 * 4096
    assert weight_bytes(llama, "int8") == matrices * 34 / 32 + llama.norms * 4
    assert weight_bytes(llama, "int4") == (matrices - embeddings) * 18 / 32 + embeddings * 34 / 32 + llama.norms * 4
    # Rows of 784 and 16 do not divide into blocks of 32.
    assert weight_bytes(of("digits-784-16-16-10"), "int4") == 2 * 12_960 + 4 * 42


def test_memory_of_training_is_what_the_optimizer_holds() -> None:
    assert training_bytes(of("gpt2"))["AdamW"] == 16 * 124_439_808
    assert training_bytes(of("digits-784-16-16-10")) == {"AdamW": 16 * 13_002}
    sparse = replace(TINY, experts=Experts(4, 2, 24), expert_layers=(1,), family="qwen3_moe")
    source = replace(TINY, kind="encoder-decoder", n_encoder_layers=2, qk_norm="none", positions="relative")
    for shape in (TINY, sparse, source):
        model = Transformer(shape)
        optimizer = Optimizer(model, OptimizerSettings())
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight)
        optimizer.step(0.0)
        moments = sum(value.numel() for name, value in optimizer.state_dict().items() if not name.endswith(".step"))
        assert training_bytes(anatomy_of(shape))["Muon"] == 4 * (2 * model.n_parameters() + moments)


def test_the_cache() -> None:
    cache = cache_of(TINY, 16)
    held = KVCache(TINY, 1, 16)
    assert cache
    assert cache.held == sum(layer.k.numel() + layer.v.numel() for layer in held.layers) == 16 * cache.per_token
    assert cache_of(PRESETS["bert-base"].shape, 512) is None
    assert cache_of(PRESETS["digits-784-16-16-10"].shape, 1) is None
    llama = cache_of(PRESETS["llama3-8b"].shape, 131_072)
    assert llama
    assert llama.per_token * 2 == 131_072  # 128 KiB a token in bfloat16
    t5 = cache_of(PRESETS["t5-small"].shape, 10)
    assert t5
    assert t5.per_token == t5.per_source_token == 2 * 6 * 512
    assert t5.held == 20 * t5.per_token


def test_local_layers_cache_no_more_than_they_read() -> None:
    mistral = cache_of(PRESETS["mistral-7b"].shape, 32_768)
    gemma = cache_of(PRESETS["gemma3-1b"].shape, 32_768)
    assert mistral
    assert gemma
    assert mistral.held == 4096 * mistral.per_token
    assert gemma.held == (4 * 32_768 + 22 * 512) * gemma.per_token // 26
    blocks = replace(TINY, sparsity=Sparsity("blocks", 4, 1), local_layers=(0, 1, 2))
    for context in range(1, 20):
        cache = cache_of(blocks, context)
        assert cache
        positions = torch.arange(context)
        seen = sparse(positions[-1:], positions, Sparsity("blocks", 4, 1))
        assert cache.held == seen.sum() * cache.per_token


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["decoder", "encoder"]),
    st.sampled_from(["window", "blocks"]),
    st.integers(1, 9),
    st.integers(0, 4),
    st.integers(0, 30),
)
def test_pairs_are_those_of_the_masks(kind: Any, pattern: Any, width: int, shared: int, length: int) -> None:
    sparsity = Sparsity(pattern, width, min(shared, width))
    config = replace(TINY, kind=kind, sparsity=sparsity)
    positions = torch.arange(length)
    every = torch.ones(length, length, dtype=torch.bool) if kind == "encoder" else causal(positions, positions)
    assert pairs_read(config, length, local=False) == every.sum()
    assert pairs_read(config, length, local=True) == (every & sparse(positions, positions, sparsity)).sum()


@pytest.mark.parametrize(
    "shape",
    [
        TINY,
        replace(TINY, n_heads=8, n_kv_heads=1, gated=False, tied_embeddings=False),
        replace(TINY, experts=Experts(5, 2, 24), expert_layers=(0, 2)),
        replace(TINY, kind="encoder", head="masked"),
        replace(TINY, kind="encoder-decoder", n_encoder_layers=2),
    ],
    ids=["decoder", "grouped", "experts", "encoder", "encoder-decoder"],
)
def test_operations_are_those_pytorch_counts(shape: ModelConfig) -> None:
    # With a cap, attention works all its scores out, and the counter sees every product; hence full attention here.
    shape = replace(shape, attention_softcap=50.0)
    model, length = Transformer(shape), 12
    texts = [torch.randint(50, (1, length)) for _ in range(2 if shape.kind == "encoder-decoder" else 1)]
    with FlopCounterMode(display=False) as forward:
        logits = model(*texts)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    ours = flops_of(anatomy_of(shape), length)
    scores = 4 * shape.n_heads * shape.d_head
    skipped = 0 if shape.kind == "encoder" else scores * shape.n_layers * length * (length - 1) / 2
    assert forward.get_total_flops() == sum(each.forward for each in ours) * length + skipped
    assert backward.get_total_flops() == 2 * forward.get_total_flops()
    assert sum(each.backward for each in ours) == 2 * sum(each.forward for each in ours)


def test_operations_of_known_models() -> None:
    (gpt3,) = flops_of(of("gpt3-175b"), 2048)
    assert gpt3.layers + gpt3.unembedding == 2 * (175_181_291_520 - 617_558_016)
    assert gpt3.attention == 96 * 4 * 12_288 * 2049 / 2
    (digits,) = flops_of(of("digits-784-16-16-10"), 1)
    assert (digits.of, digits.forward, digits.backward) == ("image", 2 * 12_960, 4 * 12_960)
    (mistral,) = flops_of(of("mistral-7b"), 32_768)
    (dense,) = flops_of(anatomy_of(replace(PRESETS["mistral-7b"].shape, sparsity=None)), 32_768)
    assert 4 < dense.attention / mistral.attention < 4.5
