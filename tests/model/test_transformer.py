"""The transformer against `transformers`' Qwen3 on the same weights, and against itself with and without a cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cutaway.model import KVCache, ModelConfig, Taps, Transformer, load_model, save_model
from cutaway.runs import BadInput

CONFIG = ModelConfig(vocab_size=97, n_layers=2, d_model=64, n_heads=4, n_kv_heads=2, d_head=16, d_mlp=96, context=48)


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    model = Transformer(CONFIG)
    with torch.no_grad():
        for weight in model.parameters():
            # Away from the initial values, at which a wrong norm gain or scale would not show.
            weight.add_(torch.randn_like(weight) * 0.1)
    return model.eval().requires_grad_(False)


def saved(model: Transformer, directory: Path) -> Path:
    save_model(model, directory, token_ids={"bos_token_id": 0, "eos_token_id": [0, 1]})
    return directory


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 17), (2, 48)])
def test_logits_equal_those_of_transformers(model: Transformer, tmp_path: Path, batch: int, length: int) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(saved(model, tmp_path), dtype=torch.float32)
    assert type(theirs).__name__ == "Qwen3ForCausalLM"
    tokens = torch.randint(0, CONFIG.vocab_size, (batch, length))
    torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=1e-4, rtol=1e-4)


def test_untied_embeddings_equal_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = Transformer(ModelConfig(**{**vars(CONFIG), "tied_embeddings": False})).eval()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(saved(model, tmp_path), dtype=torch.float32)
    tokens = torch.randint(0, CONFIG.vocab_size, (2, 9))
    torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=1e-4, rtol=1e-4)
    assert load_model(tmp_path).n_parameters() == model.n_parameters()


def test_a_saved_model_is_loaded_to_the_bit(model: Transformer, tmp_path: Path) -> None:
    again = load_model(saved(model, tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert again.config == CONFIG


def test_reading_in_pieces_equals_reading_at_once(model: Transformer) -> None:
    tokens = torch.randint(0, CONFIG.vocab_size, (3, 20))
    cache = KVCache(CONFIG, 3, 20)
    pieces = [model(part, cache=cache) for part in tokens.split([7, 1, 1, 11], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model(tokens), atol=1e-5, rtol=1e-5)


def test_padding_on_the_left_changes_nothing(model: Transformer) -> None:
    short, long = torch.randint(1, 97, (1, 5)), torch.randint(1, 97, (1, 12))
    batch = torch.cat([torch.cat([torch.zeros(1, 7, dtype=torch.long), short], 1), long])
    cache = KVCache(CONFIG, 2, 16, torch.tensor([7, 0]))
    first = model(batch, cache=cache)
    torch.testing.assert_close(first[0, 7:], model(short)[0], atol=1e-5, rtol=1e-5)
    more = torch.randint(1, 97, (2, 2))
    after = model(more, cache=cache)
    torch.testing.assert_close(after[0], model(torch.cat([short[0], more[0]])[None])[0, 5:], atol=1e-5, rtol=1e-5)
    cache.keep(torch.tensor([True, False]))
    assert cache.layers[0].k.shape[0] == 1


def test_a_tap_sees_and_changes_what_it_names(model: Transformer) -> None:
    tokens = torch.randint(0, 97, (1, 6))
    seen: dict[str, torch.Tensor] = {}

    def look(name: str) -> dict[str, list[Any]]:
        return {name: [lambda tensor: seen.update({name: tensor})]}

    names = ("blocks.1.attn.hook_z", "blocks.0.mlp.hook_post", "ln_final.hook_normalized")
    taps = Taps({name: changes for wanted in names for name, changes in look(wanted).items()})
    plain = model(tokens, tap=taps)
    assert torch.equal(plain, model(tokens))
    assert seen["blocks.1.attn.hook_z"].shape == (1, 6, 4, 16)
    assert seen["blocks.0.mlp.hook_post"].shape == (1, 6, 96)
    assert seen["ln_final.hook_normalized"].shape == (1, 6, 64)
    silenced = model(tokens, tap=Taps({"blocks.0.hook_attn_out": [torch.zeros_like]}))
    assert not torch.allclose(plain, silenced)


def test_depth_gives_shapes_that_fit_together() -> None:
    for depth in range(1, 40):
        config = ModelConfig.from_depth(depth, 100)
        assert config.n_heads * config.d_head == config.d_model
        assert config.n_heads % config.n_kv_heads == 0


def test_damaged_directories_are_refused_in_one_line(model: Transformer, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no config\.json"):
        load_model(tmp_path)
    weights = saved(model, tmp_path) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(BadInput, match="cut short inside tensor model"):
        load_model(tmp_path)
    weights.write_bytes(whole)
    config = json.loads((tmp_path / "config.json").read_text())
    for key, value, message in (
        ("intermediate_size", 128, "mlp.gate_proj.weight .* has shape"),
        ("num_hidden_layers", 3, "lacks tensor model.layers.2"),
        ("architectures", ["GPTJForCausalLM"], "describes a GPTJForCausalLM"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
        with pytest.raises(BadInput, match=message) as caught:
            load_model(tmp_path)
        assert "\n" not in str(caught.value)
