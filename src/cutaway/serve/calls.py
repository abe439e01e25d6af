"""How models write the calls of tools, family by family, and how to read them.

| form | a call is written | models |
|---|---|---|
| `MARKED` | `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, or a list of such | Hermes, Qwen, SmolLM |
| `MISTRAL` | `[TOOL_CALLS][{"name": …, "arguments": {…}}]`, later `[TOOL_CALLS]name[ARGS]{…}` | Mistral |
| `LLAMA` | the whole answer is `{"name": …, "parameters": {…}}`, several with `;` between them | Llama 3 |
| `OURS` | `<|tool_call|>` and an expression for the calculator; else as `MARKED` | trained here |
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from cutaway.tokens import Tokenizer
from cutaway.tokens.special import TOOL_CALL

CALCULATOR = "calculator"
ARGUMENTS = ("arguments", "parameters")
"""What the arguments are called in a call."""


@dataclass(frozen=True)
class Call:
    """A call of a tool."""

    name: str
    arguments: str
    """As JSON."""
    id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}", compare=False)


@dataclass(frozen=True)
class Form:
    """How one family of models writes calls."""

    opens: Mapping[str, str | None]
    """What begins a call, and what then ends it; None where the end of the answer does."""
    whole: bool = False
    """Whether an answer that begins with a brace may be nothing but calls."""

    def read(self, mark: str, body: str, names: Collection[str]) -> list[Call]:
        """The calls in what stood between `mark` and its end; none where it is no call of one of these tools."""
        if mark == TOOL_CALL:
            found = [(CALCULATOR, json.dumps({"expression": body}, ensure_ascii=False))]
        elif mark == "[TOOL_CALLS]" and not body.lstrip().startswith(("[", "{")):
            found = _named(body)
        elif self.whole:
            found = [call for part in _documents(body) for call in _calls(part)]
        else:
            found = _calls(_loads(body))
        calls = [Call(name, arguments) for name, arguments in found if name in names]
        # A call that nobody offered is no call: better shown as what it is than half carried out.
        return calls if len(calls) == len(found) else []


MARKED = Form({"<tool_call>": "</tool_call>"})
MISTRAL = Form({"[TOOL_CALLS]": None})
LLAMA = Form({"<|python_tag|>": None}, whole=True)
OURS = Form({TOOL_CALL: None, **MARKED.opens})


def form_of(tokenizer: Tokenizer) -> Form:
    """How the model with this tokenizer writes calls, by its chat template."""
    if tokenizer.tool_call >= 0:
        return OURS
    template = tokenizer.chat_template
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    if "<|python_tag|>" in template or ('"parameters"' in template and "<|start_header_id|>" in template):
        return LLAMA
    return MARKED


def written(calls: Sequence[Mapping[str, Any]]) -> str:
    """Calls of an earlier turn as text, in the form that `described` asks for."""
    lines: list[str] = []
    for call in calls:
        arguments = _loads(call["function"]["arguments"])
        if not isinstance(arguments, dict):
            raise ValueError("the arguments of a tool call must be a JSON object")
        told = {"name": call["function"]["name"], "arguments": arguments}
        lines.append(f"<tool_call>{json.dumps(told, ensure_ascii=False)}</tool_call>")
    return "\n".join(lines)


def _calls(value: object) -> list[tuple[str, str]]:
    """Name and arguments of each call in a JSON object, or in a list of them; none if there is anything else."""
    found: list[tuple[str, str]] = []
    for each in cast("list[object]", value) if isinstance(value, list) else [value]:
        if not isinstance(each, dict):
            return []
        call = cast("dict[str, object]", each)
        name = call.get("name")
        arguments = next((call[key] for key in ARGUMENTS if key in call), {})
        arguments = _loads(arguments) if isinstance(arguments, str) else arguments
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return []
        found.append((name, json.dumps(arguments, ensure_ascii=False)))
    return found


def _named(body: str) -> list[tuple[str, str]]:
    """Calls written as a name, `[ARGS]` and the arguments, each after a mark of its own."""
    found: list[tuple[str, str]] = []
    for part in body.split("[TOOL_CALLS]"):
        name, _, text = part.partition("[ARGS]")
        arguments = _loads(text)
        if not isinstance(arguments, dict):
            return []
        found.append((name.strip(), json.dumps(arguments, ensure_ascii=False)))
    return found


def _documents(text: str) -> list[object]:
    """JSON values with `;` or spaces between them; one None where there is anything else."""
    found: list[object] = []
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at] in "; \n\t":
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return [None]
        found.append(value)
    return found or [None]


def _loads(text: str) -> object:
    """JSON, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
