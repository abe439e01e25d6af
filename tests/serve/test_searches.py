"""Beam search and contrastive search over HTTP."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import pytest
import torch

from cutaway.infer import Beams, Contrast, Decoding, LanguageModel
from cutaway.model import ModelConfig, Transformer
from cutaway.serve import Limits
from cutaway.tokens import Tokenizer

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
WHO = [{"role": "user", "content": "Who are you?"}]
PROMPT = "In the beginning God made"
SEARCHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "beams": ({"use_beam_search": True, "beam_width": 4, "length_penalty": 0.5}, {"beams": Beams(4, 0.5)}),
    "as many as n": ({"use_beam_search": True, "n": 3}, {"beams": Beams(3), "n": 3}),
    "ended early": (
        {"use_beam_search": True, "beam_width": 3, "n": 2, "early_stopping": True},
        {"beams": Beams(3, 1.0, True), "n": 2},
    ),
    "contrast": ({"penalty_alpha": 0.6, "top_k": 5}, {"contrast": Contrast(0.6, 5)}),
    "usual contrast": ({"penalty_alpha": 0.3, "temperature": 0}, {"contrast": Contrast(0.3)}),
}


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    model = Transformer(ModelConfig.from_depth(2, tokenizer.vocab_size, context=1024)).requires_grad_(False).eval()
    # A model that was never trained writes one token again and again, which no two searches differ in.
    model.embed.weight.normal_(std=1.0)
    return LanguageModel("demo", model, tokenizer)


@pytest.fixture
def real(serve_live: Any) -> Any:
    return serve_live(limits=Limits(searching=2, drain_seconds=1))


def post(live: Any, path: str, status: int = 200, **body: Any) -> Any:
    with live.client() as http:
        answer = http.post(path, json={"model": "demo", **body})
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.parametrize("name", SEARCHES)
def test_texts_are_those_of_the_search(real: Any, lm: LanguageModel, name: str) -> None:
    asked, decoding = SEARCHES[name]
    expected = lm.complete(PROMPT, Decoding(max_tokens=9, top=2, **decoding))
    done = post(real, TEXT, prompt=PROMPT, max_tokens=9, logprobs=2, **asked)
    assert [choice["text"] for choice in done["choices"]] == [completion.text for completion in expected]
    assert [choice["finish_reason"] for choice in done["choices"]] == [completion.finish for completion in expected]
    for choice, completion in zip(done["choices"], expected, strict=True):
        logprobs = choice["logprobs"]
        assert logprobs["token_logprobs"] == pytest.approx([step.logprob for step in completion.steps], abs=1e-4)
        assert all(len(alternatives) == 2 for alternatives in logprobs["top_logprobs"])
    assert done["usage"]["completion_tokens"] == sum(len(completion.steps) for completion in expected)

    ids = lm.tokenizer.encode_chat(WHO)
    answers = lm.complete(ids, Decoding(max_tokens=9, **decoding))
    chat = post(real, CHAT, messages=WHO, max_tokens=9, **asked)
    assert [choice["message"]["content"] for choice in chat["choices"]] == [answer.text for answer in answers]
    assert real.service.searcher.held == 0


def test_the_best_is_likelier_than_greedy(real: Any) -> None:
    def total(**asked: Any) -> float:
        done = post(real, TEXT, prompt=PROMPT, max_tokens=6, logprobs=0, logit_bias={}, **asked)
        return sum(done["choices"][0]["logprobs"]["token_logprobs"])

    assert total(use_beam_search=True, beam_width=16, length_penalty=0) >= total(temperature=0) - 1e-4


def test_several_prompts(real: Any, lm: LanguageModel) -> None:
    prompts = [PROMPT, "The sky is blue"]
    done = post(real, TEXT, prompt=prompts, max_tokens=5, use_beam_search=True, n=2, echo=True)
    expected = [
        prompt + completion.text
        for prompt in prompts
        for completion in lm.complete(prompt, Decoding(max_tokens=5, beams=Beams(2), n=2))
    ]
    assert [choice["text"] for choice in done["choices"]] == expected
    assert post(real, TEXT, 400, prompt=prompts * 2, use_beam_search=True)["error"]["code"] == "too_many"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"use_beam_search": True, "stream": True}, "stream"),
        ({"penalty_alpha": 0.6, "stream": True}, "stream"),
        ({"use_beam_search": True, "penalty_alpha": 0.6}, "penalty_alpha"),
        ({"use_beam_search": True, "beam_width": 2, "n": 3}, "n"),
        ({"penalty_alpha": 0.6, "n": 2}, "n"),
        ({"use_beam_search": True, "stop": "x"}, "stop"),
        ({"use_beam_search": True, "temperature": 0.7}, "temperature"),
        ({"use_beam_search": True, "top_k": 5}, "top_k"),
        ({"penalty_alpha": 0.6, "top_k": 65}, "top_k"),
        ({"penalty_alpha": 0.6, "top_p": 0.9}, "top_p"),
        ({"penalty_alpha": 0.6, "frequency_penalty": 1}, "frequency_penalty"),
        ({"use_beam_search": True, "logit_bias": {"5": 1}}, "logit_bias"),
        ({"beam_width": 4}, "beam_width"),
        ({"use_beam_search": False, "length_penalty": 2.0}, "length_penalty"),
        ({"early_stopping": "never"}, "early_stopping"),
        ({"use_beam_search": True, "beam_width": 17}, "beam_width"),
        ({"use_beam_search": True, "beam_width": 0}, "beam_width"),
        ({"use_beam_search": True, "length_penalty": 10.1}, "length_penalty"),
        ({"use_beam_search": True, "length_penalty": float("nan")}, "length_penalty"),
        ({"use_beam_search": True, "early_stopping": "soon"}, None),
        ({"use_beam_search": 1}, "use_beam_search"),
        ({"penalty_alpha": 1.1}, "penalty_alpha"),
        ({"penalty_alpha": -0.1}, "penalty_alpha"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_what_does_not_go_together(real: Any, path: str, body: dict[str, Any], param: str | None) -> None:
    asked = {"model": "demo", **({"messages": WHO} if path == CHAT else {"prompt": PROMPT}), **body}
    with real.client() as http:
        answer = http.post(path, content=json.dumps(asked), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert "\n" not in error["message"]
    if param:
        assert error["param"] == param


TOOL = {"type": "function", "function": {"name": "time"}}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (TEXT, {"best_of": 2}, "best_of"),
        (TEXT, {"echo": True, "logprobs": 1}, "echo"),
        (TEXT, {"echo": True, "max_tokens": 0}, "echo"),
        (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
        (CHAT, {"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
    ],
)
def test_what_does_not_go_with_either(real: Any, path: str, body: dict[str, Any], param: str) -> None:
    asked = {"messages": WHO} if path == CHAT else {"prompt": PROMPT}
    for search in ({"use_beam_search": True}, {"penalty_alpha": 0.5}):
        assert post(real, path, 400, **asked, **body, **search)["error"]["param"] == param


@pytest.mark.parametrize("usual", [{"length_penalty": 1.0}, {"early_stopping": False}, {"use_beam_search": False}])
def test_what_asks_for_nothing_is_taken(real: Any, usual: dict[str, Any]) -> None:
    assert post(real, CHAT, messages=WHO, max_tokens=2, stream=False, **usual)["choices"]


def test_memory_is_bounded(serve_live: Any, lm: LanguageModel) -> None:
    """In float32 a token takes 2 · 4 bytes for each layer, head and number of a head."""
    config = lm.config
    token = 2 * 4 * config.n_layers * config.n_kv_heads * config.d_head
    live = serve_live(limits=Limits(search_bytes=4 * token * 30, drain_seconds=1))
    beams = {"use_beam_search": True, "beam_width": 4}
    ids = [5] * 20
    error = post(live, TEXT, 400, prompt=ids, max_tokens=11, **beams)["error"]
    assert (error["code"], error["param"]) == ("search_too_large", "max_tokens")
    assert "room for 30 tokens" in error["message"]
    assert post(live, TEXT, prompt=ids, max_tokens=10, **beams)["usage"]["completion_tokens"] <= 10
    assert post(live, TEXT, prompt=ids, max_tokens=11, penalty_alpha=0.5, top_k=3)["choices"]
    assert post(live, TEXT, 400, prompt=[5] * 30, max_tokens=1, **beams)["error"]["code"] == "search_too_large"
    # Where nobody says how long, it is as long as there is room for.
    length = len(lm.tokenizer.encode_chat(WHO))
    done = post(live, CHAT, messages=WHO, use_beam_search=True, beam_width=2)
    assert done["usage"]["completion_tokens"] <= 60 - length


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Beam search that begins, and goes on when it is told to."""
    begun, may_go_on = threading.Event(), threading.Event()

    def search(*args: Any, going: Any, **options: Any) -> Any:
        begun.set()
        while going() and not may_go_on.wait(0.01):
            pass
        return real(*args, going=going, **options)

    import cutaway.infer.completion as module

    real = module.beam_search
    monkeypatch.setattr(module, "beam_search", search)
    yield begun, may_go_on
    may_go_on.set()


def test_others_are_answered_meanwhile(real: Any, held: Any) -> None:
    begun, may_go_on = held
    answers: list[Any] = []
    search = {"prompt": PROMPT, "max_tokens": 3, "use_beam_search": True, "n": 2}
    first = threading.Thread(target=lambda: answers.append(post(real, TEXT, **search)))
    first.start()
    assert begun.wait(10)
    assert post(real, TEXT, prompt=PROMPT, max_tokens=5)["choices"]
    assert post(real, CHAT, messages=WHO, max_tokens=5, temperature=0)["choices"]
    with real.client() as http:
        assert http.get("/health").status_code == 200
    assert real.number("cutaway_searches") == 1
    second = threading.Thread(target=lambda: answers.append(post(real, TEXT, **search)))
    second.start()
    while real.number("cutaway_searches") < 2:
        time.sleep(0.01)
    refused = post(real, TEXT, 429, **search)
    assert refused["error"]["code"] == "server_busy"
    may_go_on.set()
    first.join(20)
    second.join(20)
    assert len(answers) == 2
    assert answers[0]["choices"] == answers[1]["choices"]


def test_a_search_nobody_waits_for_ends(real: Any, held: Any) -> None:
    begun, _ = held
    body = json.dumps({"model": "demo", "prompt": PROMPT, "max_tokens": 500, "use_beam_search": True}).encode()
    host, port = real.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(
            f"POST {TEXT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert begun.wait(10)
    while real.service.searcher.held:
        time.sleep(0.01)
    assert post(real, TEXT, prompt=PROMPT, max_tokens=2)["choices"]


def test_closing_ends_a_search(real: Any, held: Any) -> None:
    begun, _ = held
    answers: list[Any] = []
    search = {"prompt": PROMPT, "max_tokens": 500, "use_beam_search": True}
    thread = threading.Thread(target=lambda: answers.append(post(real, TEXT, 503, **search)))
    thread.start()
    assert begun.wait(10)
    real.service.close()
    thread.join(20)
    assert answers[0]["error"]["code"] == "shutting_down"


def test_time_is_limited(serve_live: Any, held: Any) -> None:
    live = serve_live(limits=Limits(seconds=0.3, drain_seconds=1))
    done = post(live, TEXT, prompt=PROMPT, max_tokens=500, use_beam_search=True, n=2)
    assert [choice["finish_reason"] for choice in done["choices"]] == ["length"] * 2
    assert done["usage"]["completion_tokens"] == 2
