"""GGUF both ways: every family's numbers, every kind of storage, and files that are not what they say."""

from __future__ import annotations

import dataclasses
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import gguf
import gguf_zoo as zoo
import numpy as np
import pytest
import torch
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.model import ModelConfig, Transformer, gguf_file, load_model, save_model
from cutaway.model.config import RopeScaling, Sparsity
from cutaway.model.gguf import GGUFKind, load_gguf, read_gguf_config, save_gguf
from cutaway.model.gguf_facts import ARCHITECTURES
from cutaway.model.gguf_file import QUANTISED, Entry
from cutaway.runs import BadInput
from cutaway.tokens.gguf_header import header_bytes, padding, read_header

pytest.importorskip("transformers")


LLAMA = ModelConfig(
    vocab_size=64, n_layers=2, d_model=64, n_heads=4, n_kv_heads=2, d_head=16, d_mlp=96, context=64,
    family="llama", qk_norm="none", norm_eps=1e-5,
)  # fmt: skip


@pytest.fixture(scope="module", params=zoo.names())
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    """A model read from a Hugging Face directory."""
    directory = tmp_path_factory.mktemp("hf")
    zoo.build(request.param).save_pretrained(directory)
    return load_model(directory)


def logits(model: Transformer, length: int = 60) -> torch.Tensor:
    tokens = torch.randint(3, model.config.vocab_size, (2, length), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(tokens)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def small(**changes: Any) -> Transformer:
    torch.manual_seed(0)
    return Transformer(dataclasses.replace(LLAMA, **changes)).requires_grad_(False)


def test_a_file_of_float32_is_the_model_itself(family: Transformer, tmp_path: Path) -> None:
    save_gguf(family, tmp_path / "m.gguf", kind="f32")
    again = load_gguf(tmp_path / "m.gguf")
    assert distance(logits(again), logits(family)) < 1e-5
    assert ARCHITECTURES[again.config.family] == ARCHITECTURES[family.config.family]
    # As a directory it is still the same.
    save_model(again, tmp_path / "hf")
    assert distance(logits(load_model(tmp_path / "hf")), logits(family)) < 1e-5
    # And the library's reader agrees about what there is.
    theirs = gguf.GGUFReader(tmp_path / "m.gguf")
    assert {t.name: tuple(map(int, t.shape[::-1])) for t in theirs.tensors} == {
        name: stored.shape for name, stored in read_header(tmp_path / "m.gguf").tensors.items()
    }


@pytest.mark.parametrize(("kind", "bound"), [("f16", 0.02), ("bf16", 0.2), ("q8_0", 0.2), ("q4_0", 1.5)])
def test_smaller_kinds_are_near(family: Transformer, tmp_path: Path, kind: GGUFKind, bound: float) -> None:
    save_gguf(family, tmp_path / "m.gguf", kind=kind)
    again = load_gguf(tmp_path / "m.gguf")
    # A router's choice may tip over; every number that stays near does so by this much.
    difference = (logits(again) - logits(family)).abs() / logits(family).abs().max()
    assert float(difference.median()) < bound / 8
    if not family.config.experts:
        assert float(difference.max()) < bound


def test_every_family_of_decoders_that_gguf_knows_is_tested() -> None:
    tested = {name.split("-")[0] for name in zoo.names()}
    also = {"llama3": "llama", "gemma3": "gemma3_text"}
    assert {also.get(name, name) for name in tested} == set(ARCHITECTURES)


def test_configurations_come_back_whole(family: Transformer, tmp_path: Path) -> None:
    save_gguf(family, tmp_path / "m.gguf", kind="f16")
    said, config = read_gguf_config(tmp_path / "m.gguf"), family.config
    if config.family == "mistral":  # whose files are Llama's
        config = dataclasses.replace(config, family="llama")
    if config.rope_scaling and config.rope_scaling.kind == "llama3":
        # With four frequencies, of which none is between slow and fast, its four numbers cannot be found again.
        config, said = (dataclasses.replace(c, rope_scaling=None) for c in (config, said))
    assert said == config


@pytest.mark.parametrize(("theta", "factor", "original"), [(5e5, 8.0, 8192), (5e5, 32.0, 8192), (1e4, 4.0, 1024)])
def test_llama_3s_scaling_is_found_in_its_factors(tmp_path: Path, theta: float, factor: float, original: int) -> None:
    scaling = RopeScaling("llama3", factor, original)
    model = small(d_head=64, rope_theta=theta, rope_scaling=scaling, context=131_072)
    save_gguf(model, tmp_path / "m.gguf", kind="f32")
    assert read_gguf_config(tmp_path / "m.gguf").rope_scaling == scaling


@pytest.mark.filterwarnings("ignore:invalid value|overflow:RuntimeWarning")
@pytest.mark.parametrize("kind", QUANTISED)
def test_every_quantised_kind_is_read_as_the_library_reads_it(tmp_path: Path, kind: str) -> None:
    number = GGMLQuantizationType[kind]
    numbers, size = GGML_QUANT_SIZES[number]
    rows = 3000
    blocks = np.random.default_rng(0).integers(0, 256, (rows, 2 * size), np.uint8)
    # Scales are halves somewhere in each block; as random bytes they are sometimes not finite.
    expected = gguf.quants.dequantize(blocks, number)
    (tmp_path / "t").write_bytes(b"head" + blocks.tobytes())
    with open(tmp_path / "t", "rb") as file:
        entry = Entry(kind, (rows, 2 * numbers), 4, 4 + blocks.nbytes)
        found = gguf_file.read_tensor(file, "t", entry).numpy()
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_quantising_errs_by_half_a_step(tmp_path: Path, kind: GGUFKind) -> None:
    model = small()
    save_gguf(model, tmp_path / "m.gguf", kind=kind)
    ours = load_gguf(tmp_path / "m.gguf").blocks[0].mlp.up.weight.unflatten(1, (-1, 32))
    true = model.blocks[0].mlp.up.weight.unflatten(1, (-1, 32))
    # 8 bits: whole steps up to ±127. 4 bits: from -8 to 7, so the far end may be off by one step. Scales are halves.
    step = true.abs().amax(-1, keepdim=True) / (127 if kind == "q8_0" else 8)
    assert bool(((ours - true).abs() <= step * (0.57 if kind == "q8_0" else 1.01)).all())
    stored = {t.name: t.tensor_type.name.lower() for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    assert stored["blk.0.ffn_up.weight"] == kind
    assert stored["token_embd.weight"] == "q8_0"
    assert stored["blk.0.attn_norm.weight"] == "f32"


def test_rows_that_are_no_multiple_of_32_stay_halves(tmp_path: Path) -> None:
    model = small(d_mlp=80)
    save_gguf(model, tmp_path / "m.gguf", kind="q8_0")
    stored = {t.name: t.tensor_type.name for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    assert stored["blk.0.ffn_down.weight"] == "F16"
    assert stored["blk.0.ffn_up.weight"] == "Q8_0"
    assert distance(logits(load_gguf(tmp_path / "m.gguf")), logits(model)) < 0.05


def test_weights_can_be_read_as_bfloat16(tmp_path: Path) -> None:
    model = small()
    save_gguf(model, tmp_path / "m.gguf", kind="bf16")
    again = load_gguf(tmp_path / "m.gguf", dtype=torch.bfloat16)
    assert again.embed.weight.dtype == torch.bfloat16
    assert torch.equal(again.embed.weight, model.embed.weight.to(torch.bfloat16))


def test_one_matrix_for_query_key_and_value_is_read_in_any_family(tmp_path: Path) -> None:
    model = small(qkv_bias=True, output_bias=True)
    for bias in [block.attn.q.bias for block in model.blocks]:
        bias.normal_()
    save_gguf(model, tmp_path / "m.gguf", kind="f32")
    header = read_header(tmp_path / "m.gguf")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    tensors = {t.name: np.array(t.data) for t in reader.tensors}
    for i in range(2):
        for end in ("weight", "bias"):
            parts = [tensors.pop(f"blk.{i}.attn_{x}.{end}") for x in "qkv"]
            tensors[f"blk.{i}.attn_qkv.{end}"] = np.concatenate(parts)
    compose(tmp_path / "fused.gguf", header.metadata, tensors)
    assert torch.equal(logits(load_gguf(tmp_path / "fused.gguf")), logits(model))


def compose(path: Path, metadata: Any, tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    """A file of float32 tensors, put together here."""
    head = header_bytes(metadata, {name: (0, array.shape, array.nbytes) for name, array in tensors.items()})
    path.write_bytes(head + b"".join(a.astype("<f4").tobytes() + bytes(padding(a.nbytes)) for a in tensors.values()))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"activation": "relu"}, "activation"),
        ({"sparsity": Sparsity("window", 8), "local_layers": (0, 1), "family": "mistral"}, "sparsity"),
        ({"logit_scale": 0.5}, "logit_scale"),
        ({"attention_scale": 0.3}, "attention_scale"),
        ({"rotary_share": 0.5}, "rope.dimension_count"),
        ({"family": "qwen3", "qk_norm": "head", "rope_scaling": RopeScaling("llama3", 8.0, 32)}, "rope_scaling"),
        ({"family": "qwen2", "qkv_bias": True, "d_head": 32}, "heads of 32"),
        ({"family": "smollm3", "unrotated_layers": (0,)}, "unrotated_layers"),
        ({"family": "olmo2", "norm_place": "before", "qk_norm": "all"}, "norm_place"),
    ],
)
def test_what_a_file_cannot_say_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], name: str) -> None:
    with pytest.raises(BadInput, match=name) as caught:
        save_gguf(small(**changes), tmp_path / "m.gguf")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m.gguf").exists()


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a bert cannot be written as GGUF"):
        save_gguf(small(family="bert"), tmp_path / "m.gguf")


def test_a_window_as_wide_as_the_context_is_none(tmp_path: Path) -> None:
    window = {"sparsity": Sparsity("window", 64), "local_layers": (0, 1)}
    save_gguf(small(family="mistral", **window), tmp_path / "m.gguf")
    assert read_gguf_config(tmp_path / "m.gguf").sparsity is None


def test_a_number_too_large_for_halves_is_refused(tmp_path: Path) -> None:
    model = small()
    model.blocks[1].mlp.up.weight[3, 3] = 1e6
    with pytest.raises(BadInput, match=r"tensor blk.1.ffn_up.weight has numbers too large for f16"):
        save_gguf(model, tmp_path / "m.gguf", kind="f16")
    assert not list(tmp_path.iterdir())
    save_gguf(model, tmp_path / "m.gguf", kind="bf16")


def test_a_name_by_which_llama_cpp_expects_anothers_vocabulary_is_left_out(tmp_path: Path) -> None:
    for name, written in (("my-phi3", False), ("Phi-3-mini", False), ("story", True)):
        save_gguf(small(), tmp_path / "m.gguf", name=name)
        assert ("general.name" in read_header(tmp_path / "m.gguf").metadata) is written


# Files that are not what they say.


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "m.gguf"
    save_gguf(small(), path, kind="q8_0", vocabulary={"tokenizer.ggml.model": "none", "tokenizer.ggml.tokens": ["a"]})
    return path.read_bytes()


def metadata_of(data: bytes, path: Path) -> dict[str, Any]:
    path.write_bytes(data)
    return dict(read_header(path).metadata)


def arrays(data: bytes, path: Path) -> dict[str, np.ndarray[Any, Any]]:
    path.write_bytes(data)
    with open(path, "rb") as file:
        return {
            name: gguf_file.read_tensor(file, name, entry).numpy()
            for name, entry in gguf_file.read_entries(path)[1].items()
        }


def refused(path: Path, *words: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_gguf(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert all(word in message for word in words), message


def _without(name: str) -> Callable[[Any, Any], None]:
    return lambda metadata, tensors: tensors.pop(name)


def _with(name: str, value: Any) -> Callable[[Any, Any], None]:
    return lambda metadata, tensors: metadata.update({name: value})


def _extra(metadata: Any, tensors: Any) -> None:
    tensors["blk.0.surprise.weight"] = np.zeros((2, 2), np.float32)


def _shaped(metadata: Any, tensors: Any) -> None:
    tensors["blk.1.attn_k.weight"] = np.zeros((16, 64), np.float32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without("blk.1.ffn_up.weight"), ["lacks tensor blk.1.ffn_up.weight"]),
        (_without("token_embd.weight"), ["lacks tensor token_embd.weight"]),
        (_without("output_norm.weight"), ["lacks tensor output_norm.weight"]),
        (_extra, ["unknown tensor blk.0.surprise.weight"]),
        (_shaped, ["tensor blk.1.attn_k.weight", "[16, 64]", "[32, 64]"]),
        (_with("llama.block_count", 3), ["lacks tensor blk.2.", "3 blocks"]),
        (_with("llama.block_count", 1), ["unknown tensor blk.1.", "1 blocks"]),
        (_with("llama.block_count", 2**32 - 1), ["blk.2."]),
        (_with("llama.embedding_length", 128), ["tensor token_embd.weight", "[64, 64]", "[64, 128]"]),
        (_with("llama.embedding_length", 2**31 - 1), ["tensor token_embd.weight"]),
        (_with("llama.feed_forward_length", 2**31 - 1), ["ffn_"]),
        (_with("llama.feed_forward_length", "wide"), ["llama.feed_forward_length = 'wide'"]),
        (_with("llama.feed_forward_length", [96, 32]), ["layers that differ in llama.feed_forward_length"]),
        (_with("llama.attention.head_count", 0), ["m.gguf"]),
        (_with("llama.attention.head_count_kv", 3), ["4 heads cannot share 3"]),
        (_with("llama.attention.value_length", 8), ["values of another width"]),
        (_with("llama.attention.layer_norm_rms_epsilon", -1.0), ["epsilon"]),
        (_with("llama.rope.scaling.type", "clever"), ["clever"]),
        (_with("llama.rope.freq_base", float("inf")), ["llama.rope.freq_base = inf"]),
        (_with("llama.attention.causal", False), ["llama.attention.causal"]),
        (_with("llama.expert_count", 4), ["llama.expert_used_count"]),
        (_with("general.architecture", "mamba"), ["the architecture 'mamba'", "qwen3moe"]),
        (_with("general.architecture", 7), ["the architecture 7"]),
        (_with("split.count", 4), ["one of 4 parts"]),
    ],
)
def test_a_description_that_does_not_fit_names_what(
    good: bytes, tmp_path: Path, change: Callable[[Any, Any], None], words: list[str]
) -> None:
    metadata, tensors = metadata_of(good, tmp_path / "m.gguf"), arrays(good, tmp_path / "m.gguf")
    change(metadata, tensors)
    compose(tmp_path / "m.gguf", metadata, tensors)
    refused(tmp_path / "m.gguf", *words)


def test_a_short_or_a_long_file_names_the_tensor(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    last = list(read_header_of(good, path))[-1]
    path.write_bytes(good[:-100])
    refused(path, f"cut short inside tensor {last}")
    path.write_bytes(good + bytes(64))
    refused(path, "goes on for")
    path.write_bytes(good[:200])
    refused(path, "cut short inside")
    path.write_bytes(b"")
    refused(path, "no GGUF file")


def read_header_of(data: bytes, path: Path) -> dict[str, Any]:
    path.write_bytes(data)
    return dict(read_header(path).tensors)


def test_offsets_that_lie_name_the_tensor(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    name = b"blk.0.ffn_up.weight"
    # After the name: the number of dimensions, two of them, the kind, the offset.
    at = good.index(name) + len(name)
    for where, form, value, word in (
        (at + 24, "<Q", 2**60, "cut short inside tensor blk.0.ffn_up.weight"),
        (at + 24, "<Q", 32, "tensor"),
        (at + 20, "<I", 99, "tensor blk.0.ffn_up.weight is of the kind number 99"),
        (at + 20, "<I", 24, "tensor blk.0.ffn_up.weight is of the kind I8"),
        (at + 4, "<Q", 2**62, "cut short inside tensor blk.0.ffn_up.weight"),
        (at + 4, "<Q", 33, "tensor blk.0.ffn_up.weight of kind Q8_0 has rows of 33"),
        (at + 4, "<Q", 0, "tensor blk.0.ffn_up.weight has the shape"),
        (at, "<I", 2**31, "tensor blk.0.ffn_up.weight has 2147483648 dimensions"),
    ):
        data = bytearray(good)
        struct.pack_into(form, data, where, value)
        path.write_bytes(data)
        refused(path, word)


@pytest.mark.parametrize("field", [4, 8, 16, 24, 32])
@pytest.mark.parametrize("value", [0, 1, 2**31, 2**40, 2**63])
def test_counts_that_lie_take_no_memory(good: bytes, tmp_path: Path, field: int, value: int) -> None:
    path = tmp_path / "m.gguf"
    data = bytearray(good)
    struct.pack_into("<Q", data, field, value)
    path.write_bytes(data)
    refused(path)


def test_other_formats_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(pickle.dumps({"weights": 1}, protocol=2))
    refused(path, "is a pickle")
    torch.save({"weights": torch.ones(2)}, path)
    refused(path, "is a pickle")
    path.write_bytes(b"GGUF" + struct.pack(">I", 3) + bytes(64))  # a file for the other order of bytes
    refused(path, "version")
    path.write_bytes(b"GGUF" + struct.pack("<I", 1) + bytes(64))
    refused(path, "version 1")
    with pytest.raises(BadInput, match="there is no file"):
        load_gguf(tmp_path / "absent.gguf")
    with pytest.raises(BadInput, match="is a directory"):
        load_gguf(tmp_path)


@given(cut=st.floats(0, 1))
@settings(max_examples=60)
def test_a_cut_anywhere_is_told_in_one_line(good: bytes, tmp_path_factory: pytest.TempPathFactory, cut: float) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.gguf"
    path.write_bytes(good[: int(cut * (len(good) - 1))])
    refused(path)


@given(
    changes=st.lists(
        st.tuples(st.integers(0, 2500), st.one_of(st.integers(0, 255), st.sampled_from([0, 255, 128]))),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=150)
def test_a_garbled_header_is_opened_or_told_in_one_line(
    good: bytes, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "garbled.gguf"
    data = bytearray(good)
    for at, byte in changes:
        data[at] = byte
    path.write_bytes(data)
    with suppress(BadInput):  # and nothing else
        load_gguf(path)


PEAK = """
import sys
from pathlib import Path
import torch
import gguf.quants
from cutaway.model.gguf import load_gguf, save_gguf
torch.ones(3, 3) @ torch.ones(3, 3)
def of_status(key):
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) * 1024
before = of_status("VmRSS")
model = load_gguf(Path(sys.argv[1]))
peak = of_status("VmHWM")
weights = sum(p.numel() * 4 for p in model.parameters())
held = peak
save_gguf(model, Path(sys.argv[2]), kind="q8_0")
written = of_status("VmHWM")
print((peak - before) / weights, (written - held) / weights)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_opening_and_writing_take_little_more_than_the_weights(tmp_path: Path) -> None:
    shape = dataclasses.replace(LLAMA, vocab_size=24_000, d_model=512, n_heads=8, n_kv_heads=8, d_head=64, d_mlp=2048,
                                n_layers=16, tied_embeddings=False)  # fmt: skip
    save_gguf(Transformer(shape), tmp_path / "m.gguf", kind="q8_0")
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "m.gguf"), str(tmp_path / "again.gguf")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    opening, writing = map(float, ran.stdout.split())
    assert opening <= 1.2
    assert writing <= 0.2


def test_every_kind_that_can_be_written_has_its_number() -> None:
    from cutaway.model.gguf import FILE_TYPES

    assert set(FILE_TYPES) == set(get_args(GGUFKind))
