"""The table from the command line to its report, and what its columns mean."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cutaway.corpus.suffix_array import Index
from cutaway.ladder.infinigram import InfiniGram
from cutaway.ladder.ngram import KneserNey
from cutaway.ladder.recurrent_model import RecurrentModel
from cutaway.ladder.writing import reader
from cutaway.model import Transformer
from cutaway.pipeline.rungs.table import TITLES, TableSettings, attending, new_model
from cutaway.runs import read_results
from cutaway.tokens import Tokenizer

NAME = "table"
TINY = (
    "tokens=1024", "batch_tokens=256", "row_length=32", "parameters=6000", "width=8", "depth=1", "order=3",
    "neural_order=4",
)  # fmt: skip
NEURAL = [name for name in TITLES if name not in ("kneser_ney", "infinigram")]


def test_every_model_has_every_figure_on_the_same_bytes(verses: str, finished: Path) -> None:
    results = {result.metric: result for result in read_results(finished / "evals.json")}
    assert len(results) == 4 * len(TITLES)
    assert {results[f"bits_per_byte/{name}"].n for name in TITLES} == {len(verses[int(len(verses) * 0.9) :])}
    assert all(result.value > 0 for result in results.values())
    for name in NEURAL:
        weights = load_file(finished / "model" / f"{name}.safetensors")
        n = sum(weight.numel() for weight in weights.values())
        assert results[f"parameters/{name}"].value == n == pytest.approx(6000, rel=0.25)
        # They have begun to learn.
        assert results[f"bits_per_byte/{name}"].value < np.log2(40)
    report = (finished / "report.md").read_text()
    assert all(f"| {title} |" in report for title in TITLES.values())
    assert (finished / "learning.svg").exists()
    assert json.loads((finished / "data.json").read_text())["rows"].keys() == TITLES.keys()
    assert not list(finished.glob("*/checkpoints"))


def test_figures_are_those_of_the_models_that_it_leaves(verses: str, finished: Path) -> None:
    results = {result.metric: result.value for result in read_results(finished / "evals.json")}
    tokenizer = Tokenizer.load(finished / "model")
    cut = int(len(verses) * 0.9)
    training, heldout = ([tokenizer.end_of_text, *tokenizer.encode(part)] for part in (verses[:cut], verses[cut:]))
    counted = KneserNey.fit([training], 3, vocab_size=tokenizer.vocab_size)
    weights = load_file(finished / "model" / "gru.safetensors")
    gru = RecurrentModel("gru", tokenizer.vocab_size, 8, weights["output.weight"].shape[1])
    gru.load_state_dict(weights)
    looked_up = InfiniGram(Index(finished / "model" / "infinigram"), tokenizer.end_of_text)
    for name, model in (("kneser_ney", counted), ("infinigram", looked_up), ("gru", gru)):
        bits = -model.log_probs(heldout)[1:].sum() / np.log(2) / len(verses[cut:])
        assert results[f"bits_per_byte/{name}"] == pytest.approx(bits, rel=1e-5)


@pytest.mark.parametrize("name", NEURAL)
def test_reading_one_by_one_gives_what_reading_all_at_once_gives(name: str) -> None:
    settings = TableSettings.model_validate({"parameters": 6000, "width": 8, "depth": 2, "neural_order": 4})
    model = new_model(name, settings, 40, seed=1).eval()
    tokens = torch.randint(0, 40, (1, 20))
    with torch.inference_mode():
        expected = model(tokens)[0].softmax(-1)
    read = attending(model) if isinstance(model, Transformer) else reader(model)
    for token, distribution in zip(tokens[0].tolist(), expected, strict=True):
        np.testing.assert_allclose(np.asarray(read(token)), distribution, rtol=1e-4, atol=1e-5)


def test_some_rows_only(climb: Callable[..., int], tmp_path: Path) -> None:
    assert climb(tmp_path / "run", 'models=["kneser_ney"]') == 0
    assert len(read_results(tmp_path / "run" / "table" / "evals.json")) == 4
    assert not (tmp_path / "run" / "table" / "learning.svg").exists()
    assert "learning.svg" not in (tmp_path / "run" / "table" / "report.md").read_text()


def test_what_took_long_is_not_thrown_away_unasked(
    climb: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert climb(tmp_path / "run", 'models=["kneser_ney"]') == 0
    before = (tmp_path / "run" / "table" / "evals.json").read_bytes()
    assert climb(tmp_path / "run", 'models=["kneser_ney"]', "order=2") == 2
    assert "--again" in capsys.readouterr().err
    assert (tmp_path / "run" / "table" / "evals.json").read_bytes() == before


def test_without_its_library_the_row_is_left_out(
    climb: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pydivsufsort", None)
    assert climb(tmp_path / "run", 'models=["kneser_ney", "infinigram"]') == 0
    assert "left out: an index needs pydivsufsort" in " ".join(capsys.readouterr().out.split())
    assert len(read_results(tmp_path / "run" / "table" / "evals.json")) == 4
