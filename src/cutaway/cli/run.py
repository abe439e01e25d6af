"""`cutaway run`."""

from __future__ import annotations

from typing import Annotated

import typer

from cutaway.cli.bring import bring
from cutaway.cli.help import with_example
from cutaway.cli.options import Again, Out, Recipe, Seed, Set, Text

HELP = with_example(
    "cutaway run demo --set pretrain.depth=6 --out runs/deeper",
    """Run a whole recipe, from raw text to report. What is finished and unchanged is not done again; stopped at any
moment, by Ctrl-C or worse, the same command carries on.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("run", help=HELP, short_help="Run a whole recipe, from raw text to report.")(run)


def run(
    recipe: Recipe,
    out: Out = None,
    seed: Seed = None,
    text: Text = None,
    sets: Set = None,
    again: Again = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Fine-tune once more without refusals, for the report to compare.")
    ] = False,
) -> None:
    """Run a recipe, all of it."""
    bring(recipe, out=out, seed=seed, text=text, sets=sets, again=again, compare=compare)
