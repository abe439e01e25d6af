"""`cutaway pretrain`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from cutaway.cli.bring import bring, carry_out, resolve
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
    recipe: Recipe,
    out: Out = None,
    seed: Seed = None,
    text: Text = None,
    sets: Set = None,
    again: Again = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Train no model; show where the time of a step goes.")
    ] = False,
) -> None:
    """Run a recipe up to its pretrained model."""
    if not profile:
        bring(recipe, until="pretrain", out=out, seed=seed, text=text, sets=sets, again=again)
        return
    from cutaway.cli.profile_table import table_of
    from cutaway.pipeline.profiling import has_shards, pretrains_one_model, profile_pretraining
    from cutaway.runs import RunDirectory

    resolved, stages, run = resolve(recipe, out=out, seed=seed, text=text, sets=sets)
    pretrains = pretrains_one_model(resolved)
    # A run that has its shards is looked at as it is, whatever else is in it.
    if not has_shards(RunDirectory(run)):
        carry_out(resolved, stages, run, until="shards", again=again)
    console = Console(highlight=False)
    console.print("\nprofiling some steps; compiling takes half a minute the first time")
    seen = profile_pretraining(RunDirectory(run), pretrains)
    for part in table_of(seen):
        console.print(part)
