"""Calls of tools as each family of models writes them."""

from __future__ import annotations

import json

import pytest

from cutaway.serve.calls import LLAMA, MARKED, MISTRAL, OURS, Form, written

NAMES = {"weather", "time", "calculator"}
PARIS = ("weather", {"city": "Paris"})
NOW = ("time", {})


@pytest.mark.parametrize(
    ("form", "mark", "body", "expected"),
    [
        (MARKED, "<tool_call>", '{"name": "weather", "arguments": {"city": "Paris"}}', [PARIS]),
        (MARKED, "<tool_call>", '{"name": "weather", "arguments": "{\\"city\\": \\"Paris\\"}"}', [PARIS]),
        (
            MARKED,
            "<tool_call>",
            '[{"name": "weather", "arguments": {"city": "Paris"}}, {"name": "time"}]',
            [PARIS, NOW],
        ),
        (MARKED, "<tool_call>", '{"name": "absent", "arguments": {}}', []),
        (MARKED, "<tool_call>", '[{"name": "weather", "arguments": {}}, {"name": "absent"}]', []),
        (MARKED, "<tool_call>", '{"name": "weather", "arguments": [1]}', []),
        (MARKED, "<tool_call>", '{"name": ["weather"]}', []),
        (MARKED, "<tool_call>", '{"name": "weather", "arguments": {"city": "Par', []),
        (MARKED, "<tool_call>", "[" * 100_000, []),
        (MARKED, "<tool_call>", "5", []),
        (MARKED, "<tool_call>", "", []),
        (
            MISTRAL,
            "[TOOL_CALLS]",
            '[{"name": "weather", "arguments": {"city": "Paris"}}, {"name": "time"}]',
            [PARIS, NOW],
        ),
        (MISTRAL, "[TOOL_CALLS]", 'weather[ARGS]{"city": "Paris"}', [PARIS]),
        (MISTRAL, "[TOOL_CALLS]", 'weather[ARGS]{"city": "Paris"}[TOOL_CALLS]time[ARGS]{}', [PARIS, NOW]),
        (MISTRAL, "[TOOL_CALLS]", "weather[ARGS]Paris", []),
        (LLAMA, "", '{"name": "weather", "parameters": {"city": "Paris"}}', [PARIS]),
        (
            LLAMA,
            "<|python_tag|>",
            '{"name": "weather", "parameters": {"city": "Paris"}}; {"name": "time"}',
            [PARIS, NOW],
        ),
        (LLAMA, "", '{"name": "weather", "parameters": {"city": "Paris"}} and so on', []),
        (LLAMA, "", '{"city": "Paris"}', []),
        (OURS, "<|tool_call|>", "2+2", [("calculator", {"expression": "2+2"})]),
        (OURS, "<|tool_call|>", 'a "quoted" \\ thing', [("calculator", {"expression": 'a "quoted" \\ thing'})]),
        (OURS, "<tool_call>", '{"name": "weather", "arguments": {"city": "Paris"}}', [PARIS]),
    ],
)
def test_read(form: Form, mark: str, body: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    calls = form.read(mark, body, NAMES)
    assert [(call.name, json.loads(call.arguments)) for call in calls] == expected
    assert len({call.id for call in calls}) == len(calls)


def test_what_is_written_can_be_read() -> None:
    arguments = {"city": "Zürich </tool", "list": [1, {"a": None}]}
    call = {"function": {"name": "weather", "arguments": json.dumps(arguments)}}
    text = written([call, call])
    for line in text.split("\n"):
        body = line.removeprefix("<tool_call>").removesuffix("</tool_call>")
        (read,) = MARKED.read("<tool_call>", body, NAMES)
        assert json.loads(read.arguments) == arguments
    for damaged in ("x", "[]", "5", ""):
        with pytest.raises(ValueError, match="must be a JSON object"):
            written([{"function": {"name": "weather", "arguments": damaged}}])
