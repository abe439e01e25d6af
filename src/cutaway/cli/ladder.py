"""`cutaway ladder`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cutaway.cli.bring import carry_out
from cutaway.cli.help import with_example
from cutaway.cli.options import Again, Json, Seed, Set

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
    as_json: Json = False,
) -> None:
    """Climb a rung."""
    from cutaway.pipeline.rungs import TITLES, rung_named

    if name is None:
        _list(TITLES, as_json)
        return
    from cutaway.evals.measures import RESULTS
    from cutaway.pipeline.rungs.rung import REPORT
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
    # The result alone goes to standard output, what is told on the way beside it.
    console = Console(stderr=True, highlight=False) if as_json else None
    run = carry_out(recipe, rung.stages, out or Path("runs") / f"ladder-{name}", again=again, console=console)
    if as_json:
        found = json.loads((run / name / RESULTS).read_bytes())["results"]
        print(json.dumps({"run": str(run), "results": found}, indent=2, ensure_ascii=False))
        return
    print(f"{run / name / REPORT}    is its report, with pictures beside it")


def _list(titles: dict[str, str], as_json: bool) -> None:
    if as_json:
        print(json.dumps([{"name": name, "title": title} for name, title in titles.items()], indent=2))
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, title in titles.items():
        table.add_row(name, title)
    Console().print(table)
