"""Each row reads on from its own tokens, whatever its sequence shares with others, and whichever was taken away."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import torch

from cutaway.infer import Ended, LanguageModel, Request, Written
from cutaway.infer.batching import Batching
from cutaway.infer.engines.sequences import Sequences
from cutaway.infer.pages import NOTHING, PAGE, Pages
from cutaway.infer.runner import Row, first_page
from cutaway.infer.sampling import Sampling
from cutaway.model import ModelConfig, Transformer
from cutaway.model.config import Sparsity
from cutaway.runs import CutawayError
from cutaway.tokens import Tokenizer

VOCAB = 97
CONFIG = ModelConfig(VOCAB, n_layers=1, d_model=24, n_heads=2, n_kv_heads=1, d_head=12, d_mlp=32, context=64)


class Letters:
    """Stands for a tokenizer."""

    special: dict[str, int] = {}

    def token_bytes(self, token: int) -> bytes:
        return bytes([token + 32])


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    torch.manual_seed(0)
    model = Transformer(CONFIG).requires_grad_(False).eval()
    for weight in model.parameters():
        if weight.dim() == 2:
            weight.normal_(std=2.0 * weight.shape[1] ** -0.5)
    return LanguageModel("tiny", model, cast("Tokenizer", Letters()))


class Cells:
    """Stands for llama.cpp's memory: cells that belong to positions of sequences. Each is known by its token."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sequences: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
        self.numbers = itertools.count()
        self.computed = 0

    def share(self, source: int, target: int, start: int, end: int) -> None:
        for at in range(start, end):
            self.sequences[target][at] = self.sequences[source][at]

    def drop(self, sequence: int, start: int, end: int) -> None:
        for at in range(start, end):
            self.sequences[sequence].pop(at, None)

    def read(self, sequence: int, start: int, tokens: Sequence[int]) -> None:
        own = self.sequences[sequence]
        assert start == max(own, default=-1) + 1
        own |= {at: (next(self.numbers), token) for at, token in enumerate(tokens, start)}
        self.computed += len(tokens)
        assert len({cell for each in self.sequences.values() for cell in each.values()}) <= self.room


class ByCells:
    """A runner whose logits come of nothing but the tokens in the cells."""

    def __init__(self, model: Transformer, pages: Pages, count: int) -> None:
        self.model = model
        self.cells = Cells(pages.count * PAGE)
        self.sequences = Sequences(pages, self.cells, count)
        self.failing = False

    def run(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        placed = self.sequences.place(rows)
        assert len({held.number for held in placed}) == len(rows)
        found: list[torch.Tensor] = []
        for row, held in zip(rows, placed, strict=True):
            self.cells.read(held.number, row.start, row.tokens)
            tokens = [token for _, (_, token) in sorted(self.cells.sequences[held.number].items())]
            assert len(tokens) == row.end
            logits = self.model(torch.tensor([tokens]))[0]
            found.append(logits[row.start :] if row.every else logits[-1:])
        if self.failing and len(rows) > 1:
            self.failing = False
            for held in placed:
                self.sequences.clear(held)
            raise CutawayError("this step fails")
        return found


@torch.inference_mode()
def alone(lm: LanguageModel, prompt: Sequence[int], n: int) -> list[int]:
    """The likeliest continuation, from the whole text each time."""
    ids = list(prompt)
    for _ in range(min(n, CONFIG.context - len(ids))):
        ids.append(int(lm.model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


def batching_of(lm: LanguageModel, pages: int, count: int, **options: Any) -> tuple[Batching, ByCells]:
    batching = Batching(lm, Pages(lm.config, pages), runner=lambda m, p: ByCells(m, p, count), **options)
    assert isinstance(batching.runner, ByCells)
    return batching, batching.runner


def add(batching: Batching, request: Request) -> list[Any]:
    events: list[Any] = []
    for completion in batching.completions(request, events.append):
        batching.add(completion)
    return events


def tokens_of(events: Sequence[Any], index: int = 0) -> list[int]:
    return [event.step.token for event in events if isinstance(event, Written) and event.index == index]


@pytest.fixture(scope="module")
def pool(lm: LanguageModel) -> list[tuple[list[int], list[int]]]:
    """Prompts, many of which begin as others go on, with their continuations."""
    draw = random.Random(0)
    prompts = [[draw.randrange(VOCAB) for _ in range(length)] for length in (1, 15, 16, 17, 33, 50, 63, 64)]
    whole = [prompt + alone(lm, prompt, 64) for prompt in prompts]
    for _ in range(8):
        ids = draw.choice(whole)
        prompts.append([*ids[: draw.randint(1, 50)], *(draw.randrange(VOCAB) for _ in range(draw.randint(0, 10)))])
    return [(prompt, alone(lm, prompt, 64)) for prompt in prompts]


@pytest.mark.parametrize("spare", [1, 3, 100])
def test_random_mixes_give_each_request_what_it_gets_alone(
    lm: LanguageModel, pool: list[tuple[list[int], list[int]]], spare: int
) -> None:
    found = read_again = set_back = 0
    for seed in range(6):
        draw = random.Random(seed)
        most = draw.choice([1, 3, 6])
        # 4 pages are just enough for one sequence as long as the context; one sequence more than rows is the least.
        batching, runner = batching_of(
            lm, draw.choice([4, 5, 7, 30]), most + spare, most_rows=most, chunk=draw.choice([3, 16, 64])
        )
        told: list[tuple[list[int], list[Any]]] = []
        cancelled: list[list[Any]] = []
        for _ in range(2000):
            if len(told) < 12 and draw.random() < 0.3:
                prompt, expected = draw.choice(pool[2:])
                expected = expected[: draw.choice([0, 1, 5, 20, 64])]
                told.append((expected, add(batching, Request(prompt, len(expected), priority=draw.choice([0, 0, 1])))))
            if draw.random() < 0.02 and batching.live:
                victim = draw.choice(batching.live)
                victim.cancelled = True
                cancelled.append(victim.tell.__self__)  # type: ignore[attr-defined]
            # After a step that fails each row is tried alone.
            runner.failing = draw.random() < 0.02
            if not batching.step() and len(told) == 12:
                break
        assert not batching.live
        for expected, events in told:
            (end,) = [event for event in events if isinstance(event, Ended)]
            if end.reason == "cancelled":
                assert any(events is each for each in cancelled)
                assert tokens_of(events) == expected[: end.written]
            else:
                assert (end.reason, tokens_of(events)) == ("length", expected)
        found += batching.prefixes.found
        set_back += batching.scheduler.set_back_ever
        read_again += runner.cells.computed - batching.figures.read
    assert found > 100
    assert set_back > 5
    assert read_again > 0


def test_nothing_that_is_held_is_read_again(lm: LanguageModel) -> None:
    batching, runner = batching_of(lm, 30, 20)
    prompt = list(range(2 * PAGE + 3))
    first = add(batching, Request(prompt, 20, Sampling(1.0, seed=5), n=4))
    while batching.step():
        pass
    # The prompt once, what of it is no full page for each of the others, and all but the last that each wrote.
    assert runner.cells.computed == batching.figures.read == len(prompt) + 3 * 3 + 4 * 19
    turn = [*prompt, *tokens_of(first, 2)]
    before = runner.cells.computed
    again = add(batching, Request([*turn, 9, 9], 3))
    while batching.step():
        pass
    assert tokens_of(again) == alone(lm, [*turn, 9, 9], 3)
    assert runner.cells.computed - before == len(turn) + 2 + 2 - 3 * PAGE


def test_what_the_books_still_have_is_read_again_once_its_sequence_is_gone(lm: LanguageModel) -> None:
    batching, runner = batching_of(lm, 30, 2, most_rows=1)
    prompt = list(range(40))
    for text in (prompt, [50, 51], [60, 61], [70]):
        add(batching, Request(text, 2))
        while batching.step():
            pass
    before, counted = runner.cells.computed, batching.figures.read
    events = add(batching, Request([*prompt[:38], 5], 4))
    while batching.step():
        pass
    assert next(event for event in events if isinstance(event, Ended)).known == 2 * PAGE
    assert tokens_of(events) == alone(lm, [*prompt[:38], 5], 4)
    assert runner.cells.computed - before == batching.figures.read - counted + 2 * PAGE


class Watched(ByCells):
    """Checks which positions are there, of a model that looks through windows."""

    def run(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        placed = self.sequences.place(rows)
        for row, held in zip(rows, placed, strict=True):
            passed = sum(page == NOTHING for page in row.pages)
            assert passed == first_page(row.start, 20)
            assert sorted(self.cells.sequences[held.number]) == list(range(passed * PAGE, row.start))
            self.cells.read(held.number, row.start, row.tokens)
        return [torch.nn.functional.one_hot(torch.tensor([row.end % VOCAB]), VOCAB).float() for row in rows]


def test_pages_behind_the_window_are_let_go(lm: LanguageModel) -> None:
    config = replace(CONFIG, sparsity=Sparsity("window", 20), local_layers=(0,))
    windowed = LanguageModel("windowed", Transformer(config), lm.tokenizer)
    batching = Batching(windowed, Pages(config, 6), runner=lambda m, p: Watched(m, p, 5), most_rows=2, chunk=16)
    told = [add(batching, Request([i] * 30, 30)) for i in range(3)]
    while batching.step():
        pass
    assert [tokens_of(events) for events in told] == [[(30 + i) % VOCAB for i in range(30)]] * 3
