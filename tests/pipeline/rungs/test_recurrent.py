"""The rung of recurrent networks from the command line to its report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cutaway.ladder.gradient_flow import flow_in
from cutaway.ladder.recurrent_model import RecurrentModel
from cutaway.runs import read_results
from cutaway.tokens import Tokenizer

NAME = "recurrent"
TINY = (
    "tokens=2048", "batch_tokens=512", "row_length=32", "parameters=3000", "width=8", "distance=12", "descent_steps=20",
    "clip=0.1",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_its_figures_are_those_of_its_models(verses: str, finished: Path, kind: str) -> None:
    results = {result.metric: result for result in read_results(finished / "evals.json")}
    tokenizer = Tokenizer.load(finished / "model")
    weights = load_file(finished / "model" / f"{kind}.safetensors")
    hidden = weights["output.weight"].shape[1]
    model = RecurrentModel(kind, tokenizer.vocab_size, 8, hidden)
    model.load_state_dict(weights)
    n = sum(weight.numel() for weight in weights.values())
    assert results[f"parameters/{kind}"].value == n == pytest.approx(3000, rel=0.2)

    heldout = verses[int(len(verses) * 0.9) :]
    ids = [tokenizer.end_of_text, *tokenizer.encode(heldout)]
    size = len(heldout.encode())
    carried = -model.log_probs(ids)[1:].sum() / np.log(2) / size
    assert results[f"bits_per_byte/{kind}"].value == pytest.approx(carried, rel=1e-5)
    blocks = 0.0
    for start in range(0, len(ids) - 1, 32):
        # The last block, which is shorter, is read as the end of a whole one.
        end = min(start + 32, len(ids) - 1)
        read = model.log_probs(ids[end - 32 : end + 1])
        blocks -= read[start - end :].sum()
    assert results[f"bits_per_byte_in_blocks/{kind}"].value == pytest.approx(blocks / np.log(2) / size, rel=1e-5)

    rows = torch.tensor(ids[1:])[: (len(ids) - 1) // 14 * 14].view(-1, 14)[:64]
    data = json.loads((finished / "data.json").read_text())
    assert data["flow"][kind]["trained"] == pytest.approx(flow_in(model, rows), rel=1e-4)
    assert len(data["flow"][kind]["untrained"]) == 13


def test_clipping_keeps_every_step_short(finished: Path) -> None:
    data = json.loads((finished / "data.json").read_text())
    assert {len(steps) for steps in data["descent"].values()} == {20}
    assert data["descent"]["free"][0] == data["descent"]["clipped"][0]
    assert data["descent"]["free"] != data["descent"]["clipped"]
    assert list(data["radius"]) == ["0.5", "1", "1.5", "2"]
    # A larger radius lets more through.
    far = [norms[-1] / norms[0] for norms in data["radius"].values()]
    assert far[0] < far[1]


def test_its_report_and_pictures_are_there(finished: Path) -> None:
    report = (finished / "report.md").read_text()
    for name in ("flow", "untrained", "radius", "clipping"):
        assert f"({name}.svg)" in report
        assert (finished / f"{name}.svg").read_text().startswith("<svg")
    assert not list(finished.glob("*/checkpoints"))


def test_a_text_too_short_to_look_back_in(
    climb: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert climb(tmp_path / "run", "distance=5000") == 2
    assert "to look 5000 back takes 5002" in capsys.readouterr().err
