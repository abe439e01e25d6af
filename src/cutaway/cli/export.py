"""`cutaway export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cutaway.cli.help import with_example
from cutaway.cli.offer import offer
from cutaway.cli.options import Json, Model

HELP = with_example(
    "cutaway export runs/demo --to gguf --dtype q8_0",
    """Write a model with its tokenizer for other software: as one file for llama.cpp, or as a Hugging Face directory
for transformers and vLLM.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("export", help=HELP, short_help="Write a model for other software.")(export)


def export(
    model: Model,
    to: Annotated[str, typer.Option("--to", metavar="hf|gguf", help="The format.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="Where.", show_default="here, by the model's name"),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="f32|bf16|f16|q8_0|q4_0",
            help="How weights are stored; the last two, quantised to 8 and 4 bits, in GGUF only.",
            show_default="f16 in GGUF, f32 in a directory",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a model and say where."""
    from cutaway.infer import load
    from cutaway.infer.export import export as write

    offer(model)
    place = write(load(model), to, out=out, dtype=dtype)
    print(json.dumps({"path": str(place)}) if as_json else place)
