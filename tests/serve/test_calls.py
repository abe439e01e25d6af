"""Calls of tools as each family of models writes them."""

from __future__ import annotations

import json

import pytest

from cutaway.serve.calls import MARKED, MISTRAL, read_calls, written

NAMES = {"weather", "time"}
PARIS = ("weather", {"city": "Paris"})
NOW = ("time", {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "weather", "arguments": {"city": "Paris"}}', [PARIS]),
        ('{"name": "weather", "parameters": {"city": "Paris"}}', [PARIS]),
        ('{"arguments": {"city": "Paris"}, "name": "weather"}', [PARIS]),
        ('{"name": "weather", "arguments": "{\\"city\\": \\"Paris\\"}"}', [PARIS]),
        ('[{"name": "weather", "arguments": {"city": "Paris"}}, {"name": "time"}]', [PARIS, NOW]),
        ('{"name": "weather", "arguments": {"city": "Paris"}}; {"name": "time"}', [PARIS, NOW]),
        ('{"name": "weather", "arguments": {"city": "Paris"}} and so on', []),
        ('{"name": "absent", "arguments": {}}', []),
        ('[{"name": "weather", "arguments": {}}, {"name": "absent"}]', []),
        ('{"name": "weather", "arguments": [1]}', []),
        ('{"name": "weather", "arguments": "no object"}', []),
        ('{"name": ["weather"]}', []),
        ('{"name": "weather", "arguments": {"city": "Par', []),
        ('{"city": "Paris"}', []),
        ("[" * 100_000, []),
        ("5", []),
        ("", []),
    ],
)
def test_read_at_once(text: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(name, json.loads(arguments)) for name, arguments in read_calls(text, NAMES)] == expected


def test_what_is_written_can_be_read() -> None:
    arguments = {"city": "Zürich </tool", "list": [1, {"a": None}]}
    call = {"function": {"name": "weather", "arguments": json.dumps(arguments)}}
    text = written([call, call])
    for line in text.split("\n"):
        ((name, read),) = read_calls(line.removeprefix("<tool_call>").removesuffix("</tool_call>"), NAMES)
        assert (name, json.loads(read)) == ("weather", arguments)
    for damaged in ("x", "[]", "5", "", "[" * 100_000):
        with pytest.raises(ValueError, match="must be a JSON object"):
            written([{"function": {"name": "weather", "arguments": damaged}}])


def test_all_marks_of_a_form() -> None:
    assert MARKED.marks == {"<tool_call>", "</tool_call>"}
    assert MISTRAL.marks == {"[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"}
