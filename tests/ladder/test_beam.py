"""Beam search against looking at every translation there is."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from cutaway.ladder.beam import translate

START, END = 0, 1
V, MOST = 4, 4


@dataclass(frozen=True)
class Prefixes:
    tokens: Tensor
    sources: Tensor

    def rows(self, which: Tensor) -> Prefixes:
        return Prefixes(self.tokens[which], self.sources[which])


class Table:
    """A model that draws its logits from the source's first token and everything written so far."""

    def __init__(self, seed: int, spread: float = 2.0) -> None:
        self.seed, self.spread = seed, spread

    def logits(self, source: int, prefix: tuple[int, ...]) -> Tensor:
        number = hash((self.seed, source, prefix)) % 2**31
        return self.spread * torch.randn(V, generator=torch.Generator().manual_seed(number))

    def begin(self, source: Tensor, present: Tensor) -> Prefixes:
        assert present.all()
        return Prefixes(torch.empty(len(source), 0, dtype=torch.long), source[:, 0])

    def step(self, writing: Prefixes, tokens: Tensor) -> tuple[Tensor, Prefixes]:
        written = torch.cat([writing.tokens, tokens[:, None]], dim=1)
        pairs = zip(writing.sources.tolist(), written.tolist(), strict=True)
        logits = torch.stack([self.logits(source, tuple(prefix)) for source, prefix in pairs])
        return logits, Prefixes(written, writing.sources)


def exhaustive(table: Table, source: int, length_penalty: float) -> list[int]:
    """The best of all translations that end within MOST tokens."""
    best, found = -float("inf"), list[int]()
    for length in range(MOST):
        for inner in itertools.product([token for token in range(V) if token != END], repeat=length):
            total, prefix = 0.0, (START,)
            for token in (*inner, END):
                total += float(table.logits(source, prefix).log_softmax(-1)[token])
                prefix += (token,)
            if (score := total / (length + 1) ** length_penalty) > best:
                best, found = score, list(inner)
    return found


def run(table: Table, sources: list[int], **options: float) -> list[list[int]]:
    source = torch.tensor(sources)[:, None]
    present = torch.ones_like(source, dtype=torch.bool)
    return translate(table, source, present, start=START, end=END, most=MOST, **options)  # pyright: ignore


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_beam_that_forgets_nothing_finds_the_best_translation(seed: int, length_penalty: float) -> None:
    table, sources = Table(seed), [5, 6, 7]
    found = run(table, sources, width=V**MOST, length_penalty=length_penalty)
    assert found == [exhaustive(table, source, length_penalty) for source in sources]


def test_a_width_of_one_takes_the_likeliest_token_each_time() -> None:
    table = Table(1)
    for source, found in zip(range(20), run(table, list(range(20)), width=1), strict=True):
        prefix: tuple[int, ...] = (START,)
        while len(prefix) <= MOST and (token := int(table.logits(source, prefix).argmax())) != END:
            prefix += (token,)
        assert found == list(prefix[1:])


def test_without_a_penalty_short_ones_win() -> None:
    table = Table(2)
    sources = list(range(40))
    lengths = [sum(map(len, run(table, sources, width=64, length_penalty=by))) for by in (0.0, 1.0, 3.0)]
    assert lengths[0] < lengths[1] < lengths[2]


@pytest.mark.parametrize("width", [1, 3])
def test_a_translation_does_not_depend_on_its_company(width: int) -> None:
    table, sources = Table(3), [9, 4, 4, 2]
    assert run(table, sources, width=width) == [run(table, [source], width=width)[0] for source in sources]


def test_what_never_ends_is_broken_off() -> None:
    class Endless(Table):
        def logits(self, source: int, prefix: tuple[int, ...]) -> Tensor:
            return torch.tensor([0.0, -torch.inf, 0.5, 1.0])

    assert run(Endless(0), [1], width=2) == [[3] * MOST]
