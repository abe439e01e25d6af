"""Our reading and writing of safetensors against the library's, and files that are not what they say."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from cutaway.model import ModelConfig, Transformer, huggingface, load_model, safetensors_file, save_model
from cutaway.runs import BadInput, CutawayError

TENSORS = {
    "a": torch.arange(6, dtype=torch.float32).view(2, 3),
    "b.weight": torch.randn(4, 5).to(torch.bfloat16),
    "empty": torch.empty(0, 3),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "whole": torch.arange(7, dtype=torch.int8),
}


def read(path: Path) -> dict[str, torch.Tensor]:
    with open(path, "rb") as file:
        return {
            name: safetensors_file.read_tensor(file, name, entry)
            for name, entry in safetensors_file.read_header(path).items()
        }


def test_what_the_library_writes_is_read_and_what_we_write_the_library_reads(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "theirs.safetensors")
    ours = read(tmp_path / "theirs.safetensors")
    assert ours.keys() == TENSORS.keys()
    assert all(torch.equal(ours[name], tensor) and ours[name].dtype == tensor.dtype for name, tensor in TENSORS.items())
    made = {name: (tensor.dtype, tuple(tensor.shape), lambda t=tensor: t) for name, tensor in TENSORS.items()}
    safetensors_file.write(tmp_path / "ours.safetensors", made)
    theirs = load_file(tmp_path / "ours.safetensors")
    assert all(torch.equal(theirs[name], tensor) for name, tensor in TENSORS.items())
    assert all(torch.equal(again, TENSORS[name]) for name, again in read(tmp_path / "ours.safetensors").items())


def lying(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def harm(whole: bytes) -> bytes:
        length = struct.unpack("<Q", whole[:8])[0]
        header = json.loads(whole[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + whole[8 + length :]

    return harm


HARMS: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda whole: whole[:-1], "cut short inside tensor"),
    (lambda whole: whole + b"more", "goes on for 4 bytes"),
    (lambda whole: whole[:5], "cut short"),
    (lambda whole: b"", "cut short"),
    (lambda whole: struct.pack("<Q", 2**62) + whole[8:], "cut short"),
    (lambda whole: pickle.dumps({"a": 1}) * 50, "pickle, which can run code"),
    (lambda whole: b"PK\x03\x04" + whole, "pickle, which can run code"),
    (lambda whole: whole[:8] + b"\xff" + whole[9:], "header that cannot be read"),
    (lying(lambda h: h["a"].update(shape=[3, 3])), r"tensor a of shape \[3, 3\] takes 36 bytes"),
    (lying(lambda h: h["a"].update(shape=[-2, -3])), "tensor a has a shape"),
    (lying(lambda h: h["a"].update(dtype="F13")), "tensor a is of type F13"),
    (lying(lambda h: h["b.weight"].update(data_offsets=[0, 40])), "does not begin where the one before it ends"),
    (lying(lambda h: h.pop("a")), "does not begin where|goes on for"),
    (lying(lambda h: h["a"].pop("dtype")), "header that cannot be read"),
]


@pytest.mark.parametrize(("harm", "message"), HARMS)
def test_files_that_are_not_what_they_say_are_refused(
    harm: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(BadInput, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_garbled_headers_end_in_bad_input_or_are_harmless(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("garbled") / "model.safetensors"
    save_file({"a": TENSORS["a"], "b": TENSORS["b.weight"]}, path)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        found = read(path)
    except BadInput:
        return
    assert sum(tensor.nbytes for tensor in found.values()) <= len(whole)


@pytest.fixture
def model() -> Transformer:
    config = ModelConfig(vocab_size=40, n_layers=2, d_model=16, n_heads=2, n_kv_heads=1, d_head=8, d_mlp=24, context=16)
    return Transformer(config)


def test_a_directory_with_wrong_tensors_is_refused_by_their_names(model: Transformer, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    path = tmp_path / "model.safetensors"
    good = load_file(path)
    for change, message in (
        ({"model.norm.weight": None}, "lacks tensor model.norm.weight"),
        ({"model.extra.weight": torch.ones(2)}, "unknown tensor model.extra.weight"),
        ({"model.norm.weight": torch.ones(17)}, r"tensor model.norm.weight .* shape \[17\].*asks for \[16\]"),
    ):
        save_file({name: tensor for name, tensor in {**good, **change}.items() if tensor is not None}, path)
        with pytest.raises(BadInput, match=message):
            load_model(tmp_path)
    # The tied output matrix, written out by other software, is known and not needed.
    save_file({**good, "lm_head.weight": good["model.embed_tokens.weight"].clone()}, path)
    assert torch.equal(load_model(tmp_path).embed.weight, model.embed.weight)


def test_large_tensors_stay_in_the_file_and_the_file_stays_as_it_is(
    model: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(model, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    monkeypatch.setattr(huggingface, "MAPPED_FROM", 1)
    opened = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(opened.parameters(), model.parameters(), strict=True))
    assert opened.unembed.weight is opened.embed.weight
    with torch.no_grad():
        for weight in opened.parameters():
            weight.add_(1)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert torch.equal(load_model(tmp_path).embed.weight, model.embed.weight)


def test_shards_that_are_missing_or_lead_elsewhere_are_refused(model: Transformer, tmp_path: Path) -> None:
    save_model(model, tmp_path, largest_shard=4000)
    index = tmp_path / "model.safetensors.index.json"
    assert torch.equal(load_model(tmp_path).embed.weight, model.embed.weight)
    first = sorted(tmp_path.glob("*.safetensors"))[0]
    kept = first.read_bytes()
    first.unlink()
    with pytest.raises(BadInput, match=f"lacks {first.name}"):
        load_model(tmp_path)
    first.write_bytes(kept)
    for text, message in (
        ('{"weight_map": {"a": "../../etc/passwd"}}', "lacks ../../etc/passwd"),
        ('{"weight_map": []}', "cannot be read"),
        ("{", "cannot be read"),
    ):
        index.write_text(text)
        with pytest.raises(BadInput, match=message):
            load_model(tmp_path)


def test_pickles_are_never_opened(model: Transformer, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="pickle, which can run code"):
        load_model(tmp_path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(model: Transformer, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()

    def fails() -> torch.Tensor:
        raise OSError(28, "No space left on device")

    with pytest.raises(CutawayError, match="no space left"):
        safetensors_file.write(tmp_path / "model.safetensors", {"a": (torch.float32, (2,), fails)})
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert not list(tmp_path.glob(".*tmp"))
