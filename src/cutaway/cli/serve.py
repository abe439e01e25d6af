"""`cutaway serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from cutaway.cli.help import with_example
from cutaway.cli.offer import offer
from cutaway.cli.options import Host, Open, Port, Token

HELP = with_example(
    "cutaway serve runs/demo",
    """Serve models over HTTP: OpenAI's API under /v1, and a page to chat with them and look into their answers. Of a
run, every finished stage is offered.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("serve", help=HELP, short_help="Serve models: OpenAI's API and a page to chat.")(serve)


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Runs, stages of runs, model directories, .gguf files, or names of `cutaway models`.",
            show_default="runs/demo",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token: Token = None,
    open_browser: Open = False,
) -> None:
    """Serve models until interrupted."""
    from cutaway.serve import serve as serve_models

    for model in models or []:
        offer(model)
    serve_models(models or ["runs/demo"], host=host, port=port, token=token, open_browser=open_browser)
