"""Exports are found again as long as the model is the same, and hold what it holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cutaway.infer import LanguageModel, load
from cutaway.infer.engines.exported import directory_of, exports, gguf_of
from cutaway.infer.export import export
from cutaway.model import ModelConfig, Transformer
from cutaway.model.gguf import load_gguf
from cutaway.runs import BadInput
from cutaway.tokens import TokenizerSettings, train_tokenizer
from cutaway.train.lora import LoraSettings, add_lora
from cutaway.train.peft_format import save_adapter

TEXTS = ["In the beginning God created the heaven and the earth."] * 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def lm(tmp_path: Path) -> LanguageModel:
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=300), TEXTS, tmp_path / "tokenizer")
    torch.manual_seed(0)
    model = Transformer(ModelConfig(tokenizer.vocab_size, 2, 32, 2, 1, 16, 64, context=64)).requires_grad_(False)
    return LanguageModel("nowhere", model, tokenizer)


def test_a_model_is_written_once(lm: LanguageModel) -> None:
    file = gguf_of(lm)
    assert file.parent == exports()
    written = file.stat().st_mtime_ns
    assert gguf_of(lm) == file
    assert gguf_of(replace(lm, name="another name")) == file
    assert file.stat().st_mtime_ns == written
    again = load_gguf(file)
    for name, weight in lm.model.named_parameters():
        assert torch.equal(dict(again.named_parameters())[name], weight)
    others = {gguf_of(lm, weights) for weights in ("bfloat16", "int8", "int4")}
    assert len(others | {file}) == 4
    next(lm.model.parameters())[3, 5] += 1e-3
    assert gguf_of(lm) not in others | {file}


def test_a_file_is_used_as_it_is_unless_another_precision_is_asked_for(lm: LanguageModel, tmp_path: Path) -> None:
    opened = load(export(lm, "gguf", out=tmp_path / "m.gguf", dtype="q8_0"))
    assert gguf_of(opened) == tmp_path / "m.gguf"
    assert not exports().exists()
    assert gguf_of(opened, "float32").parent == exports()


def test_a_directory_is_used_as_it_is_but_not_with_an_adapter(lm: LanguageModel, tmp_path: Path) -> None:
    own = export(lm, "hf", out=tmp_path / "m")
    opened = load(own)
    assert directory_of(opened) == directory_of(opened, "bfloat16") == own
    adapted = load(own)
    add_lora(adapted.model, LoraSettings(rank=2))
    save_adapter(adapted.model, tmp_path / "adapter", str(own))
    place = directory_of(load(f"{own}+{tmp_path / 'adapter'}"))
    assert place.parent == exports()


def test_an_exported_directory_writes_the_same(lm: LanguageModel, tmp_path: Path) -> None:
    opened = load(export(lm, "gguf", out=tmp_path / "m.gguf", dtype="f32"))
    place = directory_of(opened, "float32")
    assert directory_of(opened, "float32") == place
    assert load(place).generate("In the", max_tokens=20) == lm.generate("In the", max_tokens=20)
    assert directory_of(opened) not in (place, tmp_path / "m.gguf")
    assert load(directory_of(opened)).tokenizer.stop_ids == opened.tokenizer.stop_ids


def test_what_llama_cpp_has_nothing_like_is_refused(lm: LanguageModel) -> None:
    config = replace(lm.config, family="opt")
    with pytest.raises(BadInput, match=r"llama\.cpp does not run a opt such as nowhere; leave out --engine"):
        gguf_of(replace(lm, model=Transformer(config)))
    scaled = replace(lm.config, logit_scale=0.5)
    with pytest.raises(BadInput, match=r"llama.cpp cannot run nowhere: .*; leave out --engine$"):
        gguf_of(replace(lm, model=Transformer(scaled)))
