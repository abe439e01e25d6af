"""Large numbers as a person types and reads them: 300B, 5.76e23, 13 hours, $1,503."""

from __future__ import annotations

import math
import re

from cutaway.runs import BadInput

LETTERS = {"T": 1e12, "B": 1e9, "M": 1e6, "k": 1e3}
LARGE = 1e15
LEAST, MOST = 1e-3, 1e40


def amount_of(text: str, option: str) -> float:
    """The number that `300B`, `1.4T`, `11,200,000` or `5.76e23` stands for. Raises `BadInput` naming the option."""
    found = re.fullmatch(r"\s*(\d{1,3}(?:,\d{3})+(?:\.\d*)?|[\d._]+(?:[eE][+-]?\d+)?)\s*([kKmMbBgGtT]?)\s*", text)
    try:
        number = float(found[1].replace(",", "").replace("_", "")) if found else math.nan
    except ValueError:
        number = math.nan
    letter = found[2].upper().replace("G", "B").replace("K", "k") if found else ""
    number *= LETTERS.get(letter, 1.0)
    if not LEAST <= number < MOST:
        raise BadInput(
            f"{option} {text} is no number from {LEAST:g} to below {MOST:g}; write it as 300B, 1.4T, 11,200,000 or 5e9"
        )
    return number


def short(number: float) -> str:
    """To three digits, with a letter for its size: 175B, 1.07T, 3.19e+23."""
    if number >= LARGE:
        return f"{number:.2e}"
    for letter, size in LETTERS.items():
        if number >= 0.9995 * size:
            return f"{three_digits(number / size)}{letter}"
    return three_digits(number)


def three_digits(number: float) -> str:
    """Without an exponent: 1.07, 20.5, 175."""
    return f"{number:,.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def time(hours: float) -> str:
    """In the unit that suits it: 13 s, 24 min, 27.5 hours, 547 days, 36.2 years."""
    for size, unit, most in (
        (1 / 3600, "s", 120 / 3600),
        (1 / 60, "min", 2),
        (1, "hours", 72),
        (24, "days", 24 * 1000),
    ):
        if hours < most:
            return f"{three_digits(hours / size)} {unit}"
    years = hours / 24 / 365.25
    return f"{three_digits(years)} years" if years < LARGE / 1e9 else f"{short(years)} years"


def dollars(amount: float) -> str:
    """$0.42, $96, $1,503, $1.50 million."""
    for name, size in (("billion", 1e9), ("million", 1e6)):
        if amount >= 0.9995 * size:
            return f"${three_digits(amount / size)} {name}"
    return f"${amount:,.2f}" if amount < 9.995 else f"${amount:,.0f}"


def energy(kilowatt_hours: float) -> str:
    """420 Wh, 22.4 kWh, 336 MWh, 25.8 GWh."""
    for unit, size in (("GWh", 1e6), ("MWh", 1e3), ("kWh", 1.0)):
        if kilowatt_hours >= 0.9995 * size:
            return f"{three_digits(kilowatt_hours / size)} {unit}"
    return f"{three_digits(kilowatt_hours * 1000)} Wh"
