"""`cutaway demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cutaway.cli.bring import bring
from cutaway.cli.help import with_example
from cutaway.cli.options import Again, Open, Out, Port, Seed, Set, Text

HELP = with_example(
    "cutaway demo --no-serve",
    """Train a small language model from raw text to assistant, report what it learned, and serve it: the recipe demo,
and then `cutaway serve` with what came of it. Stopped at any moment, the same command carries on.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("demo", help=HELP, short_help="Train a small model from raw text to assistant, and serve it.")(demo)


def demo(
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the model when it is trained.")] = True,
    out: Out = Path("runs/demo"),
    seed: Seed = None,
    text: Text = None,
    sets: Set = None,
    again: Again = False,
    port: Port = 8000,
    open_browser: Open = False,
) -> None:
    """Run the recipe demo, then serve its model."""
    if serve:
        from cutaway.serve.launch import listen

        # Before the minutes of training, not after them: a port in use is an error.
        listen("127.0.0.1", port).close()
    run = bring("demo", out=out, seed=seed, text=text, sets=sets, again=again)
    if serve:
        from cutaway.runs.cache import data_directory
        from cutaway.serve import serve as serve_models

        serve_models([str(run)], port=port, open_browser=open_browser, history=data_directory() / "conversations.db")
    else:
        print(f"cutaway chat {run}    to talk with it here\ncutaway serve {run}   to talk with it in the browser")
