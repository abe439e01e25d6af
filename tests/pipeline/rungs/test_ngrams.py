"""The rung of n-grams from the command line to its report."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cutaway.ladder.neural_ngram import NeuralNgram
from cutaway.ladder.ngram import KneserNey
from cutaway.pipeline.rungs.ngrams import chain, likeness
from cutaway.runs import read_results
from cutaway.tokens import Tokenizer

NAME = "ngrams"
TINY = ("tokens=4096", "batch_tokens=512", "row_length=32", "order=4", "neural_order=4", "width=4", "hidden=16")


def test_its_figures_are_those_of_its_models(verses: str, finished: Path) -> None:
    results = {result.metric: result for result in read_results(finished / "evals.json")}
    tokenizer = Tokenizer.load(finished / "model")
    cut = int(len(verses) * 0.9)
    training, heldout = ([tokenizer.end_of_text, *tokenizer.encode(part)] for part in (verses[:cut], verses[cut:]))
    size = len(verses[cut:].encode())
    by_order = [
        -KneserNey.fit([training], n, vocab_size=tokenizer.vocab_size).log_probs(heldout)[1:].sum() / np.log(2) / size
        for n in range(1, 5)
    ]
    data = json.loads((finished / "data.json").read_text())
    assert data["bits_per_byte"]["kneser_ney"] == pytest.approx(by_order)
    assert results["bits_per_byte/kneser_ney"].value == pytest.approx(min(by_order))
    assert results["bits_per_byte/kneser_ney"].n == size
    seen = set(zip(training, training[1:], training[2:], training[3:], strict=False))
    new = [gram not in seen for gram in zip(heldout, heldout[1:], heldout[2:], heldout[3:], strict=False)]
    assert results["unforetold"].value >= sum(new[1:]) / (len(heldout) - 1)
    network = NeuralNgram(tokenizer.vocab_size, 4, 4, 16)
    network.load_state_dict(load_file(finished / "model" / "neural.safetensors"))
    bits = -network.log_probs(heldout)[1:].sum() / np.log(2) / size
    assert results["bits_per_byte/neural"].value == pytest.approx(bits, rel=1e-5)
    assert bits < np.log2(tokenizer.vocab_size)


def test_the_bigrams_are_shares_of_what_follows(verses: str, finished: Path) -> None:
    data = json.loads((finished / "data.json").read_text())
    training = verses[: int(len(verses) * 0.9)]
    h, e = data["characters"].index("h"), data["characters"].index("e")
    after_h = [b for a, b in pairwise(training) if a == "h"]
    assert data["bigrams"][h][e] == pytest.approx(after_h.count("e") / len(after_h))


def test_its_report_and_pictures_are_there(finished: Path) -> None:
    report = (finished / "report.md").read_text()
    for name in ("orders", "bigrams", "vectors"):
        assert f"({name}.svg)" in report
        assert (finished / f"{name}.svg").read_text().startswith("<svg")
    assert (finished / "model" / "kneser_ney.safetensors").exists()
    assert not list(finished.glob("*/checkpoints"))


def test_the_same_seed_gives_the_same_figures(climb: Callable[..., int], finished: Path, tmp_path: Path) -> None:
    assert climb(tmp_path / "again") == 0
    assert (tmp_path / "again" / "ngrams" / "evals.json").read_text() == (finished / "evals.json").read_text()


def test_pieces_instead_of_characters(verses: str, climb: Callable[..., int], tmp_path: Path) -> None:
    assert climb(tmp_path / "run", "tokenizer.kind=bpe", "tokenizer.vocab_size=300") == 0
    results = {result.metric: result for result in read_results(tmp_path / "run" / "ngrams" / "evals.json")}
    assert results["bits_per_byte/kneser_ney"].n == len(verses[int(len(verses) * 0.9) :])
    assert not (tmp_path / "run" / "ngrams" / "bigrams.svg").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no text"),
        ("too short", "two rows take 64"),
        ("the same words again " * 100 + "zebra quest", "characters that the part before it lacks"),
    ],
)
def test_texts_that_cannot_be_learned_from(
    climb: Callable[..., int], text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert climb(tmp_path / "run", text=text) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err


def test_likeness_is_correlation_where_a_vectors_own_mean_is_nought() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(6, 40)
    centred = vectors - vectors.mean(0)
    # Numpy takes each row's own mean away as well.
    balanced = torch.cat([centred, -centred], dim=1)
    np.testing.assert_allclose(likeness(vectors), np.corrcoef(balanced.numpy()), atol=1e-6)


def test_a_chain_walks_to_the_likest() -> None:
    angles = torch.tensor([0.0, 2.0, 0.6, 1.3, 2.9])
    alike = likeness(torch.stack([angles.cos(), angles.sin()], dim=1))
    order = chain(alike)
    assert sorted(order) == [0, 1, 2, 3, 4]
    for at, row in enumerate(order[:-1]):
        assert alike[row, order[at + 1]] == max(alike[row, other] for other in order[at + 1 :])
