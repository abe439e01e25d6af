"""How models write the calls of tools, family by family.

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
    """A call of a tool begins."""

    name: str
    index: int
    """Which of its answer's calls it is."""
    id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}", compare=False)


@dataclass(frozen=True)
class Arguments:
    """More of a call's arguments."""

    text: str
    """All such texts of a call one after another are its arguments as JSON, as the model wrote them."""
    index: int


@dataclass(frozen=True)
class Form:
    """How one family of models writes calls."""

    opens: Mapping[str, str | None]
    """What begins a call, and what then ends it; None where the end of the answer does."""
    within: tuple[str, ...] = ()
    """Marks inside of a call."""
    whole: bool = False
    """Whether an answer that begins with a brace may be nothing but calls."""

    @property
    def marks(self) -> frozenset[str]:
        """All marks."""
        return frozenset((*self.opens, *(close for close in self.opens.values() if close), *self.within))


MARKED = Form({"<tool_call>": "</tool_call>"})
MISTRAL = Form({"[TOOL_CALLS]": None}, ("[CALL_ID]", "[ARGS]"))
LLAMA = Form({"<|python_tag|>": None}, whole=True)
OURS = Form({TOOL_CALL: None, **MARKED.opens})


def form_of(tokenizer: Tokenizer) -> Form:
    """How the model with this tokenizer writes calls."""
    if tokenizer.tool_call >= 0:
        return OURS
    # Where the template has no form that is known, the model is told of tools in words that ask for this one.
    return form_by_template(tokenizer) or MARKED


def form_by_template(tokenizer: Tokenizer) -> Form | None:
    """The form that the chat template tells the model of, with the tools; None where it tells of none that is known."""
    if not tokenizer.reads_tools:
        return None
    template = tokenizer.tool_template.replace('\\"', '"')
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    if "<tool_call>" in template and '"arguments"' in template and "<tool_calls>" not in template:
        return MARKED
    return LLAMA if "<|start_header_id|>" in template and '"parameters"' in template else None


def read_calls(text: str, names: Collection[str]) -> list[tuple[str, str]]:
    """Name and arguments of the calls in JSON documents with `,`, `;` or spaces between; none where that is not all.

    A call that nobody offered is none: better shown as what it is than half carried out.
    """
    values: list[object] = []
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at] in ",; \n\t":
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        values += cast("list[object]", value) if isinstance(value, list) else [value]
    calls = [call for value in values if (call := _call(value)) and call[0] in names]
    return calls if len(calls) == len(values) else []


def written(calls: Sequence[Mapping[str, Any]]) -> str:
    """Calls of an earlier turn as text, in the form `MARKED`.

    Raises:
        ValueError: the arguments of one are no JSON object.
    """
    told = [{"name": call["function"]["name"], "arguments": arguments_of(call)} for call in calls]
    return "\n".join(f"<tool_call>{json.dumps(each, ensure_ascii=False)}</tool_call>" for each in told)


def arguments_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an earlier turn's call. Raises `ValueError` where they are no JSON object."""
    try:
        arguments = json.loads(call["function"]["arguments"])
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise ValueError("the arguments of a tool call must be a JSON object")
    return cast("dict[str, Any]", arguments)


def _call(value: object) -> tuple[str, str] | None:
    """Name and arguments of the call that a piece of JSON is; None where it is none."""
    if not isinstance(value, dict):
        return None
    call = cast("dict[str, object]", value)
    name = call.get("name")
    arguments = next((call[key] for key in ARGUMENTS if key in call), {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return name, json.dumps(arguments, ensure_ascii=False)
