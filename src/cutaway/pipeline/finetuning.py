"""Fine-tuning any model on a person's own examples, as a run: a recipe of its own with one stage."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cutaway.corpus.examples import Kind, read_examples
from cutaway.infer import load
from cutaway.infer.language_model import base_and_adapter, find_model
from cutaway.pipeline.stage import Stage, StageContext
from cutaway.runs import BadInput, Settings
from cutaway.train.finetune import finetune
from cutaway.train.finetune_settings import FinetuneSettings


class FinetuneRecipe(Settings):
    """What to fine-tune, and on what."""

    kind: Literal["finetune"] = "finetune"
    """Tells this recipe from those of other kinds."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    """Everything random in the run follows from it."""
    model: str = Field(min_length=1)
    """The model to begin with: a run or a stage of one, a directory, a file, or a name of `cutaway models`."""
    data: tuple[str, ...] = Field(min_length=1)
    """Files and folders of examples."""
    examples: Kind | None = None
    """What kind they are of, where their keys could mean several."""
    teacher: str = ""
    """A model whose probabilities to learn, beside the texts."""
    finetune: FinetuneSettings = Field(default_factory=lambda: FinetuneSettings.model_validate({}))


def _finetune(context: StageContext[FinetuneSettings]) -> None:
    recipe: FinetuneRecipe = context.recipe
    examples = read_examples([Path(path) for path in recipe.data], recipe.examples)
    lm = load(recipe.model)
    teacher = load(recipe.teacher) if recipe.teacher else None
    if teacher and teacher.tokenizer.backend.get_vocab() != lm.tokenizer.backend.get_vocab():
        raise BadInput(f"{recipe.teacher} has another tokenizer than {recipe.model}; a teacher must have the same")
    finetune(
        lm.model,
        lm.tokenizer,
        examples,
        context.settings,
        context.directory,
        context.progress,
        context.seed,
        base=recipe.model,
        teacher=teacher.model if teacher else None,
    )


def _files(recipe: FinetuneRecipe) -> Iterable[Path]:
    yield from map(Path, recipe.data)
    for reference in filter(None, (recipe.model, recipe.teacher)):
        yield from _files_of(reference)


def _files_of(reference: str) -> Iterable[Path]:
    """Where a model lies, and its adapter; nothing of one that is not there, which loading it will tell."""
    base, adapter = base_and_adapter(reference)
    if adapter:
        yield from _files_of(base)
        yield Path(adapter)
        return
    with suppress(BadInput):
        yield find_model(reference)


FINETUNING: tuple[Stage[Any], ...] = (
    Stage(
        name="finetune",
        costly=True,
        verb="finetune",
        function=_finetune,
        settings=lambda recipe: recipe.finetune,
        outputs=("model/**/*", "adapter/**/*", "evals.json"),
        uses=("seed", "model", "data", "examples", "teacher"),
        files=_files,
    ),
)
