"""A recipe's stages, in order, each handed what it needs: from raw text to a report on the assistant made of it."""

from cutaway.pipeline.find import find_recipe
from cutaway.pipeline.finetuning import FINETUNING, FinetuneRecipe
from cutaway.pipeline.kinds import read_recipe
from cutaway.pipeline.recipe import Recipe
from cutaway.pipeline.run import run_recipe
from cutaway.pipeline.stage import Stage, StageContext
from cutaway.pipeline.stages import STAGES

__all__ = [
    "FINETUNING",
    "STAGES",
    "FinetuneRecipe",
    "Recipe",
    "Stage",
    "StageContext",
    "find_recipe",
    "read_recipe",
    "run_recipe",
]
