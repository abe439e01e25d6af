"""`cutaway corpus`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cutaway.cli.bring import bring
from cutaway.cli.funnel_tables import show_funnel
from cutaway.cli.help import with_example
from cutaway.cli.options import Again, Json, Out, Seed, Set, Text
from cutaway.cli.trace import COUNT, INDEX, NEXT, TRACE, count, following, index, trace
from cutaway.runs import BadInput
from cutaway.runs.recipe import quoted

app = typer.Typer(
    name="corpus",
    help=with_example("cutaway corpus stats runs/demo", "Gather text, and see what it is."),
    short_help="Gather text, and see what it is.",
)

BUILD = with_example(
    "cutaway corpus build my-crawl/ --out runs/web",
    """Make a corpus of a crawl, a folder of pages or a dump (WARC, HTML, Wikipedia, text, JSONL, Parquet, PDF, DOCX):
text taken out of its markup, filtered as FineWeb's authors did, without duplicates, with personal data masked. Given a
recipe instead, such as demo, bring a run up to its corpus.""",
)
STATS = with_example(
    "cutaway corpus stats runs/demo",
    """Show what a run's corpus is made of; of a crawl, its funnel: what each step threw away, and why.""",
)
WEB = "web"
"""The recipe that paths go through."""


@app.command("build", help=BUILD, short_help="Make a corpus of a crawl, or gather the text of a run.")
def build(
    things: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files and folders to read. Or a recipe: its name, file or run."),
    ],
    out: Out = None,
    seed: Seed = None,
    text: Text = None,
    sets: Set = None,
    again: Again = False,
) -> None:
    """Run a recipe up to its corpus; paths are the inputs of the recipe for crawls."""
    if _is_recipe(things):
        _check_named(things[0])
        bring(things[0], until="corpus", out=out, seed=seed, text=text, sets=sets, again=again)
        return
    if text:
        raise BadInput(
            "--text is for recipes of another kind; name what to read as it is: cutaway corpus build PATH..."
        )
    # Absolute, so that the run can be carried on with from another directory.
    paths = [thing if thing.startswith("hub:") else str(Path(thing).resolve()) for thing in things]
    overrides = [f"corpus.inputs={quoted(paths)}", *(sets or [])]
    bring(WEB, until="corpus", out=out, seed=seed, sets=overrides, again=again)


def _is_recipe(things: Sequence[str]) -> bool:
    """Whether what was named is a recipe, a run or a recipe's name, and nothing to read."""
    if len(things) != 1:
        return False
    path = Path(things[0])
    if path.exists():
        return path.suffix == ".toml" or (path / "recipe.toml").is_file()
    return not things[0].startswith("hub:") and len(path.parts) == 1 and path.suffix in ("", ".toml")


def _check_named(name: str) -> None:
    """Raise `BadInput` where a name is neither anything to read nor a recipe's."""
    from cutaway.pipeline.find import find_recipe  # here, because it brings PyTorch

    try:
        find_recipe(name)
    except BadInput as error:
        raise BadInput(f"there is no file or folder {name}, and {error}") from None


@app.command("stats", help=STATS, short_help="Show what a run's corpus is made of.")
def stats(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run, such as runs/demo.")], as_json: Json = False
) -> None:
    """Show the sizes of a run's corpus."""
    path = run / "corpus" / "stats.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        of_crawl = found.get("kind") == "corpus"
        rows = [] if of_crawl else _rows(found)
        if as_json:
            print(json.dumps(found, indent=2, ensure_ascii=False))
            return
        if of_crawl:
            show_funnel(found, Console(highlight=False))
            return
    except OSError:
        raise BadInput(f"{run} has no corpus yet; make one: cutaway corpus build PATH --out {run}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is damaged ({error}); remove it and build the corpus again") from None
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


app.command("index", help=INDEX, short_help="Index a corpus's tokens, to look things up.")(index)
app.command("count", help=COUNT, short_help="Count how often a text is in a corpus.")(count)
app.command("next", help=NEXT, short_help="Show what follows a text in a corpus.")(following)
app.command("trace", help=TRACE, short_help="Show which stretches of a text a corpus holds.")(trace)
