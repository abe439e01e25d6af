"""Sizes as a person reads them."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes in decimal units, as disks and networks are sold: 512 B, 7.3 MB, 93 MB."""
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}" if amount < 9.95 and unit != "B" else f"{amount:,.0f} {unit}"
