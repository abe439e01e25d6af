"""Bringing a run up to a stage: what the verbs that train have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

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
    # Imported here: the rooms behind these bring PyTorch, for which `--help` need not wait.
    from cutaway.pipeline import Recipe, find_recipe, run_recipe
    from cutaway.pipeline.find import default_run
    from cutaway.runs import RunDirectory, load_recipe

    overrides = list(sets or [])
    if text:
        # Absolute, so that the run can be carried on with from another directory. JSON's strings are TOML's too.
        paths = [str(path.resolve()) for path in text]
        overrides.append(f"corpus.text={json.dumps(paths, ensure_ascii=False)}")
    if seed is not None:
        overrides.append(f"seed={seed}")
    resolved = load_recipe(find_recipe(recipe), overrides, Recipe)
    run = RunDirectory(out or default_run(recipe))
    with TerminalProgress() as progress:
        run_recipe(resolved, run, progress, until, again=again, compare=compare)
    return run.path
