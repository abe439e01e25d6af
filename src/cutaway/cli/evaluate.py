"""`cutaway eval`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cutaway.cli.help import with_example
from cutaway.cli.options import Json, Model
from cutaway.cli.progress import TerminalProgress

HELP = with_example(
    "cutaway eval runs/demo:sft",
    """Measure a model on questions it has never seen, and on held-out text. The questions are about the world of its
run; for a model directory outside a run, name the run with --run.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("eval", help=HELP, short_help="Measure a model on what it has never seen.")(evaluate)


def evaluate(
    model: Model,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="The run whose held-out data to use.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what a model scores."""
    from cutaway.evals.intervals import wilson
    from cutaway.evals.measures import measure_of, written
    from cutaway.pipeline.evaluation import evaluate_model

    with TerminalProgress(Console(stderr=True, highlight=False)) as progress:
        results = evaluate_model(model, run, progress)
    if as_json:
        print(json.dumps([asdict(result) for result in results], indent=2, ensure_ascii=False))
        return
    table = Table("", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("value", "95% interval", "n"):
        table.add_column(heading, justify="right")
    for result in results:
        interval = ""
        if result.unit == "share":
            interval = " to ".join(written(bound, "share") for bound in wilson(result.value, result.n))
        # The number of bytes that a figure in bits per byte was measured on, and of questions otherwise.
        table.add_row(measure_of(result.metric).title, written(result.value, result.unit), interval, f"{result.n:,}")
    Console(highlight=False).print(table)
