"""A recipe's stages, in order, each handed what it needs: from raw text to a report on the assistant made of it."""

from cutaway.pipeline.find import find_recipe
from cutaway.pipeline.recipe import Recipe
from cutaway.pipeline.run import run_recipe
from cutaway.pipeline.stage import Stage, StageContext
from cutaway.pipeline.stages import STAGES

__all__ = ["STAGES", "Recipe", "Stage", "StageContext", "find_recipe", "run_recipe"]
