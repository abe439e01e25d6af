"""The calculator gives what exact fractions give, and never anything but a line of text."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.assistant import calculate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1234*5678", "7006652"),
        ("2+3*4", "14"),
        ("(2+3)*4", "20"),
        ("7-10", "-3"),
        ("10-4-3", "3"),
        ("100/5/2", "10"),
        ("-(3-5)", "2"),
        ("2*-3", "-6"),
        ("--3", "3"),
        (" 1 + 1 ", "2"),
        ("0.1+0.2", "0.3"),
        ("1/8", "0.125"),
        ("1/3", "0.3333333333"),
        ("200/3", "66.6666666667"),
        ("2/3000", "0.0006666666667"),
        ("1.50*2", "3"),
        ("-1/4", "-0.25"),
        ("100000*0.00001", "1"),
        ("007", "7"),
        ("300/2.5", "120"),
    ],
)
def test_known_values(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "   ",
        "1/0",
        "1/(2-2)",
        "2+",
        "(2",
        "2)",
        "1 2",
        "1..2",
        ".5",
        "1.",
        "2**3",
        "two",
        "__import__('os')",
        "1e9",
        "٣+٤",
        "1,000",
        "+",
        "()",
        "\x00",
        "1\n+1",
        "9" * 51,
        "1" * 201,
        "(" * 21 + "1" + ")" * 21,
        "*".join(["9" * 48] * 4),
    ],
)
def test_what_has_no_value_is_an_error_of_one_line(expression: str) -> None:
    answer = calculate(expression)
    assert answer.startswith("error: ")
    assert "\n" not in answer


def test_a_long_run_of_signs_is_read_without_recursion() -> None:
    assert calculate("-" * 198 + "5") == "5"
    assert calculate("(" * 20 + "1" + ")" * 20) == "1"


def _expressions() -> st.SearchStrategy[tuple[str, Fraction]]:
    """An expression with all its parentheses, and the value that Python's fractions give it."""
    number = st.one_of(
        st.integers(0, 10**8).map(str),
        st.decimals(0, 10**4, places=3).map(lambda d: format(d, "f")),
    ).map(lambda text: (text, Fraction(text)))

    def grow(children: st.SearchStrategy[tuple[str, Fraction]]) -> st.SearchStrategy[tuple[str, Fraction]]:
        def join(left: tuple[str, Fraction], sign: str, right: tuple[str, Fraction]) -> tuple[str, Fraction]:
            if sign == "/" and right[1] == 0:
                sign = "+"
            results = {
                "+": lambda a, b: a + b,
                "-": lambda a, b: a - b,
                "*": lambda a, b: a * b,
                "/": lambda a, b: a / b,
            }
            return f"({left[0]}{sign}{right[0]})", results[sign](left[1], right[1])

        return st.one_of(
            st.builds(join, children, st.sampled_from("+-*/"), children),
            children.map(lambda child: (f"-{child[0]}", -child[1])),
        )

    return st.recursive(number, grow, max_leaves=8)


@given(_expressions())
def test_agrees_with_exact_fractions(case: tuple[str, Fraction]) -> None:
    expression, value = case
    answer = calculate(expression)
    if len(expression) > 200:
        assert answer.startswith("error: ")
        return
    given_value = Fraction(Decimal(answer))
    if value.denominator == 1:
        assert given_value == value
    else:
        assert abs(given_value - value) <= max(Fraction(1, 2 * 10**10), Fraction(1, 10**10) * min(1, abs(value)))


@given(st.lists(st.sampled_from("+-*"), min_size=1, max_size=6), st.data())
def test_agrees_with_python_on_precedence(signs: list[str], data: st.DataObject) -> None:
    numbers = [data.draw(st.integers(0, 10**6)) for _ in range(len(signs) + 1)]
    expression = str(numbers[0]) + "".join(f"{sign}{number}" for sign, number in zip(signs, numbers[1:], strict=True))
    assert calculate(expression) == str(eval(expression))  # digits and three signs, made here


@given(st.text(max_size=250))
def test_no_text_makes_it_raise(text: str) -> None:
    assert isinstance(calculate(text), str)


@given(st.text(alphabet="0123456789+-*/(). ", max_size=210))
def test_nothing_near_its_grammar_makes_it_raise(text: str) -> None:
    answer = calculate(text)
    assert answer.startswith("error: ") or Decimal(answer).is_finite()
