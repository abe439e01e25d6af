"""`cutaway chat`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cutaway.cli.help import with_example
from cutaway.cli.offer import offer
from cutaway.cli.options import MaxTokens, Model, SampleSeed, Temperature, TopK, TopP
from cutaway.cli.stdin import utf8_of

HELP = with_example(
    "cutaway chat runs/demo",
    """Talk with a model in the terminal. `/help` lists what else can be typed: compare the stages of a run, see how
sure the model was of each token. Ctrl-C stops an answer, Ctrl-D leaves. Questions may also be piped in, one a line.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("chat", help=HELP, short_help="Talk with a model in the terminal.")(chat)


def chat(
    model: Model = "runs/demo",
    system: Annotated[str, typer.Option("--system", help="What the model is told before the conversation.")] = "",
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    seed: SampleSeed = None,
    max_tokens: MaxTokens = 256,
    tools: Annotated[bool, typer.Option("--tools/--no-tools", help="Carry out the model's calls.")] = True,
    probs: Annotated[bool, typer.Option("--probs", help="Begin with the view of probabilities.")] = False,
) -> None:
    """Talk with a model."""
    from rich.console import Console

    from cutaway.assistant import calculate
    from cutaway.cli.conversation import TerminalChat
    from cutaway.infer import Sampling, load

    offer(model)
    talk = TerminalChat(
        load(model),
        Console(highlight=False),
        sampling=Sampling(temperature, top_p, top_k, seed),
        max_tokens=max_tokens,
        tools={"calculator": calculate} if tools else {},
        load=load,
        system=system,
        probs=probs,
    )
    if sys.stdin.isatty() and sys.stdout.isatty():
        talk.with_person()
    else:
        talk.with_lines(utf8_of(sys.stdin))
