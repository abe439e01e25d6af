"""The kinds of recipe: what each may hold, and the stages that it goes through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cutaway.pipeline.finetuning import FINETUNING, FinetuneRecipe
from cutaway.pipeline.recipe import Recipe, kind_of
from cutaway.pipeline.rungs import LADDER, rung_named
from cutaway.pipeline.scaling import SCALING, ScalingRecipe
from cutaway.pipeline.stage import Stage
from cutaway.pipeline.stages import STAGES
from cutaway.pipeline.texts import TEXTS, TextRecipe
from cutaway.runs import BadInput, Settings, load_recipe

Stages = Sequence[Stage[Any]]


def _crawling() -> tuple[type[Settings], Stages]:
    from cutaway.pipeline.crawling import CRAWLING, CrawlRecipe  # here, for it brings every source and every step

    return CrawlRecipe, CRAWLING


KINDS: dict[str, Callable[[], tuple[type[Settings], Stages]]] = {
    "assistant": lambda: (Recipe, STAGES),
    "corpus": _crawling,
    "finetune": lambda: (FinetuneRecipe, FINETUNING),
    "scaling": lambda: (ScalingRecipe, SCALING),
    "text": lambda: (TextRecipe, TEXTS),
}
"""By the `kind` that a recipe names; one that names none is an assistant's."""


def read_recipe(path: Path, overrides: Sequence[str]) -> tuple[Any, Stages]:
    """The recipe in a file, with overrides ("a.b=value"), and its stages. Raises `BadInput` as `load_recipe` does."""
    kind = kind_of(path)
    if kind.startswith(LADDER):
        rung = rung_named(kind.removeprefix(LADDER))
        return load_recipe(path, overrides, rung.recipe), rung.stages
    if kind not in KINDS:
        raise BadInput(f"{path} is of kind {kind!r}; the kinds are {', '.join(KINDS)}, and {LADDER}NAME")
    model, stages = KINDS[kind]()
    return load_recipe(path, overrides, model), stages
