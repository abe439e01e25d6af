"""Sums, differences and products of small numbers, worked digit by digit; and answered straight, for contrast.

A small transformer does not add two-digit numbers in one go, but it learns single digits and where to put them: so each
answer is a chain of steps that each need only a digit table, a carry or a copy. Every digit is one token.

The split is by problem. What is held out is an unordered pair of operands (for sums, differences and straight answers
alike), a three-operand problem, or a product. No training problem has a held-out pair in any step of its working. The
pairs of the digit tables, which every working is made of (two digits; or 10 to 18 and a digit, as in borrowing), are
never held out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache
from typing import Literal

from cutaway.align.conversations.conversation import Conversation, Materials, exchange, last_number, split_of
from cutaway.corpus.alternation import expand_lines
from cutaway.corpus.names import Split

Family = Literal["add", "subtract", "three", "product", "direct"]
FAMILIES: tuple[Family, ...] = ("add", "subtract", "three", "product", "direct")
LARGEST = 99
HELD_OUT = 0.15

# {e} is the problem in signs; {a} and {b} are its operands.
_WORDINGS: dict[Family, str] = {
    "add": """
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
        What does {e} make?
        What do you get for {e}?
        Please work out {e}.
        What is {a} plus {b}?
        {a} plus {b}
        How much is {a} plus {b}?
        Add {a} and {b}.
        Add {b} to {a}.
        What is the sum of {a} and {b}?
        """,
    "subtract": """
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
        What does {e} make?
        What do you get for {e}?
        Please work out {e}.
        What is {a} minus {b}?
        {a} minus {b}
        How much is {a} minus {b}?
        What is {a} less {b}?
        Take {b} from {a}.
        Subtract {b} from {a}.
        """,
    "three": """
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
        What does {e} make?
        What do you get for {e}?
        Please work out {e}.
        I need {e}.
        How much does {e} come to?
        """,
    "product": """
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
        Please work out {e}.
        What is {a} times {b}?
        {a} times {b}
        How much is {a} times {b}?
        Multiply {a} by {b}.
        What is the product of {a} and {b}?
        """,
    "direct": """
        {e}? Just the number.
        {e}, just the number
        What is {e}? Just the number.
        What is {e}? Only the number.
        How much is {e}? Only the number.
        Give only the number: {e}
        Just the number: {e}
        Answer with the number alone: {e}
        {e}, no steps
        What is {e}? No steps.
        """,
}
_PAIR = re.compile(r"(?<![\d+*-])(\d+)[+-](\d+)(?=[=,.? ]|$)")


def examples(
    materials: Materials, rng: random.Random, n: int, split: Split, family: Family | None = None
) -> list[Conversation]:
    """`n` problems of a family; of all of them in turn, "direct" aside, when it is None."""
    families: tuple[Family, ...] = (family,) if family else FAMILIES[:-1]
    return [example(rng, split, families[i % len(families)]) for i in range(n)]


def example(rng: random.Random, split: Split, family: Family) -> Conversation:
    """One problem of a family and a split, in some wording, with its working."""
    expression = problem(rng, split, family)
    a, b = (re.findall(r"\d+", expression) * 2)[:2]
    shown = expression if rng.random() < 0.6 else re.sub(r"([+*-])", r" \1 ", expression)
    text = rng.choice(wordings(family)).format(e=shown, a=a, b=b)
    value = str(evaluate(expression))
    reply = value if family == "direct" else working(expression)
    return exchange(text, reply, f"arithmetic.{family}", value)


def grade(conversation: Conversation, reply: str) -> bool:
    """The last number of the reply is the result."""
    return last_number(reply) == conversation.answer


@cache
def wordings(family: Family) -> tuple[str, ...]:
    """The ways to put a problem of a family; both splits use all of them."""
    return expand_lines(_WORDINGS[family])


def problem(rng: random.Random, split: Split, family: Family) -> str:
    """A problem of a split as an expression without blanks, such as "48+37-12"."""
    while True:
        expression = _DRAW[family](rng)
        if problem_split(expression) != split:
            continue
        if split == "train" and any(pair_split(a, b) == "heldout" for a, b in pairs(working(expression))):
            continue
        return expression


def problem_key(expression: str) -> str:
    """What the split goes by: two operands in rising order, three signed terms in any order, or a product as it is."""
    if "*" in expression:
        return expression
    terms = re.findall(r"[+-]?\d+", expression)
    if len(terms) == 2:
        return "{},{}".format(*sorted(int(number) for number in re.findall(r"\d+", expression)))
    return ",".join(sorted(term if term[0] in "+-" else f"+{term}" for term in terms))


def problem_split(expression: str) -> Split:
    """The split that a problem belongs to."""
    numbers = [int(number) for number in re.findall(r"\d+", expression)]
    if len(numbers) == 2 and "*" not in expression:
        return pair_split(numbers[0], numbers[1])
    return split_of("arithmetic", problem_key(expression), HELD_OUT)


def pair_split(a: int, b: int) -> Split:
    """The split that a pair of operands belongs to, whatever their order and whether added or subtracted."""
    low, high = sorted((a, b))
    if low <= 9 and high <= 18:  # the digit tables
        return "train"
    return split_of("arithmetic", f"{low},{high}", HELD_OUT)


def pairs(text: str) -> list[tuple[int, int]]:
    """Every pair of numbers up to 99 that a text adds or subtracts, two at a time."""
    found = [(int(a), int(b)) for a, b in _PAIR.findall(text)]
    return [(a, b) for a, b in found if a <= LARGEST and b <= LARGEST]


def evaluate(expression: str) -> int:
    """The value of a chain of sums and differences from left to right, or of one product."""
    if "*" in expression:
        a, b = expression.split("*")
        return int(a) * int(b)
    return sum(int(term) for term in re.findall(r"[+-]?\d+", expression))


def working(expression: str) -> str:
    """The steps that lead to the value; the last one is the whole problem with its result."""
    if "*" in expression:
        a, b = expression.split("*")
        return " ".join(_product_steps(int(a), int(b)))
    first, *rest = re.findall(r"[+-]?\d+", expression)
    total = int(first)
    steps: list[str] = []
    for term in rest:
        number = int(term[1:])
        steps += _add_steps(total, number) if term[0] == "+" else _subtract_steps(total, number)
        total = total + number if term[0] == "+" else total - number
    if len(rest) > 1:
        steps.append(f"{expression}={total}.")
    return " ".join(steps)


def _add_steps(a: int, b: int) -> list[str]:
    steps: list[str] = []
    if a > 9 or b > 9:
        ones = a % 10 + b % 10
        tens = a // 10 + b // 10 + ones // 10
        steps = [f"{a % 10}+{b % 10}={ones}.", f"{a // 10}+{b // 10}{'+1' if ones > 9 else ''}={tens}."]
    return [*steps, f"{a}+{b}={a + b}."]


def _subtract_steps(a: int, b: int) -> list[str]:
    # The comparison comes first: which number to take from which is then a decision of its own.
    if a < b:
        return [f"{a}<{b}.", *_difference_steps(b, a), f"{a}-{b}={a - b}."]
    return [f"{a}{'>' if a > b else '='}{b}.", *_difference_steps(a, b)]


def _difference_steps(a: int, b: int) -> list[str]:
    steps: list[str] = []
    if a > 9:
        borrow = a % 10 < b % 10
        ones = a % 10 - b % 10 + 10 * borrow
        tens = a // 10 - b // 10 - borrow
        steps = [f"{a % 10 + 10 * borrow}-{b % 10}={ones}.", f"{a // 10}{'-1' if borrow else ''}-{b // 10}={tens}."]
    return [*steps, f"{a}-{b}={a - b}."]


def _product_steps(a: int, b: int) -> list[str]:
    ones, tens = a % 10 * b, a // 10 * b
    steps = [f"{a % 10}*{b}={ones}.", f"{a // 10}*{b}={tens}."]
    if ones > 9:
        steps.append(f"{tens}+{ones // 10}={tens + ones // 10}.")
    return [*steps, f"{a}*{b}={a * b}."]


def _draw_two(rng: random.Random, sign: str) -> str:
    return f"{rng.randint(0, LARGEST)}{sign}{rng.randint(0, LARGEST)}"


def _draw_three(rng: random.Random) -> str:
    while True:
        a, b, c = (rng.randint(0, LARGEST) for _ in range(3))
        first, second = rng.choice("+-"), rng.choice("+-")
        # The intermediate result stays in the range that the two-operand families teach.
        if 0 <= (a + b if first == "+" else a - b) <= LARGEST:
            return f"{a}{first}{b}{second}{c}"


_DRAW: dict[Family, Callable[[random.Random], str]] = {
    "add": lambda rng: _draw_two(rng, "+"),
    "subtract": lambda rng: _draw_two(rng, "-"),
    "three": _draw_three,
    "product": lambda rng: f"{rng.randint(10, LARGEST)}*{rng.randint(2, 9)}",
    "direct": lambda rng: _draw_two(rng, rng.choice("+-")),
}
