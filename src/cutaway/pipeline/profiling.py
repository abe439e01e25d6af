"""A look at a run's pretraining without doing it."""

from __future__ import annotations

from cutaway.model import Transformer
from cutaway.pipeline.materials import tokenizer_of
from cutaway.pipeline.recipe import Recipe
from cutaway.pipeline.stages import pretraining_sources
from cutaway.pipeline.texts import TextRecipe, passes_of
from cutaway.runs import BadInput, Manifest, RunDirectory, Settings
from cutaway.train import lay_out
from cutaway.train.profile import StepProfile, profile_step


def has_shards(run: RunDirectory) -> bool:
    """Whether the run has come as far as its shards."""
    manifest = Manifest.read(run)
    return manifest is not None and "shards" in manifest.stages and manifest.stages["shards"].state == "finished"


def pretrains_one_model(recipe: Settings) -> Recipe | TextRecipe:
    """The recipe, if it is of a kind that can be profiled. Raises `BadInput`."""
    if isinstance(recipe, Recipe | TextRecipe):
        return recipe
    kind = getattr(recipe, "kind", "this")
    raise BadInput(f"a recipe of kind {kind} pretrains no single model; --profile looks at an assistant's or a text's")


def profile_pretraining(run: RunDirectory, recipe: Recipe | TextRecipe) -> StepProfile:
    """Where the time of a step of this pretraining goes, on the run's own shards. Nothing is written."""
    settings = recipe.pretrain
    if isinstance(recipe, TextRecipe):
        rows = passes_of(run, settings, recipe.seed)
    else:
        rows = lay_out(pretraining_sources(run, recipe), settings.batch_rows, settings.row_length, recipe.seed)
    return profile_step(Transformer(settings.config(tokenizer_of(run).vocab_size)), rows, settings)
