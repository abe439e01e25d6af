"""`cutaway anatomy`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cutaway.cli.anatomy_tables import tables_of
from cutaway.cli.help import with_example
from cutaway.cli.options import Json
from cutaway.cli.shape import shape_of
from cutaway.runs import BadInput

if TYPE_CHECKING:
    from cutaway.model.anatomy import Anatomy, Matrices

HELP = with_example(
    "cutaway anatomy gpt3-175b",
    """Count what a model is made of, matrix by matrix, the memory it takes at each precision, its key-value cache, and
the operations a token costs. No weights are read or allocated. Without MODEL, list the well-known models that can be
named.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("anatomy", help=HELP, short_help="Count what a model is made of, and what it costs.")(anatomy)


def anatomy(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL|PRESET", help="A run, a model directory, a .gguf file, or the name of a well-known model."
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option("--context", metavar="N", min=1, max=100_000_000, help="Tokens of text to count for."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what a model is made of."""
    from cutaway.model.anatomy import LayeredNetwork, anatomy_of

    if model is None:
        _list_presets(as_json)
        return
    about, shape = shape_of(model)
    if isinstance(shape, LayeredNetwork):
        if context is not None:
            raise BadInput(f"{model} reads pictures, not text: leave --context out")
        context = 1
    elif context is not None and shape.positions == "learned" and context > shape.context:
        raise BadInput(
            f"{model} has learned positions for {shape.context:,} tokens; --context {context} is beyond them"
        )
    else:
        context = context or shape.context
    counted = anatomy_of(shape)
    if as_json:
        print(json.dumps({"name": model, "about": about} | _as_json(counted, context), indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.print(Text.assemble((model, "bold"), f"  {about}" if about else ""), soft_wrap=True)
    for part in tables_of(counted, context, plain=console.options.ascii_only):
        console.print(part)


def _list_presets(as_json: bool) -> None:
    from cutaway.model.anatomy import anatomy_of
    from cutaway.model.presets import PRESETS

    counted = [(preset, anatomy_of(preset.shape).parameters) for preset in PRESETS.values()]
    if as_json:
        print(json.dumps([{"name": p.name, "about": p.about, "parameters": n} for p, n in counted], indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("preset", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("")
    for preset, parameters in counted:
        table.add_row(Text(preset.name, "bold"), f"{parameters:,}", Text(preset.about, "dim"))
    console = Console(highlight=False)
    console.print(table)
    console.print(Text("\nOr name a run (runs/demo) or a model directory: cutaway anatomy MODEL", "dim"))


def _as_json(counted: Anatomy, context: int) -> dict[str, Any]:
    from cutaway.model.flops import flops_of
    from cutaway.model.footprint import CACHE_PRECISIONS, PRECISIONS, cache_of, training_bytes, weight_bytes

    cache = cache_of(counted.shape, context)
    return {
        "shape": dataclasses.asdict(counted.shape),
        "matrices": _rows(counted.matrices),
        "tables": _rows(counted.tables),
        "biases": counted.biases,
        "norms": counted.norms,
        "n_matrices": counted.n_matrices,
        "listed": counted.listed,
        "tied": counted.tied,
        "parameters": counted.parameters,
        "active": counted.active,
        "by_part": counted.by_part,
        "context": context,
        "weight_bytes": {name: round(weight_bytes(counted, name)) for name in PRECISIONS},
        "training_bytes": training_bytes(counted),
        "cache_bytes": cache
        and {
            name: {
                "token": cache.per_token * size,
                "source_token": cache.per_source_token * size,
                "context": cache.held * size,
            }
            for name, size in CACHE_PRECISIONS.items()
        },
        "flops": [
            dataclasses.asdict(each) | {"forward": each.forward, "backward": each.backward}
            for each in flops_of(counted, context)
        ],
    }


def _rows(rows: Sequence[Matrices]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.label,
            "part": row.part,
            "n": row.n,
            "shape": row.shape,
            "weights": row.weights,
            "active": row.active,
            "tied": row.tied,
        }
        for row in rows
    ]
