"""Measuring a run's models on what the run has kept apart for that."""

from __future__ import annotations

from pathlib import Path

from cutaway.assistant import calculate
from cutaway.evals.run import evaluate
from cutaway.evals.tasks import Suite
from cutaway.infer import load, run_and_stage
from cutaway.pipeline.materials import heldout_of, materials_of
from cutaway.pipeline.recipe import Recipe, kind_of
from cutaway.pipeline.suite import build_suite
from cutaway.runs import BadInput, Progress, Result, RunDirectory, load_recipe

TOOLS = {"calculator": calculate}


def evaluate_stage(run: RunDirectory, stage: str, recipe: Recipe, directory: Path, progress: Progress) -> None:
    """Measure the model of one stage of a run; results and outcomes go into `directory`."""
    # By its directory: comparisons such as "sft_without_refusals" are no stages that a model reference can name.
    lm = load(run.stage(stage) / "model")
    suite = suite_of(run, recipe)
    evaluate(lm, suite, TOOLS, progress, stage=stage, seed=recipe.seed, directory=directory)


def evaluate_model(reference: str, of_run: Path | None, progress: Progress) -> list[Result]:
    """Measure any model on the held-out data of a run: its own, or the one given.

    Raises:
        BadInput: there is no such model or run, or it is not known which run's data to use.
    """
    lm = load(reference)
    path, stage = run_and_stage(reference)
    run = RunDirectory(of_run or path)
    if not (run.path / "recipe.toml").is_file():
        raise BadInput(f"{run.path} is no run, so there is nothing held out to measure on; name a run with --run")
    if (kind := kind_of(run.path / "recipe.toml")) != "assistant":
        raise BadInput(f"{run.path} is a run of kind {kind}, with no tasks held out; its report has its figures")
    recipe = load_recipe(run.path / "recipe.toml", [], Recipe)
    return evaluate(lm, suite_of(run, recipe), TOOLS, progress, stage=stage or "model", seed=recipe.seed)


def suite_of(run: RunDirectory, recipe: Recipe) -> Suite:
    """What the models of a run are measured on: its world and the skills, on what was never trained on."""
    return build_suite(materials_of(run, recipe), heldout_of(run), recipe.evals, recipe.seed)
