"""`cutaway ladder`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cutaway.cli.bring import carry_out
from cutaway.cli.help import with_example
from cutaway.cli.options import Again, Seed, Set

HELP = with_example(
    "cutaway ladder neuron",
    """Climb the road to the transformer: each rung is one idea, trained on real data in seconds to minutes, with its
figures and pictures in a run. Without a name, the rungs are listed.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("ladder", help=HELP, short_help="The road to the transformer, rung by rung.")(ladder)


def ladder(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A rung; left out, they are listed.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="PATH", help="Data of your own, for the rungs that take some.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="RUN", help="Directory of the run.", show_default="runs/ladder-NAME"),
    ] = None,
    seed: Seed = None,
    sets: Set = None,
    again: Again = False,
) -> None:
    """Climb a rung."""
    from cutaway.pipeline.rungs import TITLES, rung_named

    if name is None:
        _list(TITLES)
        return
    from cutaway.runs import BadInput, load_recipe
    from cutaway.runs.recipe import quoted

    rung = rung_named(name)
    overrides: list[str] = []
    if data is not None:
        if "data" not in rung.settings.model_fields:
            raise BadInput(f"the rung {name} takes no data; leave --data out")
        # Absolute, so that the run can be carried on with from another directory.
        overrides.append(f"{name}.data={quoted(str(data.resolve()))}")
    if seed is not None:
        overrides.append(f"seed={seed}")
    recipe = load_recipe(None, [*overrides, *(sets or [])], rung.recipe)
    run = carry_out(recipe, rung.stages, out or Path("runs") / f"ladder-{name}", again=again)
    print(f"{run / name / 'report.md'}    is its report, with pictures beside it")


def _list(titles: dict[str, str]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, title in titles.items():
        table.add_row(name, title)
    Console().print(table)
