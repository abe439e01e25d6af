"""Getting models of the catalogue in the terminal: asked for, or offered where one is named that is not here."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from rich.console import Console

from cutaway.cli.progress import TerminalProgress
from cutaway.cli.sizes import size
from cutaway.runs import BadInput


def offer(reference: str) -> None:
    """Offer to get the model of the catalogue that `reference` names, if it is not here.

    Raises:
        BadInput: it is not here, and there is nobody to ask.
        typer.Exit: whoever was asked does not want it.
    """
    from cutaway.model.catalogue import CATALOGUE, find

    model = CATALOGUE.get(reference)
    if model is None or Path(reference).exists() or find(reference) is not None:
        return
    absent = f"{model.name} is not here yet: {size(model.download_bytes)}, {model.licence}."
    # On standard error, so that what a model writes can go into a file all the same.
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput(f"{absent} `cutaway models get {model.name}` gets it")
    if not typer.confirm(f"{absent} Get it now?", default=True, err=True):
        raise typer.Exit(1)
    get_model(model.name)


def get_model(name: str) -> Path:
    """Get a model of the catalogue, or `hub:OWNER/NAME`, showing how far it is; give its path."""
    from cutaway.model.fetch import get
    from cutaway.model.hub import PREFIX, hub

    progress = TerminalProgress(Console(stderr=True, highlight=False))
    if name.startswith(PREFIX):
        return hub(name, progress)  # draws its own bars, which a live line would tear
    with progress:
        return get(name, progress)
