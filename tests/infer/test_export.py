"""Models written for other software and opened again, text and all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cutaway.cli.main import app
from cutaway.infer import LanguageModel, load
from cutaway.infer.export import export
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import BadInput
from cutaway.tokens import TokenizerSettings, train_tokenizer

PROMPTS = ["the cat", "It's 12 o'clock", "  def f(x):\n", "naïve <|end|> 日本"]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A random model of ours with a vocabulary of ours."""
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=320), PROMPTS * 5, tmp_path_factory.mktemp("tokenizer"))
    torch.manual_seed(0)
    model = Transformer(ModelConfig.from_depth(2, tokenizer.vocab_size, context=64)).requires_grad_(False).eval()
    for weight in model.parameters():
        if weight.dim() == 2:
            weight.normal_(std=weight.shape[1] ** -0.5)
    return LanguageModel("runs/some:sft", model, tokenizer)


@pytest.mark.parametrize(
    ("to", "dtype", "name"), [("gguf", None, "m.gguf"), ("gguf", "f32", "m.gguf"), ("hf", None, "m")]
)
def test_what_is_exported_writes_the_same_text(
    lm: LanguageModel, tmp_path: Path, to: str, dtype: str | None, name: str
) -> None:
    place = export(lm, to, out=tmp_path / name, dtype=dtype)
    again = load(place)
    for prompt in PROMPTS:
        assert again.tokenizer.document(prompt) == lm.tokenizer.document(prompt)
        if dtype or to == "hf":
            assert again.generate(prompt, max_tokens=20) == lm.generate(prompt, max_tokens=20)
    assert again.chat_template == lm.chat_template
    # Our template does not write the token that a text begins with; a GGUF file says that it stands there.
    talk = [{"role": "user", "content": "the cat"}]
    assert again.tokenizer.encode_chat(talk) == lm.tokenizer.encode_chat(talk)
    assert again.tokenizer.stop_ids == lm.tokenizer.stop_ids


def test_there_and_back_again(lm: LanguageModel, tmp_path: Path) -> None:
    export(load(export(lm, "gguf", out=tmp_path / "m.gguf", dtype="f32")), "hf", out=tmp_path / "hf")
    again = load(tmp_path / "hf")
    for prompt in PROMPTS:
        assert again.generate(prompt, max_tokens=20) == lm.generate(prompt, max_tokens=20)


def test_places_and_kinds_are_checked(lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert export(lm, "gguf", dtype="q8_0") == Path("some-sft-q8_0.gguf")
    with pytest.raises(BadInput, match=r"something at some-sft-q8_0.gguf already"):
        export(lm, "gguf", dtype="q8_0")
    with pytest.raises(BadInput, match="holds f32, bf16, f16, not q8_0"):
        export(lm, "hf", dtype="q8_0")
    with pytest.raises(BadInput, match="no --dtype q2"):
        export(lm, "gguf", dtype="q2")
    with pytest.raises(BadInput, match="no format onnx"):
        export(lm, "onnx")


def test_the_command_says_where(lm: LanguageModel, tmp_path: Path) -> None:
    source = export(lm, "hf", out=tmp_path / "hf")
    arguments = ["export", str(source), "--to", "gguf", "--out", str(tmp_path / "m.gguf"), "--json"]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.output) == {"path": str(tmp_path / "m.gguf")}
    assert load(tmp_path / "m.gguf").config.n_layers == 2
