"""The table of `cutaway pretrain --profile`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from cutaway.train.profile import StepProfile


def table_of(seen: StepProfile) -> Iterator[RenderableType]:
    """A step's time by part, at most 80 columns wide."""
    how = "compiled" if seen.compiled else "not compiled"
    speed = seen.tokens / seen.seconds
    yield Text.assemble(
        (f"{seen.seconds * 1e3:,.0f} ms", "bold"),
        f" a step of {seen.tokens:,} tokens, {speed:,.0f} tokens/s, {how}, {seen.dtype}",
    )
    yield Text(
        f"{seen.of_ceiling:.0%} of this machine's {seen.ceiling / 1e9:,.0f} GFLOP/s, those of a large matrix product"
    )
    yield Text(
        f"{seen.memory / 1e6:,.0f} MB at most at once in a step; `cutaway plan` foretells {seen.foretold / 1e6:,.0f}"
    )
    yield ""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("phase", "part"):
        table.add_column(heading)
    for heading in ("ms", "of the step", "GFLOP/s", "of the ceiling"):
        table.add_column(heading, justify="right")
    for part in seen.parts:
        rate = part.flops / part.seconds if part.seconds else 0.0
        worth_telling = rate > 0.01 * seen.ceiling
        counted = (f"{rate / 1e9:,.0f}", f"{rate / seen.ceiling:.0%}") if worth_telling else ("", "")
        table.add_row(
            part.phase, part.name, f"{part.seconds * 1e3:,.1f}", f"{part.seconds / seen.seconds:.0%}", *counted
        )
    yield table
    yield Text(
        "The gradient's products are the model's own; the update's are Muon's. What has no products waits for memory.",
        "dim",
    )
