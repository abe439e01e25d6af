"""The kinds of recipe: what each may hold, and the stages that it goes through."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutaway.pipeline.finetuning import FINETUNING, FinetuneRecipe
from cutaway.pipeline.recipe import Recipe
from cutaway.pipeline.stage import Stage
from cutaway.pipeline.stages import STAGES
from cutaway.runs import BadInput, Settings, load_recipe

Stages = Sequence[Stage[Any]]

KINDS: dict[str, tuple[type[Settings], Stages]] = {
    "assistant": (Recipe, STAGES),
    "finetune": (FinetuneRecipe, FINETUNING),
}
"""By the `kind` that a recipe names; one that names none is an assistant's."""


def read_recipe(path: Path, overrides: Sequence[str]) -> tuple[Any, Stages]:
    """The recipe in a file, with overrides ("a.b=value"), and its stages. Raises `BadInput` as `load_recipe` does."""
    kind = kind_of(path)
    if kind not in KINDS:
        raise BadInput(f"{path} is of kind {kind!r}; the kinds are {', '.join(KINDS)}")
    model, stages = KINDS[kind]
    return load_recipe(path, overrides, model), stages


def kind_of(path: Path) -> str:
    """The kind that a recipe names. What is wrong with a file that cannot be read is for `load_recipe` to say."""
    try:
        return str(tomllib.loads(path.read_text("utf-8")).get("kind", "assistant"))
    except (OSError, ValueError):
        return "assistant"
