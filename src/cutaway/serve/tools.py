"""The caller's tools: how the model is told of them, and how it is made to call one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cutaway.infer.constrained import Grammar
from cutaway.serve.calls import CALCULATOR, written
from cutaway.serve.messages import Function
from cutaway.tokens import Tokenizer

NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}


def described(functions: Sequence[Function]) -> str:
    """What is said to the model about the tools, in words that need no template to know of tools."""
    lines = [
        json.dumps(
            {"name": each.name, "description": each.description or "", "parameters": each.parameters or NO_ARGUMENTS},
            ensure_ascii=False,
        )
        for each in functions
    ]
    return "\n".join(
        (
            "These functions can be called, each given as a line of JSON:",
            *lines,
            "A call is a line of its own, and nothing else comes after the last:",
            '<tool_call>{"name": "FUNCTION", "arguments": {"PARAMETER": "VALUE"}}</tool_call>',
            "The results come in the next turns. Where no function is needed, answer in words.",
        )
    )


def conversation(
    messages: Sequence[Mapping[str, Any]], functions: Sequence[Function], tokenizer: Tokenizer
) -> list[dict[str, Any]]:
    """The messages as the chat template takes them: tools told of at the beginning, earlier calls as text.

    A call of the calculator alone stays one where the model has a token for it.

    Raises:
        ValueError: the arguments of a call are no JSON object.
    """
    told = [_as_text(message, tokenizer) for message in messages]
    if not functions:
        return told
    words = described(functions)
    if told and told[0]["role"] == "system":
        return [{**told[0], "content": f"{told[0]['content']}\n\n{words}"}, *told[1:]]
    return [{"role": "system", "content": words}, *told]


def _as_text(message: Mapping[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not calls or (tokenizer.tool_call >= 0 and [call["function"]["name"] for call in calls] == [CALCULATOR]):
        return dict(message)
    text = "\n".join(filter(None, (message.get("content"), written(calls))))
    return {key: value for key, value in message.items() if key != "tool_calls"} | {"content": text}


def must_call(functions: Sequence[Function], *, parallel: bool) -> Grammar:
    """The grammar of an answer that is calls of these functions, one or, where `parallel`, one or more.

    Raises:
        BadInput: the parameters of a function are no schema, or beyond the bounds.
    """
    either = [
        {
            "type": "object",
            "properties": {"name": {"const": each.name}, "arguments": each.parameters or NO_ARGUMENTS},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for each in functions
    ]
    schema = either[0] if len(either) == 1 else {"anyOf": either}
    more = '("\\n" call)*' if parallel else ""
    return Grammar.lark(
        f'start: call {more}\ncall: "<tool_call>" body "</tool_call>"\nbody: %json {json.dumps(schema)}\n'
    )
