"""Numbers too large to work out in steps: the model calls a calculator and reads off its result.

Also the same problems "without the calculator", answered straight, to show what the tool is worth. The split is by
problem.
"""

from __future__ import annotations

import json
import random
import re
from typing import Literal

from cutaway.align.conversations.conversation import (
    Conversation,
    Materials,
    Message,
    exchange,
    last_number,
    split_of,
)
from cutaway.corpus.alternation import expand_lines
from cutaway.corpus.names import Split

Family = Literal["product", "sum"]

TOOL = "calculator"
HELD_OUT = 0.15
_SUM_SHARE = 0.2
_SHORTER_SHARE = 0.3
_WORDINGS = expand_lines(
    """
    {e}
    {e}=
    {e}?
    {e} = ?
    What is {e}?
    what is {e}
    what's {e}
    How much is {e}?
    Work out {e}.
    Calculate {e}.
    Compute {e}.
    Solve {e}.
    Find {e}.
    Tell me {e}.
    Can you work out {e}?
    What do you get for {e}?
    Please work out {e}.
    Use the calculator: {e}
    What is {e}? Use the calculator.
    {words}
    What is {words}?
    How much is {words}?
    """
)
_WITHOUT = expand_lines(
    """
    {e} without the calculator
    What is {e} without the calculator?
    What is {e}? Do not use the calculator.
    Without the calculator: {e}
    Work out {e} without the calculator.
    How much is {e}, without the calculator?
    No calculator: {e}
    {e}, no calculator
    """
)
_IN_WORDS = {"*": "times", "+": "plus", "-": "minus"}


def examples(
    materials: Materials,
    rng: random.Random,
    n: int,
    split: Split,
    family: Family | None = None,
    without_tool: bool = False,
) -> list[Conversation]:
    """`n` problems of a split.

    Args:
        family: "product": two numbers of four digits (in training some have three); "sum": sums and differences of
            such numbers; None: mostly products.
        without_tool: ask for an answer without the calculator, and answer with the bare number.
    """
    return [_example(rng, split, family, without_tool) for _ in range(n)]


def grade(conversation: Conversation, reply: str) -> bool:
    """The last number of the reply is the result."""
    return last_number(reply) == conversation.answer


def problem(rng: random.Random, split: Split, family: Family | None = None) -> str:
    """A problem of a split as an expression without blanks, such as "1234*5678"."""
    while True:
        chosen = family or ("sum" if rng.random() < _SUM_SHARE else "product")
        shorter = split == "train" and rng.random() < _SHORTER_SHARE
        low, high = (100, 9999) if shorter else (1000, 9999)
        sign = "*" if chosen == "product" else rng.choice("+-")
        expression = f"{rng.randint(low, high)}{sign}{rng.randint(low, high)}"
        if split_of("calculator", expression, HELD_OUT) == split:
            return expression


def _example(rng: random.Random, split: Split, family: Family | None, without_tool: bool) -> Conversation:
    expression = problem(rng, split, family)
    a, sign, b = re.split(r"([*+-])", expression)
    value = {"*": int(a) * int(b), "+": int(a) + int(b), "-": int(a) - int(b)}[sign]
    shown = expression if rng.random() < 0.6 else f"{a} {'x' if sign == '*' and rng.random() < 0.3 else sign} {b}"
    wording = rng.choice(_WITHOUT if without_tool else _WORDINGS)
    text = wording.format(e=shown, words=f"{a} {_IN_WORDS[sign]} {b}")
    if without_tool:
        return exchange(text, str(value), "calculator.without", str(value))
    messages: list[Message] = [{"role": "user", "content": text}, *call(expression, str(value))]
    messages.append({"role": "assistant", "content": f"{expression}={value}."})
    return Conversation(messages, f"calculator.{'product' if sign == '*' else 'sum'}", str(value))


def call(expression: str, result: str) -> list[Message]:
    """The assistant's call of the calculator and the tool's message with the result, as OpenAI shapes them."""
    function = {"name": TOOL, "arguments": json.dumps({"expression": expression})}
    return [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_0", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_0", "content": result},
    ]
