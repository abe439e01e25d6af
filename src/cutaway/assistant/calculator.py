"""A calculator for a model to call: exact, bounded, and unable to do anything but arithmetic.

The text comes from a model, so it is data and never code. A recursive-descent parser reads this grammar and nothing
else, with spaces allowed between its signs:

    expression = term   { ("+" | "-") term }
    term       = factor { ("*" | "/") factor }
    factor     = "-" factor | number | "(" expression ")"
    number     = digits [ "." digits ]
"""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction

MAX_LENGTH = 200
MAX_DIGITS = 50
MAX_DEPTH = 20
MAX_RESULT_DIGITS = 100
EXACT_DECIMALS = 30
ROUNDED_DECIMALS = 10

_DIGITS = frozenset("0123456789")


class _Refused(Exception):
    """Why an expression has no value."""


class _Parser:
    """Walks over one expression once, left to right, and works out its value on the way."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def value(self) -> Fraction:
        result = self.expression()
        if self.at < len(self.text):
            raise self.unexpected()
        return result

    def expression(self) -> Fraction:
        result = self.term()
        while True:
            if self.take("+"):
                result += self.term()
            elif self.take("-"):
                result -= self.term()
            else:
                return result

    def term(self) -> Fraction:
        result = self.factor()
        while True:
            if self.take("*"):
                result *= self.factor()
            elif self.take("/"):
                divisor = self.factor()
                if divisor == 0:
                    raise _Refused("division by zero")
                result /= divisor
            else:
                return result

    def factor(self) -> Fraction:
        # A run of minus signs is counted, not recursed into: its length must not cost depth.
        negative = False
        while self.take("-"):
            negative = not negative
        if self.take("("):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise _Refused(f"more than {MAX_DEPTH} parentheses inside one another")
            result = self.expression()
            if not self.take(")"):
                raise self.unexpected("a closing parenthesis")
            self.depth -= 1
        else:
            result = self.number()
        return -result if negative else result

    def number(self) -> Fraction:
        self.skip_spaces()
        start = self.at
        whole = self.digits()
        if not whole:
            raise self.unexpected("a number")
        text = whole
        if self.text[self.at : self.at + 1] == ".":
            self.at += 1
            decimals = self.digits()
            if not decimals:
                raise self.unexpected("digits after the point")
            text = f"{whole}.{decimals}"
        if self.at - start > MAX_DIGITS:
            raise _Refused(f"a number of more than {MAX_DIGITS} digits")
        self.skip_spaces()
        return Fraction(text)

    def digits(self) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in _DIGITS:
            self.at += 1
        return self.text[start : self.at]

    def take(self, sign: str) -> bool:
        self.skip_spaces()
        if self.text[self.at : self.at + 1] != sign:
            return False
        self.at += 1
        return True

    def skip_spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at] == " ":
            self.at += 1

    def unexpected(self, wanted: str | None = None) -> _Refused:
        found = repr(self.text[self.at]) if self.at < len(self.text) else "the end"
        place = f" at character {self.at + 1}" if self.at < len(self.text) else ""
        return _Refused(f"unexpected {found}{place}" + (f", expected {wanted}" if wanted else ""))


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, as text.

    Integers and decimals with ``+ - * /``, parentheses and unary minus are worked out exactly. A result that ends
    within 30 decimals is written in full (``1/8`` is ``0.125``); any other is rounded to 10 decimals, or to 10
    significant digits below one (``1/3`` is ``0.3333333333``).

    Never raises: an expression that is malformed, divides by zero, or passes a bound (200 characters, 50 digits a
    number, 20 nested parentheses, 100 digits in the result) gives a line that begins with ``error:``.
    """
    try:
        if len(expression) > MAX_LENGTH:
            raise _Refused(f"longer than {MAX_LENGTH} characters")
        if not expression.strip():
            raise _Refused("nothing to calculate")
        return _written(_Parser(expression).value())
    except _Refused as refusal:
        return f"error: {refusal}"


def _written(value: Fraction) -> str:
    whole = abs(value.numerator) // value.denominator
    if len(str(whole)) > MAX_RESULT_DIGITS:
        raise _Refused(f"a result of more than {MAX_RESULT_DIGITS} digits")
    if value.denominator == 1:
        return str(value.numerator)
    decimals = _exact_decimals(value.denominator)
    digits = len(str(whole)) if whole else 0
    # An exact quotient has the digits of its whole part and its decimals; the rounded one keeps ten after the point.
    context = Context(
        prec=digits + (decimals if decimals is not None else ROUNDED_DECIMALS), Emin=-999_999, Emax=999_999
    )
    text = format(context.divide(Decimal(value.numerator), Decimal(value.denominator)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _exact_decimals(denominator: int) -> int | None:
    """How many decimals a fraction in lowest terms needs, or None where it has no short end."""
    twos = fives = 0
    while denominator % 2 == 0:
        denominator //= 2
        twos += 1
    while denominator % 5 == 0:
        denominator //= 5
        fives += 1
    decimals = max(twos, fives)
    return decimals if denominator == 1 and decimals <= EXACT_DECIMALS else None
