"""Bringing a run up to a stage: what the verbs that train have in common."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from cutaway.cli.progress import TerminalProgress


def bring(
    recipe: str,
    *,
    until: str | None = None,
    out: Path | None = None,
    seed: int | None = None,
    text: Sequence[Path] | None = None,
    sets: Sequence[str] | None = None,
    again: bool = False,
    compare: bool = False,
) -> Path:
    """Run `recipe` with the options of the command line up to `until`; give the run's directory."""
    resolved, stages, run = resolve(recipe, out=out, seed=seed, text=text, sets=sets)
    return carry_out(resolved, stages, run, until=until, again=again, compare=compare)


def resolve(
    recipe: str,
    *,
    out: Path | None = None,
    seed: int | None = None,
    text: Sequence[Path] | None = None,
    sets: Sequence[str] | None = None,
) -> tuple[Any, Any, Path]:
    """A recipe with the options of the command line, its stages, and the directory of its run."""
    # Imported here: the rooms behind these bring PyTorch, for which `--help` need not wait.
    from cutaway.pipeline import find_recipe, read_recipe
    from cutaway.pipeline.find import default_run
    from cutaway.pipeline.together import first_speaks
    from cutaway.runs.recipe import quoted
    from cutaway.train.distributed import processes

    overrides = list(sets or [])
    if text:
        # Absolute, so that the run can be carried on with from another directory.
        overrides.append(f"corpus.text={quoted([str(path.resolve()) for path in text])}")
    if seed is not None:
        overrides.append(f"seed={seed}")
    with first_speaks(processes()):
        resolved, stages = read_recipe(find_recipe(recipe), overrides)
    return resolved, stages, out or default_run(recipe)


def carry_out(
    recipe: Any,
    stages: Any,
    directory: Path,
    *,
    until: str | None = None,
    again: bool = False,
    compare: bool = False,
    console: Console | None = None,
) -> Path:
    """Bring the run in `directory` up to `until`, showing how far it is on `console`; give the directory.

    Of several processes that `torchrun` started, the first does that; the others train with it and end here.
    """
    from cutaway.pipeline import run_recipe
    from cutaway.pipeline.together import follow
    from cutaway.runs import RunDirectory, Terminated
    from cutaway.train.distributed import processes

    if not processes().is_first:
        # How it came to be stopped the first one says.
        with suppress(KeyboardInterrupt, Terminated):
            follow(stages, processes())
        raise typer.Exit
    run = RunDirectory(directory)
    with TerminalProgress(console) as progress:
        run_recipe(recipe, stages, run, progress, until, again=again, compare=compare, processes=processes())
    return run.path
