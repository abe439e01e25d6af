from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cutaway.cli.main import run_command
from cutaway.model import ModelConfig, Transformer, save_model
from cutaway.model.presets import PRESETS

TINY = ModelConfig(vocab_size=50, n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=64, context=32)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert run_command(["anatomy", *arguments]) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run_command(["anatomy", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_gpt3(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "gpt3-175b")
    for line in (
        "embedding 1 50,257 × 12,288 617,558,016 0.4%",
        "query 9,216 128 × 12,288 14,495,514,624 8.3%",
        "up 96 49,152 × 12,288 57,982,058,496 33.1%",
        "in the matrices 27,938 175,181,291,520 100.0%",
        "tied unembedding -1 -617,558,016",
        "positions 1 2,048 × 12,288 25,165,824",
        "parameters 174,604,259,328",
        "weights, bfloat16 349 GB 2 bytes; float16 is the same",
        "2,048 tokens 19 GB 9.7 GB 4.8 GB",
        "in all 354 billion 708 billion 1.06 trillion",
    ):
        assert line in lines


@pytest.mark.parametrize("name", list(PRESETS))
def test_it_fits_a_terminal_of_80_columns(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run_command(["anatomy", name]) == 0
    out = capsys.readouterr().out
    # The second line says in words what the model is, and may be folded.
    assert max(len(line.rstrip()) for i, line in enumerate(out.splitlines()) if i != 1) <= 80
    assert "…" not in out


def test_the_list_of_presets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = shown(capsys)
    assert "digits-784-16-16-10 13,002 handwritten digits, 28 × 28 pixels" in lines
    assert len(lines) == len(PRESETS) + 3  # none is folded
    listed = as_json(capsys)
    assert [each["name"] for each in listed] == list(PRESETS)
    assert {"name": "gpt2", "about": "Radford et al. 2019, small", "parameters": 124_439_808} in listed


def test_a_model_directory_and_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    model = Transformer(TINY)
    directory = tmp_path / "run" / "pretrain" / "model"
    save_model(model, directory)
    (directory / "model.safetensors").unlink()  # the configuration is enough
    for reference in (str(directory), str(tmp_path / "run"), f"{tmp_path / 'run'}:pretrain"):
        found = as_json(capsys, reference)
        assert found["parameters"] == model.n_parameters()
        assert found["shape"]["d_model"] == 32
        assert found["context"] == 32


def test_a_directory_goes_before_a_preset_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(Transformer(TINY), tmp_path / "gpt2")
    assert as_json(capsys, "gpt2")["shape"]["n_layers"] == 2


def test_the_context_is_what_attention_and_the_cache_are_counted_for(capsys: pytest.CaptureFixture[str]) -> None:
    short, long = (as_json(capsys, "llama3-8b", "--context", n) for n in ("1000", "200000"))
    assert long["cache_bytes"]["bfloat16"] == {"token": 131_072, "source_token": 0, "context": 131_072 * 200_000}
    assert long["flops"][0]["attention"] > 199 * short["flops"][0]["attention"]
    assert long["flops"][0]["layers"] == short["flops"][0]["layers"]
    assert as_json(capsys, "llama3-8b")["context"] == 131_072
    assert "attention, 1 token" in " ".join(shown(capsys, "gpt2", "--context", "1"))


def test_what_has_no_cache_and_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    digits = as_json(capsys, "digits-784-16-16-10")
    assert (digits["parameters"], digits["biases"], digits["cache_bytes"]) == (13_002, 42, None)
    assert digits["flops"][0]["of"] == "image"
    assert not any("cache" in line for line in shown(capsys, "bert-base"))
    both = shown(capsys, "t5-small")
    assert any(line.startswith("operations, one source token") for line in both)
    assert any(line.startswith("512 tokens of each") for line in both)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpt3"], "there is no model and no preset gpt3; did you mean gpt3-175b?"),
        (["GPT2-xxl"], "did you mean gpt2-xl?"),
        (["zebra"], "there is no model and no preset zebra; `cutaway anatomy` lists the presets"),
        (["weights.gguf"], "weights.gguf"),
        (["runs/zebra"], "there is no model at runs/zebra"),
        (["gpt2", "--context", "1025"], "gpt2 has learned positions for 1,024 tokens; --context 1025 is beyond them"),
        (["digits-784-16-16-10", "--context", "5"], "reads pictures, not text: leave --context out"),
        (["gpt2", "--context", "0"], "--context"),
        (["weights.bin"], "weights.bin"),
    ],
    ids=" ".join,
)
def test_bad_input(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"")
    (tmp_path / "weights.gguf").write_bytes(b"GGUF")
    assert run_command(["anatomy", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
