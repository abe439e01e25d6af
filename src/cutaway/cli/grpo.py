"""`cutaway grpo`."""

from __future__ import annotations

import typer

from cutaway.cli.bring import bring
from cutaway.cli.help import with_example
from cutaway.cli.options import Again, Out, Recipe, Seed, Set, Text

HELP = with_example(
    "cutaway grpo demo",
    """Bring a run up to its last model: what is not there yet before it, then reinforcement learning with verifiable
rewards (GRPO) from the fine-tuned model.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("grpo", help=HELP, short_help="Improve a fine-tuned model by reinforcement learning.")(grpo)


def grpo(
    recipe: Recipe, out: Out = None, seed: Seed = None, text: Text = None, sets: Set = None, again: Again = False
) -> None:
    """Run a recipe up to its model after reinforcement learning."""
    bring(recipe, until="rl", out=out, seed=seed, text=text, sets=sets, again=again)
