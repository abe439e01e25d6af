"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe: its name (demo), a .toml file, or a run to carry on with.")
]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A run (runs/demo), a stage of one (runs/demo:sft), a Hugging Face model directory, a .gguf or llama2.c "
        ".bin file, a name of `cutaway models`, or hub:OWNER/NAME.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="RUN", help="Directory of the run.", show_default="runs/ and the recipe's name"),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of everything random in the run.")]
Text = Annotated[
    list[Path] | None,
    typer.Option("--text", metavar="PATH", help="Your own text: .txt, .md, .jsonl, .parquet or a folder. Repeatable."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the recipe (pretrain.depth=6). Repeatable."),
]
Again = Annotated[
    bool, typer.Option("--again", help="Train anew what a finished run was trained to with other settings.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Temperature = Annotated[
    float, typer.Option("--temperature", min=0, max=100, help="How freely to choose; 0 takes the likeliest token.")
]
TopP = Annotated[float, typer.Option("--top-p", min=0, max=1, help="Choose among the likeliest tokens of this share.")]
TopK = Annotated[int, typer.Option("--top-k", min=0, help="Choose among so many of the likeliest tokens; 0: all.")]
SampleSeed = Annotated[int | None, typer.Option("--seed", min=0, help="The same seed gives the same text.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Longest answer, in tokens.")]
Host = Annotated[str, typer.Option("--host", help="Address to listen on; other machines need --token then.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for any free one.")]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="CUTAWAY_TOKEN", show_envvar=True, help="What every request must carry."),
]
Open = Annotated[bool, typer.Option("--open", help="Show the page in your browser.")]
