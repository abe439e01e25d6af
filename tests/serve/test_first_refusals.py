"""What is refused before the first byte of an answer, and in whose words."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import pytest
import torch

from cutaway.infer import LanguageModel
from cutaway.model import ModelConfig, Transformer

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]
RECURSIVE: dict[str, Any] = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"child": {"$ref": "#"}, "name": {"type": "string"}},
    "required": ["child"],
}
HUGE: dict[str, Any] = {"type": "object", "properties": {f"k{i}": {} for i in range(450)}}
INSIDE = re.compile("NoExtension|Current row|items|llguidance")


@pytest.fixture
def real(tokenizer: Any) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(
        "demo", Transformer(ModelConfig.from_depth(1, tokenizer.vocab_size, context=16_384)).eval(), tokenizer
    )


class OfRealModel:
    """Tests with a model that writes by itself."""

    @pytest.fixture
    def lm(self, real: LanguageModel) -> LanguageModel:
        return real


class TestGrammars(OfRealModel):
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("schema", [RECURSIVE, HUGE], ids=["recursive", "huge"])
    @pytest.mark.parametrize("param", ["response_format", "tools"])
    def test_what_cannot_be_followed_is_refused_in_our_words(
        self, live: Any, param: str, schema: dict[str, Any], stream: bool
    ) -> None:
        tool = {"type": "function", "function": {"name": "act", "parameters": schema}}
        more: dict[str, Any] = {"tools": [tool], "tool_choice": "required"}
        if param == "response_format":
            more = {param: {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}
        body = {"model": "demo", "messages": HELLO, "max_tokens": 4, "stream": stream, **more}
        with live.client() as http:
            answer = http.post(CHAT, json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, param), error["message"]
        assert not INSIDE.search(error["message"])
        assert "\n" not in error["message"]

    @pytest.mark.parametrize("most", range(1, 9))
    def test_a_forced_call_that_is_cut_in_its_opening_is_no_text(self, live: Any, most: int) -> None:
        tool = {"type": "function", "function": {"name": "act", "parameters": TREE}}
        body = {"model": "demo", "messages": HELLO, "max_tokens": most, "tools": [tool], "tool_choice": "required"}
        with live.client() as http:
            choice = http.post(CHAT, json=body).json()["choices"][0]
            streamed = http.post(CHAT, json={**body, "stream": True}).text
        assert choice["finish_reason"] == "length"
        assert not choice["message"]["content"]
        chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
        assert not any(each["choices"][0]["delta"].get("content") for each in chunks)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"model": "\xff"}', "not valid UTF-8: byte 11 (0xff)"),
        (b'{"model": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_bodies_that_cannot_be_read_are_told_of(live: Any, body: bytes, message: str) -> None:
    with live.client() as http:
        answer = http.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_wrong_method_is_told_the_right_one(live: Any) -> None:
    with live.client() as http:
        answer = http.get(CHAT)
    assert answer.json()["error"]["message"] == f"{CHAT} does not take GET; it takes POST"


def test_a_long_prompt_is_no_conversation(live: Any) -> None:
    with live.client() as http:
        told = http.post(TEXT, json={"model": "demo", "prompt": "blue light " * 400}).json()["error"]["message"]
    assert told.endswith("shorten the prompt")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_told_the_bounds(live: Any, value: str) -> None:
    for name, bounds in (("temperature", "at least 0 and at most 2"), ("min_p", "at least 0 and at most 1")):
        body = f'{{"model": "demo", "prompt": "x", "{name}": {value}}}'
        with live.client() as http:
            answer = http.post(TEXT, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        message = answer.json()["error"]["message"]
        assert message.startswith(f"{name} is ")
        assert message.endswith(bounds)


def test_a_model_without_a_template_is_told_of_completions(
    live: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", "")
    with live.client() as http:
        error = http.post(CHAT, json={"model": "demo", "messages": HELLO}).json()["error"]
    assert "/v1/completions" in error["message"]
    assert "cutaway generate" not in error["message"]


def test_stopping_does_not_wait_for_what_does_not_end(serve_live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    live = serve_live()
    never, stopped = threading.Event(), threading.Event()
    monkeypatch.setattr(live.service, "close", lambda: never.wait(30))
    shutdown = live.server.shutdown

    async def watched(sockets: Any = None) -> None:
        await shutdown(sockets)
        stopped.set()

    monkeypatch.setattr(live.server, "shutdown", watched)
    live.server.should_exit = True
    began = time.monotonic()
    assert stopped.wait(10), "it waits for the engines"
    never.set()
    assert time.monotonic() - began < 10
