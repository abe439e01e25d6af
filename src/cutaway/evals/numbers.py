"""Numbers as charts and tables write them."""

from __future__ import annotations

from math import ceil, floor, log10


def ticks(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round values (steps of 1, 2 or 5 times a power of ten) within ``low`` to ``high``."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / max(1, count)
    power = 10 ** floor(log10(rough))
    step = min((power * s for s in (1, 2, 5, 10)), key=lambda s: abs(span / s - count))
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def plain(value: float) -> str:
    """A number as an axis shows it: no trailing zeros, no exponent where it can be avoided."""
    if value == 0:
        return "0"
    return f"{value:.3g}" if 1e-4 < abs(value) < 1e4 else short(value)


def short(value: float) -> str:
    """A count with a letter for its size: 1500000 is 1.5M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
