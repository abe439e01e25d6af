"""`cutaway sft`."""

from __future__ import annotations

import typer

from cutaway.cli.bring import bring
from cutaway.cli.help import with_example
from cutaway.cli.options import Again, Out, Recipe, Seed, Set, Text

HELP = with_example(
    "cutaway sft demo",
    """Bring a run up to its fine-tuned model: what is not there yet before it, then supervised fine-tuning on
conversations.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("sft", help=HELP, short_help="Fine-tune a pretrained model on conversations.")(sft)


def sft(
    recipe: Recipe, out: Out = None, seed: Seed = None, text: Text = None, sets: Set = None, again: Again = False
) -> None:
    """Run a recipe up to its fine-tuned model."""
    bring(recipe, until="sft", out=out, seed=seed, text=text, sets=sets, again=again)
