"""Adapters to and from PEFT, on the same random weights in `transformers` and here."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from safetensors.torch import load_file, save_file

from cutaway.model import Transformer, load_model
from cutaway.runs import BadInput
from cutaway.train.lora import LoraSettings, adapters, add_lora, merge_lora
from cutaway.train.peft_format import load_adapter, save_adapter

peft = pytest.importorskip("peft")
# Where the base model is, and what it does not know of these small ones.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:peft", "ignore::FutureWarning:transformers")

EVERY_MATRIX = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "qwen3": ["q_proj", "v_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "bert": ["query", "key", "value", "output.dense", "intermediate.dense", "transform.dense"],
    "bert-body": ["query", "value", "pooler.dense"],
    "t5": ["q", "k", "v", "o", "wi", "wo"],
    "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "gpt_neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
    "bloom": ["query_key_value", "dense_h_to_4h"],
    "modernbert-body": ["Wqkv", "Wi"],
    "bart": ["q_proj", "out_proj", "fc1", "fc2"],
    "mixtral": ["q_proj", "k_proj", "v_proj", "o_proj"],
}


class Pair:
    """One of the zoo's models and ours of the same weights."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        zoo.build(name).save_pretrained(directory)

    def ours(self) -> Transformer:
        return load_model(self.directory)

    def theirs(self) -> Any:
        return zoo.build(self.name)

    def logits(self, model: Any) -> torch.Tensor:
        """Of either."""
        draw = torch.Generator().manual_seed(9)
        read, target = (torch.randint(3, zoo.V, (2, n), generator=draw) for n in (19, 12))
        seq2seq = self.name in zoo.SEQ2SEQS
        with torch.no_grad():
            if isinstance(model, Transformer):
                return model.eval()(read, target) if seq2seq else model.eval()(read)
            output = model.eval()(input_ids=read, **({"decoder_input_ids": target} if seq2seq else {}))
            return output.logits if "logits" in output else output.last_hidden_state


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    made: dict[str, Pair] = {}

    def pair(name: str) -> Pair:
        if name not in made:
            made[name] = Pair(name, tmp_path_factory.mktemp(name))
        return made[name]

    return pair


def stir(model: Any) -> None:
    """Adapters that do something, in either's model."""
    draw = torch.Generator().manual_seed(5)
    for key, weight in model.named_parameters():
        if "lora_" in key:
            weight.data.normal_(std=0.15, generator=draw)


def close(ours: torch.Tensor, theirs: torch.Tensor, plain: torch.Tensor) -> None:
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max().clamp(min=1)
    # And the adapter is felt.
    assert (theirs - plain).abs().max() > 0.1


def opened_by_peft(pair: Pair, directory: Path) -> Any:
    """What PEFT makes of an adapter of ours; it must find every matrix that it expects, and no other."""
    model = peft.PeftModel.from_pretrained(pair.theirs(), directory)
    wanted = {key for key in peft.get_peft_model_state_dict(model) if "lora_" in key}
    assert wanted == load_file(directory / "adapter_model.safetensors").keys()
    return model


@pytest.mark.filterwarnings("error:.*adapter keys")
@pytest.mark.parametrize("name", list(EVERY_MATRIX))
def test_peft_opens_what_is_saved(name: str, pairs: Callable[[str], Pair], tmp_path: Path) -> None:
    pair = pairs(name)
    model = pair.ours()
    plain = pair.logits(model)
    add_lora(model, LoraSettings(rank=3, alpha=5, dropout=0.1))
    stir(model)
    save_adapter(model, tmp_path / "adapter", "somebody/base")
    theirs = opened_by_peft(pair, tmp_path / "adapter")
    close(pair.logits(model), pair.logits(theirs), plain)
    assert theirs.peft_config["default"].base_model_name_or_path == "somebody/base"
    assert theirs.peft_config["default"].lora_dropout == 0.1
    merge_lora(model)
    close(pair.logits(model), pair.logits(theirs.merge_and_unload()), plain)


@pytest.mark.parametrize("name", list(EVERY_MATRIX))
def test_what_peft_saved_is_opened(name: str, pairs: Callable[[str], Pair], tmp_path: Path) -> None:
    pair = pairs(name)
    settings = peft.LoraConfig(r=4, lora_alpha=6, lora_dropout=0.2, target_modules=EVERY_MATRIX[name])
    theirs = peft.get_peft_model(pair.theirs(), settings)
    stir(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    model = pair.ours().requires_grad_(True)
    plain = pair.logits(model)
    load_adapter(model, tmp_path / "theirs")
    close(pair.logits(model), pair.logits(theirs), plain)
    assert {layer.lora_dropout for layer in adapters(model).values()} == {0.2}
    assert all(weight.requires_grad == ("lora_" in key) for key, weight in model.named_parameters())
    # Written again they are, to the bit, what was read.
    save_adapter(model, tmp_path / "ours", "")
    before, after = (load_file(tmp_path / place / "adapter_model.safetensors") for place in ("theirs", "ours"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    opened_by_peft(pair, tmp_path / "ours")


@pytest.mark.parametrize("name", ["qwen3", "t5", "gpt2", "modernbert"])
def test_saved_and_opened_again_nothing_has_changed(name: str, pairs: Callable[[str], Pair], tmp_path: Path) -> None:
    pair = pairs(name)
    model, again = pair.ours(), pair.ours()
    add_lora(model, LoraSettings(rank=3, rslora=True))
    stir(model)
    save_adapter(model, tmp_path, "")
    load_adapter(again, tmp_path)
    if name in ("qwen3", "t5"):
        before, after = dict(model.named_parameters()), dict(again.named_parameters())
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert torch.equal(pair.logits(model), pair.logits(again))
    assert (pair.logits(model) - pair.logits(again)).abs().max() < 1e-3


@pytest.mark.filterwarnings("error:.*adapter keys")
@pytest.mark.parametrize(
    ("name", "targets"),
    [("gpt2", ("q", "v")), ("gpt2", ("o",)), ("gpt_neox", ("k",)), ("phi3", ("up", "q", "o")), ("bert", ("down",))],
)
def test_some_of_the_matrices_that_lie_in_one(
    name: str, targets: Any, pairs: Callable[[str], Pair], tmp_path: Path
) -> None:
    pair = pairs(name)
    model = pair.ours()
    plain = pair.logits(model)
    add_lora(model, LoraSettings(rank=2, targets=targets, rslora=True))
    stir(model)
    save_adapter(model, tmp_path, "")
    close(pair.logits(model), pair.logits(opened_by_peft(pair, tmp_path)), plain)


def test_ranks_and_alphas_of_single_layers(pairs: Callable[[str], Pair], tmp_path: Path) -> None:
    pair = pairs("llama")
    settings = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        use_rslora=True,
        target_modules=["q_proj", "v_proj", "up_proj"],
        layers_to_transform=[0, 2],
        rank_pattern={"q_proj": 2, "layers.2.mlp.up_proj": 5},
        alpha_pattern={"^model.layers.0.self_attn.q_proj": 7, r"self_attn\.v_proj": 3},
    )
    theirs = peft.get_peft_model(pair.theirs(), settings)
    stir(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    model = pair.ours()
    plain = pair.logits(model)
    load_adapter(model, tmp_path / "theirs")
    close(pair.logits(model), pair.logits(theirs), plain)
    found = {name: (len(layer.lora_A), layer.alpha) for name, layer in adapters(model).items()}
    assert found == {
        "blocks.0.attn.q": (2, 7), "blocks.0.attn.v": (4, 3), "blocks.0.mlp.up": (4, 6),
        "blocks.2.attn.q": (2, 6), "blocks.2.attn.v": (4, 3), "blocks.2.mlp.up": (5, 6),
    }  # fmt: skip
    save_adapter(model, tmp_path / "ours", "")
    close(pair.logits(model), pair.logits(opened_by_peft(pair, tmp_path / "ours")), plain)


def test_an_adapter_of_the_body_alone_is_opened_on_the_whole(pairs: Callable[[str], Pair], tmp_path: Path) -> None:
    pair = pairs("gpt2")
    theirs = pair.theirs()
    body = peft.get_peft_model(theirs.transformer, peft.LoraConfig(r=2, target_modules=["c_attn"]))
    stir(body)
    body.save_pretrained(tmp_path)
    model = pair.ours()
    plain = pair.logits(model)
    load_adapter(model, tmp_path)
    close(pair.logits(model), pair.logits(theirs), plain)


def saved(pair: Pair, directory: Path, **settings: Any) -> Path:
    """An adapter of PEFT's."""
    config = peft.LoraConfig(**{"r": 2, "target_modules": ["q_proj"], **settings})
    peft.get_peft_model(pair.theirs(), config).save_pretrained(directory)
    return directory


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "biases trained"),
        ({"lora_bias": True}, "biases in its adapters"),
        ({"init_lora_weights": "pissa"}, "pissa has changed"),
        ({"target_modules": ["embed_tokens"]}, "embed_tokens.*, which is no A or B"),
        ({"trainable_token_indices": [1, 2]}, "tokens trained"),
        ({"alpha_pattern": {"layers.(0|1).*q_proj": 3}}, "alpha_pattern"),
    ],
)
def test_more_than_plain_lora_is_refused(
    settings: dict[str, Any], message: str, pairs: Callable[[str], Pair], tmp_path: Path
) -> None:
    pair = pairs("llama")
    model = pair.ours()
    before = dict(model.named_parameters())
    with pytest.raises(BadInput, match=message) as error:
        load_adapter(model, saved(pair, tmp_path, **settings))
    assert str(tmp_path) in str(error.value)
    assert dict(model.named_parameters()).keys() == before.keys()


def test_other_kinds_of_adapter_are_refused(pairs: Callable[[str], Pair], tmp_path: Path) -> None:
    config = peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])
    peft.get_peft_model(pairs("llama").theirs(), config).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="adapters of type IA3"):
        load_adapter(pairs("llama").ours(), tmp_path)


def test_an_adapter_of_another_model_is_refused(pairs: Callable[[str], Pair], tmp_path: Path) -> None:
    directory = saved(pairs("llama"), tmp_path)
    with pytest.raises(BadInput, match=r"adapts model\.layers\.0\.self_attn\.q_proj, which is no linear .* gpt2"):
        load_adapter(pairs("gpt2").ours(), directory)
    # Here its queries are 6 heads of 16, not of 8.
    with pytest.raises(
        BadInput, match=r"lora_B of model.layers.0.self_attn.q_proj in .* \[48, 2\].* asks for \[96, 2\]"
    ):
        load_adapter(pairs("qwen3").ours(), directory)
    # Experts are no layers of their own.
    rename(directory, "self_attn.q_proj", "block_sparse_moe.experts.0.w1")
    with pytest.raises(BadInput, match="no linear layer of this mixtral"):
        load_adapter(pairs("mixtral").ours(), directory)


def rename(directory: Path, old: str, new: str) -> None:
    tensors = load_file(directory / "adapter_model.safetensors")
    save_file({key.replace(old, new): value for key, value in tensors.items()}, directory / "adapter_model.safetensors")


def damage(what: str, directory: Path) -> None:
    weights, config = directory / "adapter_model.safetensors", directory / "adapter_config.json"
    match what:
        case "no config":
            config.unlink()
        case "no table":
            config.write_text("[1]")
        case "alpha":
            config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": "many"'))
        case "pickle":
            weights.rename(directory / "adapter_model.bin")
        case "no weights":
            weights.unlink()
        case "short":
            weights.write_bytes(weights.read_bytes()[:-5])
        case "half":
            tensors = load_file(weights)
            save_file({key: value for key, value in tensors.items() if "lora_A" in key}, weights)
        case "empty":
            save_file({}, weights)
        case _:
            save_file({key: value.new_zeros(()) for key, value in load_file(weights).items()}, weights)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no config", "has no adapter_config.json"),
        ("no table", "not an adapter's configuration"),
        ("alpha", "not an adapter's configuration.*lora_alpha"),
        ("pickle", "pickle"),
        ("no weights", "has no adapter_model.safetensors"),
        ("short", "cut short"),
        ("half", "without its other half"),
        ("empty", "holds no adapters"),
        ("numbers", r"shape \[\]"),
    ],
)
def test_damaged_adapters_are_named(what: str, message: str, pairs: Callable[[str], Pair], tmp_path: Path) -> None:
    directory = saved(pairs("llama"), tmp_path)
    damage(what, directory)
    with pytest.raises(BadInput, match=message) as error:
        load_adapter(pairs("llama").ours(), directory)
    assert "\n" not in str(error.value)
    assert str(directory) in str(error.value)


def test_a_model_without_adapters_has_none_to_save(pairs: Callable[[str], Pair], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no LoRA adapters"):
        save_adapter(pairs("llama").ours(), tmp_path / "adapter", "")
    assert not (tmp_path / "adapter").exists()


def test_dense_mlps_among_mixtures_cannot_be_told_to_peft(pairs: Callable[[str], Pair], tmp_path: Path) -> None:
    model = pairs("qwen3_moe").ours()
    add_lora(model, LoraSettings())
    with pytest.raises(BadInput, match="merge them"):
        save_adapter(model, tmp_path / "adapter", "")


def test_what_is_saved_replaces_what_was_there(pairs: Callable[[str], Pair], tmp_path: Path) -> None:
    model = pairs("llama").ours()
    add_lora(model, LoraSettings())
    save_adapter(model, tmp_path / "adapter", "")
    first = (tmp_path / "adapter/adapter_model.safetensors").read_bytes()
    shutil.copytree(tmp_path / "adapter", tmp_path / "kept")
    stir(model)
    save_adapter(model, tmp_path / "adapter", "")
    assert {file.name for file in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors"
    }  # fmt: skip
    assert (tmp_path / "adapter/adapter_model.safetensors").read_bytes() != first
    assert {path.name for path in tmp_path.iterdir()} == {"adapter", "kept"}
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert sorted(config["target_modules"]) == sorted(EVERY_MATRIX["llama"])
    assert re.fullmatch(r"\d+", str(config["lora_alpha"]))
