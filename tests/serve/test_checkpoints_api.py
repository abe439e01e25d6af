"""Models kept on the way of a training: listed in order, looked into by name, and only a few held open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cutaway.infer import LanguageModel
from cutaway.lens import Trace
from cutaway.model import ModelConfig, Transformer
from cutaway.serve import snapshots as kept
from cutaway.serve.gate import Access
from cutaway.serve.keys import Keys, make_key
from cutaway.serve.limits import CallerLimits
from cutaway.serve.offers import offers
from cutaway.serve.snapshots import Snapshots
from cutaway.tokens import Tokenizer
from cutaway.train.pretrain import keep_model, new_model
from cutaway.train.snapshots import SNAPSHOTS

TOKENS = [5, 60, 70]


def config(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig.from_depth(1, tokenizer.vocab_size, context=64)


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    return LanguageModel("demo", new_model(config(tokenizer), 0), tokenizer)


@pytest.fixture
def models(tokenizer: Tokenizer, tmp_path: Path) -> dict[str, Transformer]:
    """A run of two stages, the first of which kept three models; each model is another."""
    run, made = tmp_path / "run", dict[str, Transformer]()
    for seed, (name, place) in enumerate(
        {
            **{f"run:pretrain@{step}": run / "pretrain" / SNAPSHOTS / f"step-{step:06d}" for step in (0, 1, 12)},
            "run:pretrain": run / "pretrain",
            "run:sft": run / "sft",
        }.items()
    ):
        made[name] = new_model(config(tokenizer), seed)
        keep_model(made[name], tokenizer, place)
        if "@" in name:
            for file in (place / "model").iterdir():
                file.rename(place / file.name)
    (run / "pretrain" / "metrics.jsonl").write_text('{"step": 99}\n{"step": 100, "loss": 2.5}\n')
    return made


def test_the_way_of_a_run(serve_live: Any, models: dict[str, Transformer], tmp_path: Path) -> None:
    with serve_live(offers([str(tmp_path / "run")])).client() as http:
        for model in ("run", "run:pretrain"):
            found = http.get("/api/inside/checkpoints", params={"model": model}).json()["checkpoints"]
            assert [(each["name"], each["stage"], each["step"], each["final"]) for each in found] == [
                ("run:pretrain@0", "pretrain", 0, False),
                ("run:pretrain@1", "pretrain", 1, False),
                ("run:pretrain@12", "pretrain", 12, False),
                ("run:pretrain", "pretrain", 100, True),
                ("run:sft", "sft", None, True),
            ]
        assert http.get("/api/inside/checkpoints", params={"model": "absent"}).status_code == 404


def test_each_is_looked_into(serve_live: Any, models: dict[str, Transformer], tmp_path: Path) -> None:
    with serve_live(offers([str(tmp_path / "run")])).client() as http:
        for name, model in models.items():
            asked = {"model": name, "tokens": TOKENS, "name": "blocks.0.hook_resid_post"}
            answer = http.post("/api/inside/tensor", json=asked)
            found = torch.from_numpy(np.frombuffer(answer.content, "<f4").copy())
            expected = Trace(model, TOKENS)["blocks.0.hook_resid_post"]
            assert torch.allclose(found, expected.flatten(), atol=1e-5), name
            read = http.post("/api/inside/tokens", json={"model": name, "text": "The sky"}).json()
            assert read["anatomy"]["n_layers"] == 1


@pytest.mark.parametrize("step", ["2", "", "x", "-1", "0x1", "²", "../../sft"])
def test_a_step_that_was_not_kept(serve_live: Any, models: dict[str, Transformer], tmp_path: Path, step: str) -> None:
    with serve_live(offers([str(tmp_path / "run")])).client() as http:
        answer = http.post("/api/inside", json={"model": f"run:pretrain@{step}", "tokens": TOKENS})
        assert answer.status_code == 404
        assert "the steps kept are: 0, 1, 12" in answer.json()["error"]["message"]
        answer = http.post("/api/inside", json={"model": f"absent@{step}", "tokens": TOKENS})
        assert "there is no model 'absent' here" in answer.json()["error"]["message"]


def test_a_key_sees_the_ways_of_its_own_models(serve_live: Any, models: dict[str, Transformer], tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys.toml", "alice", CallerLimits(), ["run:sft"])
    live = serve_live(offers([str(tmp_path / "run")]), access=Access(keys=Keys(tmp_path / "keys.toml")))
    with live.client(headers={"Authorization": f"Bearer {key}"}) as http:
        found = http.get("/api/inside/checkpoints", params={"model": "run:sft"}).json()["checkpoints"]
        assert [each["name"] for each in found] == ["run:sft"]
        assert http.post("/api/inside", json={"model": "run:pretrain@1", "tokens": TOKENS}).status_code == 403


def test_few_are_held_open(models: dict[str, Transformer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_OPEN", 2)
    held, root = Snapshots(), tmp_path / "run" / "pretrain" / SNAPSHOTS
    first = held.open(root / "step-000000")
    second = held.open(root / "step-000001")
    assert held.open(root / "step-000000") is first
    held.open(root / "step-000012")  # the one that was looked at longest ago goes
    assert held.open(root / "step-000000") is first
    assert held.open(root / "step-000001") is not second
