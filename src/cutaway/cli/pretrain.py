"""`cutaway pretrain`."""

from __future__ import annotations

import typer

from cutaway.cli.bring import bring
from cutaway.cli.help import with_example
from cutaway.cli.options import Again, Out, Recipe, Seed, Set, Text

HELP = with_example(
    "cutaway pretrain demo --text my-notes/ --out runs/mine",
    """Bring a run up to its pretrained model: corpus, tokenizer and shards as far as they are not there yet, then
pretraining.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("pretrain", help=HELP, short_help="Pretrain a model on a corpus.")(pretrain)


def pretrain(
    recipe: Recipe, out: Out = None, seed: Seed = None, text: Text = None, sets: Set = None, again: Again = False
) -> None:
    """Run a recipe up to its pretrained model."""
    bring(recipe, until="pretrain", out=out, seed=seed, text=text, sets=sets, again=again)
