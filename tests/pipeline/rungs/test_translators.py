"""The rung's Transformer against the house's own generation and traces, and what is measured of all models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from cutaway.infer.generate import Session
from cutaway.infer.trace import Trace
from cutaway.ladder.beam import translate
from cutaway.model import Transformer
from cutaway.pipeline.rungs.translators import (
    Name,
    Size,
    Translator,
    alignments,
    batches_of,
    build,
    learn,
    most_tokens,
    nats_per_token,
    padded,
    translations,
)
from cutaway.runs import SilentProgress

V, MARK = 30, 0
TINY = Size(width=16, layers=2, heads=2, d_mlp=32, vocab_size=V, rows=4, dropout=0.1)
NAMES: tuple[Name, ...] = get_args(Name)
SOURCES = [[MARK, 5, 6, 7, 8, 9, 10, 11], [MARK, 12], [MARK, 13, 14, 15], [MARK, 20, 21, 22, 23]]


def untrained(name: Name) -> Translator:
    translator = build(name, TINY, V, seed=1)
    with torch.no_grad():
        # Large ones, so that what is written depends on what is read; E less, by which each token foretells itself.
        for of, weight in translator.model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.3 if "embed" in of else 0.7)
    translator.model.eval()
    return translator


def greedily(model: Transformer, source: list[int], most: int) -> list[int]:
    """One source by itself, as the house writes."""
    session = Session(model, source)
    session.read([MARK])
    found: list[int] = []
    while len(found) < most and (token := int(session.logits.argmax())) != MARK:
        found.append(token)
        session.read([token])
    return found


def test_the_transformer_writes_in_batches_what_it_writes_alone() -> None:
    translator = untrained("transformer")
    assert isinstance(translator.model, Transformer)
    found = translations(translator, SOURCES, mark=MARK, width=1)
    most = most_tokens(max(map(len, SOURCES)))
    assert found == [greedily(translator.model, source, most) for source in SOURCES]
    assert len(set(map(tuple, found))) > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_beam_finds_the_same_whatever_the_company(name: Name) -> None:
    translator = untrained(name)

    def found(sources: list[list[int]]) -> list[list[int]]:
        source, present = padded(sources, MARK)
        return translate(translator.writer, source, present, start=MARK, end=MARK, most=8, width=3)

    together = found(SOURCES)
    assert together == [found([source])[0] for source in SOURCES]
    assert len(set(map(tuple, together))) == len(SOURCES)


def test_the_transformers_alignment_is_the_mean_of_its_last_patterns() -> None:
    translator = untrained("transformer")
    assert isinstance(translator.model, Transformer)
    targets = [[4, 5, 6], [7], [8, 9, 10, 11], [12, 13]]
    found = alignments(translator, SOURCES, targets, mark=MARK)
    for source, target, shares in zip(SOURCES, targets, found, strict=True):
        trace = Trace(translator.model, source, target=[MARK, *target])
        pattern = trace["blocks.1.cross_attn.hook_pattern"][0].mean(0).numpy()
        np.testing.assert_allclose(shares, pattern, atol=1e-6)
        np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)


def test_a_model_without_attention_has_no_alignment() -> None:
    assert alignments(untrained("fixed"), SOURCES, [[1], [2], [3], [4]], mark=MARK) == []


@pytest.mark.parametrize("name", NAMES)
def test_nats_are_those_of_the_logits(name: Name) -> None:
    translator = untrained(name)
    targets = [[4, 5, 6], [7], [8, 9, 10, 11], [12, 13]]
    total, count = 0.0, 0
    for source, target in zip(SOURCES, targets, strict=True):
        read, told = torch.tensor([source]), torch.tensor([[MARK, *target]])
        present = torch.ones_like(read, dtype=torch.bool)
        model = translator.model
        with torch.no_grad():
            logits = (
                model(read, told, present=present) if isinstance(model, Transformer) else model(read, present, told)
            )
        wanted = torch.tensor([*target, MARK])
        total -= float(logits[0].log_softmax(-1)[range(len(wanted)), wanted].sum())
        count += len(wanted)
    found = nats_per_token(translator, batches_of(list(zip(SOURCES, targets, strict=True)), MARK))
    assert found == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("name", ["bahdanau", "transformer"])
def test_each_learns_to_turn_a_sequence_round(name: Name, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [rng.integers(1, 7, int(rng.integers(1, 5))).tolist() for _ in range(400)]
    pairs = [([MARK, *row], row[::-1]) for row in rows]
    size = Size(width=32, layers=1, heads=2, d_mlp=64, vocab_size=7, rows=16, dropout=0.0)
    translator = build(name, size, 7, seed=1)
    course = learn(
        translator, name, pairs, pairs[:50], size,
        epochs=8, mark=MARK, seed=1, directory=tmp_path, progress=SilentProgress(),
    )  # fmt: skip
    epochs, losses = zip(*course.curve, strict=True)
    assert epochs[-1] == pytest.approx(8, abs=0.1)
    assert losses[0] > 1.5
    # 1.6 are needed where a target's tokens are known to be six, and its length to be from one to four.
    assert losses[-1] < 1.2
    assert course.seconds > 0


def test_weights_are_as_many_as_the_paper_counts() -> None:
    # Vaswani et al. (2017): of a layer 4 d² for each attention and 2 d·d_ff for the MLP, one embedding for all.
    d, ff, n, vocab = 32, 64, 3, 50
    size = Size(width=d, layers=n, heads=4, d_mlp=ff, vocab_size=vocab, rows=4, dropout=0.0)
    model = build("transformer", size, vocab, seed=1).model
    matrices = sum(weight.numel() for weight in model.parameters() if weight.dim() > 1)
    assert matrices == n * (4 * d * d + 2 * d * ff) + n * (8 * d * d + 2 * d * ff) + vocab * d
    assert isinstance(model, Transformer)
    assert model.config.embedding_scale == pytest.approx(math.sqrt(d))


def test_the_same_seed_gives_the_same_model() -> None:
    first, same, other = (build("bahdanau", TINY, V, seed).model.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["embed.weight"], other["embed.weight"])
