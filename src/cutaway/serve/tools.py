"""What the model is told of the caller's tools, and of the calls in earlier turns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import takewhile
from typing import Any

from cutaway.serve.calls import CALCULATOR, LLAMA, MISTRAL, Form, arguments_of, form_by_template, written
from cutaway.serve.messages import Function
from cutaway.tokens import Tokenizer

NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}

Turn = Mapping[str, Any]


def conversation(
    messages: Sequence[Turn], functions: Sequence[Function], tokenizer: Tokenizer
) -> tuple[list[Turn], list[dict[str, Any]]]:
    """The messages and the tools as the chat template takes them.

    Where the template does not know of tools, or has calls in a form that is not known here, the system message tells
    of them, and earlier calls are text; a call of the calculator alone stays one where the model has a token for it.

    Raises:
        ValueError: the arguments of a call are no JSON object.
    """
    form = form_by_template(tokenizer)
    template = tokenizer.tool_template if functions else tokenizer.chat_template
    if form and "tool_calls" in template:
        return list(_turns(messages, form)), [_tool(each) for each in functions]
    told = [_as_text(message, tokenizer) for message in messages]
    if not functions:
        return told, []
    words = described(functions)
    if told and told[0]["role"] == "system":
        return [{**told[0], "content": f"{told[0]['content']}\n\n{words}"}, *told[1:]], []
    return [{"role": "system", "content": words}, *told], []


def described(functions: Sequence[Function]) -> str:
    """What is said to the model about the tools, in words that need no template to know of tools."""
    return "\n".join(
        (
            "These functions can be called, each given as a line of JSON:",
            *(json.dumps(_tool(each)["function"], ensure_ascii=False) for each in functions),
            "A call is a line of its own, and nothing else comes after the last:",
            '<tool_call>{"name": "FUNCTION", "arguments": {"PARAMETER": "VALUE"}}</tool_call>',
            "The results come in the next turns. Where no function is needed, answer in words.",
        )
    )


def _tool(function: Function) -> dict[str, Any]:
    # Many templates take it that all three are there.
    told = {
        "name": function.name,
        "description": function.description or "",
        "parameters": function.parameters or NO_ARGUMENTS,
    }
    return {"type": "function", "function": told}


def _as_text(message: Turn, tokenizer: Tokenizer) -> Turn:
    calls = message.get("tool_calls")
    if not calls or (tokenizer.tool_call >= 0 and [call["function"]["name"] for call in calls] == [CALCULATOR]):
        return message
    text = "\n".join(filter(None, (message.get("content"), written(calls))))
    return {key: value for key, value in message.items() if key != "tool_calls"} | {"content": text}


def _turns(messages: Sequence[Turn], form: Form) -> Iterator[Turn]:
    """The messages with the arguments of calls as objects, and what else a family's templates insist on."""
    for message in _one_by_one(messages) if form is LLAMA else messages:
        changed = dict(message)
        if calls := message.get("tool_calls"):
            changed["tool_calls"] = [
                {**call, "function": {**call["function"], "arguments": arguments_of(call)}} for call in calls
            ]
        yield _with_short_ids(changed) if form is MISTRAL else changed


def _one_by_one(messages: Sequence[Turn]) -> Iterator[Turn]:
    """Each call in a turn of its own, and its result behind it: Llama's templates take no two in one."""
    at = 0
    while at < len(messages):
        message = messages[at]
        at += 1
        calls = message.get("tool_calls") or ()
        if len(calls) < 2:
            yield message
            continue
        results = list(takewhile(lambda other: other["role"] == "tool", messages[at:]))
        at += len(results)
        for call in calls:
            yield {**message, "tool_calls": [call]}
            yield from (result for result in results if result.get("tool_call_id") == call["id"])
            results = [result for result in results if result.get("tool_call_id") != call["id"]]
        yield from results


def _with_short_ids(message: dict[str, Any]) -> Turn:
    """Identifiers of nine letters and digits, as Mistral's templates insist on; the same for the same."""

    def short(id_: str) -> str:
        return id_ if len(id_) == 9 and id_.isalnum() else blake2b(id_.encode(), digest_size=5).hexdigest()[:9]

    if "tool_calls" in message:
        message["tool_calls"] = [{**call, "id": short(call["id"])} for call in message["tool_calls"]]
    if "tool_call_id" in message:
        message["tool_call_id"] = short(message["tool_call_id"])
    return message
