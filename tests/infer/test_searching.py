"""Searches in line: what they find is what a search alone finds, and they end when nobody waits for them."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest
import torch

from cutaway.infer import (
    Beams,
    Busy,
    Closed,
    Contrast,
    Decoding,
    Ended,
    Handle,
    LanguageModel,
    Request,
    Searcher,
    Written,
)
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer

VOCAB = 97
PROMPT = [5, 17, 3, 60, 41]


class Letters:
    """Stands for a tokenizer: token i is the byte i, so that some are halves of characters; 96 is a mark."""

    special = {"<mark>": 96}
    stop_ids: frozenset[int] = frozenset()

    def token_bytes(self, token: int) -> bytes:
        return bytes([token + 32]) if token < 95 else b"\xc3"


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    torch.manual_seed(1)
    config = ModelConfig(VOCAB, n_layers=2, d_model=24, n_heads=2, n_kv_heads=1, d_head=12, d_mlp=32, context=700)
    model = Transformer(config).requires_grad_(False).eval()
    for weight in model.parameters():
        if weight.dim() == 2:
            weight.normal_(std=2.0 * weight.shape[1] ** -0.5)
    return LanguageModel("tiny", model, cast("Tokenizer", Letters()))


def told(handle: Handle) -> tuple[list[str], list[Ended]]:
    """Texts and ends, in order of their numbers."""
    texts: dict[int, str] = {}
    ends: dict[int, Ended] = {}
    for event in handle:
        if isinstance(event, Written):
            assert event.index not in ends
            texts[event.index] = texts.get(event.index, "") + event.step.text
        elif isinstance(event, Ended):
            ends[event.index] = event
            texts[event.index] = texts.get(event.index, "") + event.tail
    return [texts[i] for i in sorted(ends)], [ends[i] for i in sorted(ends)]


@pytest.mark.parametrize(
    ("search", "options"),
    [
        (Beams(4), {}),
        (Beams(5, -1.0, True), {"n": 3}),
        (Beams(3), {"n": 2, "stop_ids": frozenset(range(40))}),
        (Contrast(0.6, 5), {}),
        (Contrast(0.3, 2), {"stop_ids": frozenset(range(30))}),
        (Contrast(0.6, 4), {"stops": ["a", "e", "o"]}),
    ],
)
def test_what_is_found_is_what_one_search_finds(lm: LanguageModel, search: Any, options: dict[str, Any]) -> None:
    own = {"beams": search} if isinstance(search, Beams) else {"contrast": search}
    expected = lm.complete(PROMPT, Decoding(max_tokens=12, top=3, **own, **options))
    searcher = Searcher()
    handle = searcher.submit(lm, Request(PROMPT, 12, alternatives=3, **options), search)
    texts, ends = told(handle)
    assert texts == [completion.text for completion in expected]
    assert [end.reason for end in ends] == [completion.finish for completion in expected]
    assert [end.written for end in ends] == [len(completion.steps) for completion in expected]
    assert searcher.held == 0
    searcher.close()


def test_a_prompt_read_in_pieces(lm: LanguageModel) -> None:
    prompt = [(7 * i + i * i) % 95 for i in range(600)]
    searcher = Searcher()
    for search, own in ((Beams(3), "beams"), (Contrast(0.5, 3), "contrast")):
        expected = lm.complete(prompt, Decoding(max_tokens=6, **cast("Any", {own: search})))
        assert told(searcher.submit(lm, Request(prompt, 6), search))[0] == [expected[0].text]
    searcher.close()


def test_one_after_another_and_no_more_than_there_is_room_for(lm: LanguageModel) -> None:
    searcher = Searcher(most=2)
    slow = searcher.submit(lm, Request(PROMPT, 600), Contrast())
    waiting = searcher.submit(lm, Request(PROMPT, 2), Beams(2))
    with pytest.raises(Busy, match="2 searches"):
        searcher.submit(lm, Request(PROMPT, 2), Beams(2))
    slow.cancel()
    assert [end.reason for end in told(slow)[1]] == ["cancelled"]
    assert [end.reason for end in told(waiting)[1]] == ["length"]
    assert told(searcher.submit(lm, Request(PROMPT, 2), Beams(2)))[1]
    searcher.close()
    with pytest.raises(Closed):
        searcher.submit(lm, Request(PROMPT, 2), Beams(2))


@pytest.mark.parametrize("search", [Beams(8), Contrast(0.6, 8)])
def test_when_nobody_waits_it_ends(lm: LanguageModel, search: Any) -> None:
    searcher = Searcher()
    handle = searcher.submit(lm, Request(PROMPT, 690), search)
    events = iter(handle)
    threading.Timer(0.05, handle.cancel).start()
    last = [event for event in events if isinstance(event, Ended)][-1]
    assert last.reason == "cancelled"
    assert last.written < 690
    searcher.close()


@pytest.mark.parametrize("search", [Beams(4), Contrast(0.6, 4)])
def test_time_is_limited(lm: LanguageModel, search: Any) -> None:
    """Like an engine, it cuts what it has; of what it has not begun there is nothing."""
    searcher = Searcher()
    _, (end,) = told(searcher.submit(lm, Request(PROMPT, 690, seconds=0.1), search))
    assert end.reason == "timed out"
    assert 0 < end.written < 690
    blocking = searcher.submit(lm, Request(PROMPT, 690, seconds=0.1), search)
    _, (end,) = told(searcher.submit(lm, Request(PROMPT, 5, seconds=0.01), search))
    assert (end.reason, end.written) == ("timed out", 0)
    assert told(blocking)[1]
    searcher.close()


def test_closing_gives_up_what_there_is(lm: LanguageModel) -> None:
    searcher = Searcher()
    handles = [searcher.submit(lm, Request(PROMPT, 690), Beams(8)) for _ in range(3)]
    time.sleep(0.02)
    searcher.close()
    assert [end.reason for handle in handles for end in told(handle)[1]] == ["cancelled"] * 3


def test_what_goes_wrong_is_told(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    searcher = Searcher()
    with monkeypatch.context() as patch:
        patch.setattr("cutaway.infer.searching.searched", fails)
        _, ends = told(searcher.submit(lm, Request(PROMPT, 5, n=2), Beams(2)))
    assert [(end.reason, str(end.error)) for end in ends] == [("error", "secret")] * 2
    assert told(searcher.submit(lm, Request(PROMPT, 5), Beams(2)))[1][0].reason == "length"
    searcher.close()


@pytest.mark.parametrize(
    ("request_", "search", "message"),
    [
        (Request(PROMPT, 5, n=3), Beams(2), "beam search finds 2"),
        (Request(PROMPT, 5, n=2), Contrast(), "only one"),
        (Request(PROMPT, 5, stops=["x"]), Beams(2), "stop strings"),
        (Request(PROMPT, 0), Beams(2), "max_tokens"),
    ],
)
def test_what_a_search_cannot_do_is_refused(lm: LanguageModel, request_: Request, search: Any, message: str) -> None:
    searcher = Searcher()
    with pytest.raises(BadInput, match=message):
        searcher.submit(lm, request_, search)
    assert searcher.held == 0
    searcher.close()


def test_a_prompt_that_fills_the_context(lm: LanguageModel) -> None:
    searcher = Searcher()
    texts, ends = told(searcher.submit(lm, Request([5] * 700, 5, n=2), Beams(2)))
    assert texts == ["", ""]
    assert [(end.reason, end.written) for end in ends] == [("length", 0)] * 2
    searcher.close()
