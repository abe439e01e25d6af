"""`cutaway serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cutaway.cli.help import with_example
from cutaway.cli.offer import offer
from cutaway.cli.options import Host, Open, Port, Token

HELP = with_example(
    "cutaway serve runs/demo",
    """Serve models over HTTP: OpenAI's API under /v1, and a page to chat with them and look into their answers. Of a
run, every finished stage is offered. `--keys keys.toml --new-key alice` makes a key for somebody else, and ends.""",
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
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="FILE", help="Keys that are let in, each with its own limits.")
    ] = None,
    new_key: Annotated[
        str | None,
        typer.Option("--new-key", metavar="NAME", help="Make a key with the limits given, put its hash into --keys."),
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(help="Requests a minute of one caller.", min=1, rich_help_panel="Limits")
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(help="Tokens a minute of one caller.", min=1, rich_help_panel="Limits")
    ] = None,
    running: Annotated[
        int | None, typer.Option(help="Answers at a time to one caller.", min=1, rich_help_panel="Limits")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Tokens of one answer.", min=1, rich_help_panel="Limits")
    ] = None,
    batch: Annotated[
        int, typer.Option(help="Answers written at a time, to all callers.", min=1, rich_help_panel="Limits")
    ] = 32,
    line: Annotated[int, typer.Option(help="Answers that may wait in line.", min=0, rich_help_panel="Limits")] = 256,
    seconds: Annotated[
        float, typer.Option(help="Time for one answer, waiting included.", min=1, rich_help_panel="Limits")
    ] = 300,
    drain: Annotated[
        float, typer.Option(help="Seconds for answers to end when told to stop.", min=0, rich_help_panel="Limits")
    ] = 30,
    log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="Where the log goes.", show_default="standard error"),
    ] = None,
    log_content: Annotated[bool, typer.Option("--log-content", help="Log what is asked and answered too.")] = False,
    engine: Annotated[
        Literal["cutaway", "llama.cpp", "vllm"],
        typer.Option("--engine", help="What computes: our own engine, or another that is installed."),
    ] = "cutaway",
    weights: Annotated[
        Literal["float32", "bfloat16", "int8", "int4"] | None,
        typer.Option(
            help="What the weights are kept as: fewer bits are faster, and a little less exact.",
            show_default="float32; with another engine as in the model's own files",
        ),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="Where the page's conversations are kept: an SQLite file, or postgresql://…",
            show_default="the user's data directory",
        ),
    ] = None,
    no_history: Annotated[bool, typer.Option("--no-history", help="Keep no conversations.")] = False,
    open_browser: Open = False,
) -> None:
    """Serve models until told to stop, or make a key."""
    from cutaway.runs import BadInput
    from cutaway.runs.cache import data_directory
    from cutaway.serve import CallerLimits, Limits, make_key
    from cutaway.serve import serve as serve_models

    caller = CallerLimits(requests_per_minute, tokens_per_minute, running, max_tokens)
    if new_key is not None:
        if keys is None:
            raise BadInput("--new-key needs --keys FILE, the file that its hash goes into")
        print(make_key(keys, new_key, caller, models))
        return
    for model in models or []:
        offer(model)
    limits = Limits(answering=batch, waiting=line, seconds=seconds, drain_seconds=drain, caller=caller)
    serve_models(
        models or ["runs/demo"], host=host, port=port, token=token, keys=keys, limits=limits, log=log,
        log_content=log_content, open_browser=open_browser, engine=engine, weights=weights,
        history=None if no_history else history or data_directory() / "conversations.db",
    )  # fmt: skip
