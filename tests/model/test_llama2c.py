"""llama2.c's `.bin`: the same numbers as the model it was made from, and files that are not what they say."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.infer import load
from cutaway.model import ModelConfig, Transformer
from cutaway.model.llama2c import load_llama2c, read_llama2c_config
from cutaway.runs import BadInput

TINY = Path(__file__).parents[3] / "shared/data/tiny-model"
LLAMA = ModelConfig(
    vocab_size=70, n_layers=3, d_model=48, n_heads=6, n_kv_heads=2, d_head=8, d_mlp=80, context=32,
    family="llama", qk_norm="none", norm_eps=1e-5,
)  # fmt: skip


def neighbours(weight: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Rows of each head in the order 0, half, 1, half + 1, …, by counting."""
    rows: list[int] = []
    d_head = len(weight) // n_heads
    for head in range(n_heads):
        for i in range(d_head // 2):
            rows += [head * d_head + i, head * d_head + i + d_head // 2]
    return weight[rows]


def written(model: Transformer) -> bytes:
    """A file as llama2.c's export script lays it out."""
    c = model.config
    sign = 1 if c.tied_embeddings else -1
    header = struct.pack("<7i", c.d_model, c.d_mlp, c.n_layers, c.n_heads, c.n_kv_heads, sign * c.vocab_size, c.context)
    blocks = list(model.blocks)

    def each(name: str) -> list[torch.Tensor]:
        return [block.get_parameter(f"{name}.weight") for block in blocks]

    tensors: Sequence[torch.Tensor] = [
        model.embed.weight,
        *each("ln1"),
        *[neighbours(w, c.n_heads) for w in each("attn.q")],
        *[neighbours(w, c.n_kv_heads) for w in each("attn.k")],
        *each("attn.v"),
        *each("attn.o"),
        *each("ln2"),
        *each("mlp.gate"),
        *each("mlp.down"),
        *each("mlp.up"),
        model.ln_final.weight,
        torch.zeros(2, c.context, c.d_head // 2),
        *([] if c.tied_embeddings else [model.unembed.weight]),
    ]
    return header + b"".join(t.detach().numpy().astype("<f4").tobytes() for t in tensors)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def model(request: pytest.FixtureRequest) -> Transformer:
    import dataclasses

    torch.manual_seed(0)
    return Transformer(dataclasses.replace(LLAMA, tied_embeddings=request.param)).requires_grad_(False)


def test_a_file_is_the_model_it_was_made_from(model: Transformer, tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(written(model))
    again = load_llama2c(path)
    assert again.config == model.config
    tokens = torch.arange(30)[None]
    assert torch.equal(again(tokens), model(tokens))
    assert load_llama2c(path, dtype=torch.bfloat16).embed.weight.dtype == torch.bfloat16


def test_its_length_must_be_what_the_header_asks(model: Transformer, tmp_path: Path) -> None:
    path, data = tmp_path / "m.bin", written(model)
    width, hidden = model.config.d_model, model.config.d_mlp
    for length, name in (
        (28 + 4, "tok_embeddings.weight"),
        (28 + 4 * width * (70 + 1) + 4, "layers.1.attention_norm.weight"),
        (len(data) - 4, "freqs_sin" if model.config.tied_embeddings else "output.weight"),
    ):
        path.write_bytes(data[:length])
        with pytest.raises(BadInput, match=f"cut short inside tensor {name}"):
            load_llama2c(path)
    path.write_bytes(data + b"1234")
    with pytest.raises(BadInput, match="goes on for 4 bytes"):
        load_llama2c(path)
    # A header that claims another model.
    path.write_bytes(struct.pack("<2i", width, hidden + 1) + data[8:])
    with pytest.raises(BadInput, match="cut short inside tensor"):
        load_llama2c(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "too short"),
        (pickle.dumps({}, protocol=2) + bytes(40), "a pickle"),
        (b"PK\x03\x04" + bytes(40), "a pickle"),
        (b"24ka" + struct.pack("<i", 1) + bytes(300), "newer version"),
        (struct.pack("<7i", 64, 172, 0, 8, 4, 512, 512), "n_layers is 0"),
        (struct.pack("<7i", 64, 172, 2**30, 8, 4, 512, 512), "n_layers is 1073741824"),
        (struct.pack("<7i", 64, 172, 5, 7, 7, 512, 512), "7 heads"),
        (struct.pack("<7i", 64, 172, 5, 8, 3, 512, 512), "do not fit"),
        (struct.pack("<7i", *[2**30] * 2, 5, 8, 4, 2**30, 2**30), "cut short inside tensor tok_embeddings.weight"),
    ],
)
def test_what_is_no_such_file_is_told_in_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=words) as caught:
        load_llama2c(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="there is no file"):
        read_llama2c_config(tmp_path / "absent.bin")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(data)
    with pytest.raises(BadInput):
        load_llama2c(path)


@pytest.mark.skipif(not TINY.is_dir(), reason="the shared data is not beside this checkout")
def test_stories260k_tells_a_story() -> None:
    text = load(TINY / "stories260K.bin").generate("Once upon a time", max_tokens=120)
    assert text.startswith(", there was a little girl named Lily. She loved to play outside in the park.")
    assert text.count(".") > 5
