"""What fine-tuning teaches from: conversations that fit what the pretrained model turned out to know."""

from __future__ import annotations

import json
from pathlib import Path

from cutaway.align.mixture import Fact
from cutaway.align.probe import probe
from cutaway.align.sft import sft_rows
from cutaway.model import Transformer
from cutaway.pipeline.materials import examples_of, materials_of, tokenizer_of
from cutaway.pipeline.recipe import Recipe
from cutaway.runs import Progress, RunDirectory, atomic
from cutaway.train import Rows

KNOWN = "known.json"


def rows_of_sft(
    run: RunDirectory, recipe: Recipe, model: Transformer | None, directory: Path, progress: Progress
) -> Rows:
    """The rows of fine-tuning with the settings `recipe.sft`.

    `model`, the pretrained one, is asked what it knows, unless `directory` holds the answers already, as it does after
    an interruption and for later stages (which give None). Where nothing is refused, nothing hangs on it.
    """
    tokenizer, materials = tokenizer_of(run), materials_of(run, recipe)
    path = directory / KNOWN
    if model is not None and not path.exists() and recipe.sft.refusals:
        shares = probe(model, tokenizer, materials.world)
        known = sorted(fact for fact, share in shares.items() if share > 0)
        if shares:
            progress.say(f"of {len(shares):,} facts it read, it knows {len(known):,}; it is taught to doubt the others")
        atomic.write_json(path, known)
    real, told = examples_of(run, "real", tokenizer), examples_of(run, "world", tokenizer)
    known = read_known(path) if recipe.sft.refusals else None
    return sft_rows(recipe.sft, tokenizer, materials, known, real, told, recipe.seed)


def read_known(path: Path) -> set[Fact]:
    """The facts (name, attribute) that the pretrained model was found to know."""
    return {(name, attribute) for name, attribute in json.loads(path.read_text(encoding="utf-8"))}
