"""The same API over another engine: here over vLLM's stand-in."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from cutaway.infer import LanguageModel
from cutaway.infer.engines import engine_of
from cutaway.serve import Limits, Offer, create_app

WHO = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture
def app(vllm: Any, lm: LanguageModel) -> Any:
    limits = Limits(answering=3, waiting=3)
    app = create_app([Offer("demo", lambda: lm, "demo")], limits=limits, engine=engine_of("vllm"))
    yield app
    app.state.service.close()


def ask(app: Any, path: str, **body: Any) -> httpx.Response:
    async def post() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
            return await http.post(path, json={"model": "demo", **body})

    return asyncio.run(post())


def test_texts_and_log_probabilities_are_those_of_our_engine(app: Any, lm: LanguageModel) -> None:
    own = create_app([Offer("demo", lambda: lm, "demo")], engine=engine_of("cutaway"))
    for path, body in (
        ("/v1/chat/completions", {"messages": WHO, "temperature": 0, "logprobs": True, "top_logprobs": 3}),
        ("/v1/completions", {"prompt": ["In the", "heaven"], "max_tokens": 9, "temperature": 0, "stop": "e"}),
        ("/v1/completions", {"prompt": "In the", "max_tokens": 0, "temperature": 0, "echo": True, "logprobs": 2}),
    ):
        found, expected = ask(app, path, **body).json(), ask(own, path, **body).json()
        for choice, other in zip(found["choices"], expected["choices"], strict=True):
            assert choice.get("text") == other.get("text")
            assert choice.get("message") == other.get("message")
            assert choice["finish_reason"] == other["finish_reason"]
            numbers, others = json.dumps(choice["logprobs"]), json.dumps(other["logprobs"])
            assert rounded(json.loads(numbers)) == rounded(json.loads(others))
        assert found["usage"]["completion_tokens"] == expected["usage"]["completion_tokens"]
    own.state.service.close()


def rounded(value: Any) -> Any:
    """Nested values with numbers to be compared within 0.001."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 2) if isinstance(value, float) else value


def test_streams(app: Any) -> None:
    lines = ask(app, "/v1/completions", prompt="In the", max_tokens=9, temperature=0, stream=True).text.splitlines()
    pieces = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    whole = ask(app, "/v1/completions", prompt="In the", max_tokens=9, temperature=0).json()["choices"][0]["text"]
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == whole
    assert len(pieces) > 4


def test_what_it_cannot_do_is_a_400_that_names_it(app: Any) -> None:
    answer = ask(app, "/v1/completions", prompt="In the", typical_p=0.5)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "vLLM has no typical_p; leave it out, or serve without --engine vllm"


def test_metrics(app: Any) -> None:
    ask(app, "/v1/completions", prompt="In the", max_tokens=4, temperature=0)

    async def get() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
            return (await http.get("/metrics")).text

    text = asyncio.run(get())
    assert 'cutaway_running{model="demo"} 0.0' in text
    assert 'cutaway_cache_use{model="demo"} 0.0' in text
