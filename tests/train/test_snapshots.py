"""Snapshots: which steps are kept, that each is the model of its step, and that training is the same with them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.infer import load
from cutaway.model import Transformer
from cutaway.runs import SilentProgress
from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer
from cutaway.train import Example, Rows, Source, Watch, lay_out, unwatched
from cutaway.train.pretrain import PretrainSettings, pretrain
from cutaway.train.snapshots import snapshot_steps, snapshots_in

SETTINGS = PretrainSettings.model_validate(
    {"depth": 1, "width": 32, "heads": 2, "context": 32, "tokens": 40 * 64, "batch_tokens": 64, "row_length": 16}
    | {"compile": False, "checkpoint_seconds": 1e-6, "precision": "float32"}
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    texts = ["one and one is two, and two and two is four"] * 4
    return train_tokenizer(TokenizerSettings(vocab_size=300), texts, tmp_path_factory.mktemp("tokenizer"))


def trained(tokenizer: Tokenizer, directory: Path, watch: Watch | None = None, **changed: object) -> Transformer:
    settings = SETTINGS.model_copy(update=changed)
    rows = Source("counting", [Example([(start + i) % 256 for i in range(20)]) for start in range(50)], 1.0)
    laid: Rows = lay_out([rows], 160, 16, seed=0)
    return pretrain(settings, tokenizer, laid, directory, SilentProgress(), watch or unwatched(), seed=1)


@given(st.integers(1, 100_000), st.integers(1, 64))
def test_steps_begin_with_none_and_rise_in_ratios(steps: int, count: int) -> None:
    kept = sorted(snapshot_steps(steps, count))
    assert kept[0] == 0
    assert len(kept) <= count
    assert steps not in kept
    assert kept[-1] < steps
    gaps = [later - earlier for earlier, later in pairwise(kept)]
    assert all(later >= earlier - 1 for earlier, later in pairwise(gaps))  # but for rounding, ever wider apart


def test_which_steps() -> None:
    assert snapshot_steps(1000, 0) == frozenset()
    assert snapshot_steps(1000, 4) == {0, 1, 10, 100}
    assert snapshot_steps(1000, 1) == {0}


def test_each_is_the_model_of_its_step(tokenizer: Tokenizer, tmp_path: Path) -> None:
    seen: dict[int, list[torch.Tensor]] = {}

    def look(model: Transformer, step: int) -> dict[str, float]:
        seen[step] = [weight.detach().clone() for weight in model.parameters()]
        return {}

    with_them = trained(tokenizer, tmp_path / "a", Watch(1, look), snapshots=5, ema=0.5)
    kept = snapshots_in(tmp_path / "a")
    assert list(kept) == [0, 1, 3, 6, 16]
    for step, path in list(kept.items())[1:]:
        found = load(path)
        assert all(torch.equal(a, b) for a, b in zip(seen[step], found.model.parameters(), strict=True))
        assert found.tokenizer.encode("one and") == tokenizer.encode("one and")
    without = trained(tokenizer, tmp_path / "b", ema=0.5)
    assert all(torch.equal(a, b) for a, b in zip(with_them.parameters(), without.parameters(), strict=True))
    assert snapshots_in(tmp_path / "b") == {}


def test_a_resumed_run_keeps_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(model: Transformer, step: int) -> dict[str, float]:
        if step == 9 and not stopped:
            stopped.append(step)
            raise Stopped
        return {}

    stopped: list[int] = []
    with pytest.raises(Stopped):
        trained(tokenizer, tmp_path / "cut", Watch(1, stop), snapshots=5)
    assert list(snapshots_in(tmp_path / "cut")) == [0, 1, 3, 6]
    trained(tokenizer, tmp_path / "cut", Watch(1, stop), snapshots=5)
    trained(tokenizer, tmp_path / "whole", Watch(1, stop), snapshots=5)
    cut, whole = snapshots_in(tmp_path / "cut"), snapshots_in(tmp_path / "whole")
    assert list(cut) == list(whole)
    for step in cut:
        assert (cut[step] / "model.safetensors").read_bytes() == (whole[step] / "model.safetensors").read_bytes()
