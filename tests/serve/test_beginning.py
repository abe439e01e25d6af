"""Answers that begin with given tokens: one of them put by hand, or as far as an answer came before."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from cutaway.infer import LanguageModel
from cutaway.model import ModelConfig, Transformer
from cutaway.serve.offers import Lazy, Offer
from cutaway.tokens import Tokenizer


def answer(
    http: Any, begun: list[dict[str, Any]], question: str = "Who are you?", status: int = 200
) -> list[tuple[str, Any]]:
    body = {"model": "demo", "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 12}
    told = http.post("/api/chat", json={**body, "begun": begun})
    assert told.status_code == status, told.text
    if status != 200:
        return []
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in told.text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


def tokens_of(events: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [data for name, data in events if name == "token"]


def begun(tokens: list[dict[str, Any]], forced: int | None = None) -> list[dict[str, Any]]:
    return [{"id": token["id"], "forced": at == forced} for at, token in enumerate(tokens)]


@pytest.fixture
def real(serve_live: Any, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Any:
    torch.manual_seed(0)
    lm = LanguageModel("demo", Transformer(ModelConfig.from_depth(2, tokenizer.vocab_size, context=256)), tokenizer)
    from cutaway.infer import Engine

    return serve_live([Offer("demo", Lazy(lambda: lm), "demo", None, None)], engine=Engine)


def test_a_forced_token_is_told_with_its_probability_and_the_answer_goes_on(real: Any) -> None:
    with real.client() as http:
        first = tokens_of(answer(http, []))
        other = first[3]["alternatives"][1]
        changed = tokens_of(answer(http, begun([*first[:3], other], forced=3)))
        again = tokens_of(answer(http, begun(changed[:6], forced=3)))
    assert [token["id"] for token in changed[:4]] == [*(token["id"] for token in first[:3]), other["id"]]
    assert [token["forced"] for token in changed[:5]] == [False, False, False, True, False]
    assert math.exp(changed[3]["logprob"]) == pytest.approx(other["probability"], rel=1e-4)
    assert changed[3]["alternatives"][0]["probability"] == pytest.approx(
        first[3]["alternatives"][0]["probability"], rel=1e-4
    )
    for token, before in zip(changed[:3], first[:3], strict=True):
        assert token["logprob"] == pytest.approx(before["logprob"], abs=1e-4)
    # Going on from where an answer came to gives what it would have said.
    assert [token["id"] for token in again[: len(changed)]] == [token["id"] for token in changed]
    assert len(again) == 6 + 12


def test_a_call_that_is_broken_off_goes_on(live: Any) -> None:
    with live.client() as http:
        whole = answer(http, [], "calculate 2*21")
        tokens = tokens_of(whole)
        parts = [token["part"] for token in tokens]
        # The script begins its turn anew wherever it is broken off, so the call is ended by hand.
        upto = parts.index("result") - 1
        call = [{"id": token["id"], "forced": False} for token in tokens[:upto]]
        events = answer(http, call, "calculate 2*21")
    tools = [data for name, data in events if name == "tool"]
    assert tools[0] == {"name": "calculator", "arguments": "2*21", "result": "42"}
    told = tokens_of(events)
    assert [(token["id"], token["part"], token["forced"]) for token in told[: upto + 5]] == [
        (token["id"], token["part"], token["forced"]) for token in tokens[: upto + 5]
    ]


def test_an_end_that_is_put_by_hand_ends_the_answer(live: Any) -> None:
    tokenizer = live.lm.tokenizer
    with live.client() as http:
        ids = [*tokenizer.encode("I am"), tokenizer.end_of_turn]
        events = answer(http, [{"id": id_, "forced": True} for id_ in ids])
    assert [token["id"] for token in tokens_of(events)] == ids
    assert events[-1][1]["finish"] == "stop"
    assert "".join(token["adds"] for token in tokens_of(events)) == "I am"


def test_a_character_that_is_begun_is_finished(live: Any) -> None:
    tokenizer = live.lm.tokenizer
    ids = tokenizer.encode("日")
    live.lm.script = lambda _: ""
    with live.client() as http:
        told = tokens_of(answer(http, [{"id": id_} for id_ in ids]))
    assert "".join(token["adds"] for token in told) == "日"


def test_a_token_that_the_model_does_not_have(live: Any) -> None:
    with live.client() as http:
        answer(http, [{"id": 500}], status=400)
        answer(http, [{"id": -1}], status=400)
