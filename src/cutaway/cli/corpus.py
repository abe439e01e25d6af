"""`cutaway corpus`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cutaway.cli.bring import bring
from cutaway.cli.help import with_example
from cutaway.cli.options import Again, Json, Out, Recipe, Seed, Set, Text
from cutaway.runs import BadInput

app = typer.Typer(
    name="corpus",
    help=with_example("cutaway corpus stats runs/demo", "Gather text, and see what it is."),
    short_help="Gather text, and see what it is.",
)

BUILD = with_example(
    "cutaway corpus build demo --text my-notes/ --out runs/mine",
    """Bring a run up to its corpus: read, remove what repeats, hold some documents out, and write them as Parquet.""",
)
STATS = with_example(
    "cutaway corpus stats runs/demo",
    """Show what a run's corpus is made of.""",
)


@app.command("build", help=BUILD, short_help="Gather and clean the text of a run.")
def build(
    recipe: Recipe, out: Out = None, seed: Seed = None, text: Text = None, sets: Set = None, again: Again = False
) -> None:
    """Run a recipe up to its corpus."""
    bring(recipe, until="corpus", out=out, seed=seed, text=text, sets=sets, again=again)


@app.command("stats", help=STATS, short_help="Show what a run's corpus is made of.")
def stats(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run, such as runs/demo.")], as_json: Json = False
) -> None:
    """Show the sizes of a run's corpus."""
    path = run / "corpus" / "stats.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rows = _rows(found)
    except OSError:
        raise BadInput(f"{run} has no corpus yet; make one: cutaway corpus build demo --out {run}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is damaged ({error}); remove it and build the corpus again") from None
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table("source", box=None, pad_edge=False, header_style="bold")
    for heading in ("documents", "train bytes", "held out", "held-out bytes"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def _rows(found: dict[str, Any]) -> list[list[str]]:
    """Each source's documents and bytes, in training and held out."""
    nothing = {"documents": 0, "bytes": 0}
    rows: list[list[str]] = []
    for source, size in found["train"].items():
        heldout = found["heldout"].get(source, nothing)
        figures = (size["documents"], size["bytes"], heldout["documents"], heldout["bytes"])
        rows.append([source, *(f"{n:,}" for n in figures)])
    return rows
