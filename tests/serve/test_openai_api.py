"""OpenAI's own Python client talks to the server unchanged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import openai
import pytest


@pytest.fixture
def client(live: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def ask(content: str) -> list[Any]:
    return [{"role": "user", "content": content}]


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["demo", "demo:pretrain", "demo:sft"]
    assert client.models.retrieve("demo:sft").owned_by == "cutaway"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("absent")
    assert caught.value.code == "model_not_found"


def test_chat(client: openai.OpenAI, live: Any) -> None:
    done = client.chat.completions.create(model="demo", messages=ask("hello"), temperature=0.5, top_p=0.9, seed=7)
    choice = done.choices[0]
    assert choice.message.content == "You said: hello"
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "stop"
    assert choice.logprobs is None
    tokenizer = live.lm.tokenizer
    assert done.usage is not None
    assert done.usage.prompt_tokens == len(tokenizer.encode_chat(ask("hello")))
    assert done.usage.completion_tokens == len(tokenizer.encode("You said: hello")) + 1  # and the end of the turn
    sampling = live.lm.calls[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.9, 7)
    assert live.lm.calls[0].max_tokens == live.lm.config.context - done.usage.prompt_tokens


def test_chat_is_cut_by_max_tokens(client: openai.OpenAI) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        limit: dict[str, Any] = {name: 3}
        done = client.chat.completions.create(model="demo", messages=ask("hello"), **limit)
        assert done.choices[0].finish_reason == "length"
        assert done.usage is not None
        assert done.usage.completion_tokens == 3


def test_chat_streams(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="demo", messages=ask("hello"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "You said: hello"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_without_usage_has_no_usage(live: Any) -> None:
    with live.client() as http:
        body = {"model": "demo", "messages": ask("hi"), "stream": True}
        lines = http.post("/v1/chat/completions", json=body).text.split("\n\n")
    assert lines[-2] == "data: [DONE]"
    assert not any('"usage"' in line for line in lines)


def test_chat_logprobs(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "demo", "messages": ask("héllo"), "logprobs": True, "top_logprobs": 3}
    done = client.chat.completions.create(**asked)
    logprobs = done.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert b"".join(bytes(token.bytes or []) for token in logprobs.content).decode() == "You said: héllo"
    for token in logprobs.content:
        assert len(token.top_logprobs) == 3
        assert token.logprob <= 0
        assert math.isfinite(token.logprob)
    streamed: list[Any] = []
    for chunk in client.chat.completions.create(stream=True, **asked):
        found = chunk.choices[0].logprobs
        streamed += found.content if found else []
    assert [token.token for token in streamed] == [token.token for token in logprobs.content]


def test_a_tool_runs_in_the_server_and_is_no_text(client: openai.OpenAI) -> None:
    question = ask("calculate 1234*5678")
    done = client.chat.completions.create(model="demo", messages=question)
    assert done.choices[0].message.content == "1234*5678 = 7006652"
    assert done.choices[0].message.tool_calls is None
    chunks = client.chat.completions.create(model="demo", messages=question, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "1234*5678 = 7006652"


def test_a_conversation_with_a_tool_call_can_be_sent_back(client: openai.OpenAI, live: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "calculator", "arguments": '{"expression": "2+2"}'}}
    history: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "2+2?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
        {"role": "assistant", "content": "4", "refusal": None, "annotations": []},
        {"role": "user", "content": "thanks"},
    ]
    client.chat.completions.create(model="demo", messages=history)
    assert live.lm.calls[0].prompt == live.lm.tokenizer.encode_chat(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is 2+2?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "4"},
            {"role": "assistant", "content": "4"},
            {"role": "user", "content": "thanks"},
        ]
    )


@pytest.mark.parametrize("stream", [False, True])
def test_stop_strings_over_several_tokens(client: openai.OpenAI, live: Any, stream: bool) -> None:
    live.lm.script = lambda _: "one two three END four"
    asked: dict[str, Any] = {"model": "demo", "messages": ask("x"), "stop": ["E END", "ee END", "never"]}
    if stream:
        chunks = list(client.chat.completions.create(stream=True, **asked))
        content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        done = client.chat.completions.create(**asked)
        content, reason = done.choices[0].message.content or "", done.choices[0].finish_reason
    assert content == "one two thr"
    assert reason == "stop"


def test_completions(client: openai.OpenAI, live: Any) -> None:
    live.lm.script = lambda prompt: f" and {prompt}"
    done = client.completions.create(model="demo:pretrain", prompt="In the beginning", max_tokens=50, logprobs=2)
    assert done.choices[0].text == " and In the beginning"
    assert done.choices[0].finish_reason == "stop"
    logprobs = done.choices[0].logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens or []) == done.choices[0].text + "<|endoftext|>"
    assert logprobs.text_offset is not None
    assert logprobs.text_offset[0] == 0
    tokenizer = live.lm.tokenizer
    assert live.lm.calls[0].prompt == [tokenizer.end_of_text, *tokenizer.encode("In the beginning")]
    chunks = list(client.completions.create(model="demo", prompt=["In the beginning"], max_tokens=50, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == " and In the beginning"
    assert chunks[-1].choices[0].finish_reason == "stop"
    cut = client.completions.create(model="demo", prompt="a long text that goes on and on and on and on and on and on")
    assert cut.usage is not None
    assert cut.usage.completion_tokens == 16
    assert cut.choices[0].finish_reason == "length"


def test_characters_of_many_bytes_arrive_whole(client: openai.OpenAI, live: Any) -> None:
    live.lm.script = lambda _: "naïve 日本語 🙂 end"
    chunks = client.chat.completions.create(model="demo", messages=ask("x"), stream=True)
    assert [c.choices[0].delta.content for c in chunks if "�" in (c.choices[0].delta.content or "")] == []
    assert client.chat.completions.create(model="demo", messages=ask("x")).choices[0].message.content == (
        "naïve 日本語 🙂 end"
    )


def test_a_failure_tells_nothing_of_the_inside(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="demo", messages=ask("fail"))
    assert "secret" not in str(caught.value)
    with pytest.raises(openai.APIError) as streamed:
        list(client.chat.completions.create(model="demo", messages=ask("fail"), stream=True))
    assert "secret" not in str(streamed.value)
    assert client.chat.completions.create(model="demo", messages=ask("hi")).choices  # and goes on
