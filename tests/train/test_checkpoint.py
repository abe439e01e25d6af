"""What a checkpoint holds of a model of which only a part is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cutaway.model import ModelConfig, Transformer
from cutaway.runs import BadInput, SilentProgress
from cutaway.train import Example, LoopSettings, Rows, Source, Watch, lay_out, train
from cutaway.train.checkpoint import Checkpoints, checkpoints, read_position, weights_of
from cutaway.train.lora import LoraSettings, add_lora

CONFIG = ModelConfig(vocab_size=50, n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=64, context=32)
SETTINGS = LoopSettings(
    tokens=20 * 4 * 16, batch_tokens=64, row_length=16, ema=0.9, compile=False, checkpoint_seconds=1e-6
)


class Stopped(Exception):
    pass


def counting_rows() -> Rows:
    examples = [Example([(start + i) % 50 for i in range(20)]) for start in range(50)]
    return lay_out([Source("counting", examples, 1.0)], 80, 16, seed=0)


def adapted(rank: int = 4) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(CONFIG)
    add_lora(model, LoraSettings(rank=rank))
    return model


def trained(directory: Path, *, stop: int = 0, rank: int = 4) -> Transformer:
    def look(model: Transformer, step: int) -> dict[str, float]:
        if step == stop:
            raise Stopped
        return {}

    model = adapted(rank)
    train(model, counting_rows(), SETTINGS, directory, SilentProgress(), Watch(1, look), "counting")
    return model


def last(directory: Path) -> Path:
    return checkpoints(directory / "checkpoints")[-1]


def test_only_what_is_trained_is_saved_and_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    trained_names = {name for name in weights_of(whole) if "lora_" in name}
    for part in ("model", "average"):
        assert load_file(last(tmp_path / "whole") / f"{part}.safetensors").keys() == trained_names
    with pytest.raises(Stopped):
        trained(tmp_path / "cut", stop=11)
    resumed = trained(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    frozen, begun = weights_of(whole), weights_of(adapted())
    assert all(torch.equal(frozen[name], begun[name]) == (name not in trained_names) for name in frozen)


def test_a_checkpoint_that_holds_frozen_weights_too_is_gone_on_from(tmp_path: Path) -> None:
    """As all did before only what is trained was saved."""
    whole = trained(tmp_path / "whole")
    with pytest.raises(Stopped):
        trained(tmp_path / "cut", stop=11)
    found = Checkpoints(tmp_path / "cut" / "checkpoints").load(weights_of(adapted()))
    assert found is not None
    position, parts = found
    older = Checkpoints(tmp_path / "older" / "checkpoints")
    every = weights_of(adapted())
    older.save(position, parts | {"model": every | parts["model"], "average": every | parts["average"]})
    older.wait()
    assert load_file(last(tmp_path / "older") / "model.safetensors").keys() == every.keys()
    resumed = trained(tmp_path / "older")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_adapters_of_another_shape_are_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(BadInput, match=r"is of another model \(blocks\.0\.attn\.q\.lora_A\)"):
        trained(tmp_path, rank=2)


def test_the_step_is_told_from_the_directory_and_from_what_is_in_it(tmp_path: Path) -> None:
    trained(tmp_path)
    position, sums = read_position(last(tmp_path))
    assert (position.step, position.line) == (20, None)
    assert last(tmp_path).name == "step-000020"
    assert sorted(sums) == ["average.safetensors", "model.safetensors", "optimizer.safetensors"]
