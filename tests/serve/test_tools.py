"""The caller's tools, over OpenAI's client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TIME: Any = {"type": "function", "function": {"name": "time"}}
CALCULATOR: Any = {"type": "function", "function": {"name": "calculator"}}
CALLS = (
    "Let me look.\n"
    '<tool_call>{"name": "weather", "arguments": {"city": "Köln"}}</tool_call>\n'
    '<tool_call>{"name": "weather", "arguments": {"city": "Köln"}}</tool_call>'
)


@pytest.fixture
def lm(lm: Any) -> Any:
    lm.config.context = 2048
    return lm


@pytest.fixture
def client(live: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def ask(content: str) -> list[Any]:
    return [{"role": "user", "content": content}]


def test_parallel_calls(client: openai.OpenAI, live: Any) -> None:
    live.lm.script = lambda _: CALLS
    asked: dict[str, Any] = {"model": "demo", "messages": ask("And in Köln?"), "tools": [WEATHER, TIME]}
    choice = client.chat.completions.create(**asked).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me look.\n"
    calls: list[Any] = choice.message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Köln"}] * 2
    assert len({call.id for call in calls}) == 2

    deltas = [chunk.choices[0] for chunk in client.chat.completions.create(stream=True, **asked)]
    streamed = [call for each in deltas for call in each.delta.tool_calls or []]
    opened = [call for call in streamed if call.function.name]
    assert [(call.index, call.function.name, call.type) for call in opened] == [
        (i, "weather", "function") for i in (0, 1)
    ]
    assert len({call.id for call in opened} - {None}) == 2
    for i in (0, 1):
        pieces = [call.function.arguments for call in streamed if call.index == i]
        assert (pieces[0], json.loads("".join(pieces))) == ("", {"city": "Köln"})
        assert len(pieces) > 3
    # Of all but the first piece the index and the text alone are there.
    assert {frozenset(call.model_dump(exclude_unset=True)) for call in streamed if not call.id} == {
        frozenset(("index", "function"))
    }
    assert [call.index for call in streamed] == sorted(call.index for call in streamed)
    assert "".join(each.delta.content or "" for each in deltas) == "Let me look.\n"
    assert deltas[-1].finish_reason == "tool_calls"

    one = client.chat.completions.create(parallel_tool_calls=False, **asked).choices[0].message.tool_calls
    assert len(one or []) == 1
    # Nor more where the function is named.
    named: Any = {"type": "function", "function": {"name": "weather"}}
    one = client.chat.completions.create(tool_choice=named, **asked).choices[0].message.tool_calls
    assert len(one or []) == 1


def test_the_model_is_told_of_the_tools(client: openai.OpenAI, live: Any) -> None:
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, *ask("hi")]
    client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER])
    client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER], tool_choice="none")
    told, untold = [live.lm.tokenizer.decode(call.prompt) for call in live.lm.calls]
    assert told.index("Be brief.") < told.index('"The weather in a city."') < told.index("<|user|>")
    assert "weather" not in untold
    # A choice narrows what is told.
    named: Any = {"type": "function", "function": {"name": "time"}}
    client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER, TIME], tool_choice=named)
    assert "weather" not in live.lm.tokenizer.decode(live.lm.calls[2].prompt)
    assert live.lm.calls[2].constraint is not None


def test_the_answer_to_a_call_can_be_sent_back(client: openai.OpenAI, live: Any) -> None:
    live.lm.script = lambda _: CALLS
    answer = client.chat.completions.create(model="demo", messages=ask("x"), tools=[WEATHER]).choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in answer.tool_calls or []]
    history: list[Any] = [*ask("x"), answer.model_dump(), *results, *ask("thanks")]
    client.chat.completions.create(model="demo", messages=history, tools=[WEATHER])
    prompt = live.lm.tokenizer.decode(live.lm.calls[1].prompt)
    assert prompt.count('{"name": "weather", "arguments": {"city": "Köln"}}') == 2
    assert prompt.count("<|tool|>rain<|end|>") == 2


def test_a_calculator_of_the_callers_own_is_not_run_here(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "demo", "messages": ask("calculate 2*21"), "tools": [CALCULATOR]}
    message = client.chat.completions.create(**asked).choices[0].message
    assert message.content is None
    call: Any = (message.tool_calls or [])[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("calculator", {"expression": "2*21"})


def test_tools_that_were_not_offered_are_text(client: openai.OpenAI, live: Any) -> None:
    live.lm.script = lambda _: CALLS
    choice = client.chat.completions.create(model="demo", messages=ask("x"), tools=[TIME]).choices[0]
    assert (choice.finish_reason, choice.message.content, choice.message.tool_calls) == ("stop", CALLS, None)


def test_reasoning_apart(client: openai.OpenAI, live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.lm.tokenizer, "chat_template", live.lm.tokenizer.chat_template + "{# <think> #}")
    live.lm.script = lambda _: "<think>\nblue is scattered\n</think>\n\nBecause of the air."
    done = client.chat.completions.create(model="demo", messages=ask("x"), logprobs=True)
    message: Any = done.choices[0].message
    assert (message.reasoning, message.content) == ("blue is scattered", "Because of the air.")
    assert done.usage is not None
    assert done.usage.completion_tokens_details is not None
    assert 0 < (done.usage.completion_tokens_details.reasoning_tokens or 0) < done.usage.completion_tokens
    logprobs = done.choices[0].logprobs
    assert logprobs is not None
    assert "".join(token.token for token in logprobs.content or []).strip() == "Because of the air."
    deltas: list[Any] = [
        chunk.choices[0].delta for chunk in client.chat.completions.create(model="demo", messages=ask("x"), stream=True)
    ]
    assert "".join(getattr(delta, "reasoning", None) or "" for delta in deltas) == "blue is scattered"
    assert "".join(delta.content or "" for delta in deltas) == "Because of the air."


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_cut(client: openai.OpenAI, live: Any, stream: bool) -> None:
    """What there is of its arguments is told, and that the tokens ran out."""
    live.lm.script = lambda _: CALLS
    tokens = live.lm.tokenizer.encode(CALLS[: CALLS.index("Kö")])
    asked: dict[str, Any] = {"model": "demo", "messages": ask("x"), "tools": [WEATHER], "max_tokens": len(tokens)}
    if stream:
        choices = [chunk.choices[0] for chunk in client.chat.completions.create(stream=True, **asked)]
        calls = [call for choice in choices for call in choice.delta.tool_calls or []]
        arguments, reason = "".join(call.function.arguments for call in calls), choices[-1].finish_reason
    else:
        choice = client.chat.completions.create(**asked).choices[0]
        (call,) = choice.message.tool_calls or []
        arguments, reason = call.function.arguments, choice.finish_reason
    assert arguments.startswith('{"city": "')
    assert reason == "length"


def test_openais_helper_puts_the_pieces_together(client: openai.OpenAI, live: Any) -> None:
    live.lm.script = lambda _: CALLS
    tool: Any = WEATHER | {"function": WEATHER["function"] | {"strict": True}}
    with client.chat.completions.stream(model="demo", messages=ask("x"), tools=[tool]) as stream:
        events = list(stream)
    calls: list[Any] = stream.get_final_completion().choices[0].message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Köln"}] * 2
    assert sum(event.type == "tool_calls.function.arguments.delta" for event in events) > 4
    assert sum(event.type == "tool_calls.function.arguments.done" for event in events) == 2
