"""Fine-tuning any model on a person's own examples: all of its weights, or adapters beside them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cutaway.corpus.examples import Examples
from cutaway.model import Transformer
from cutaway.runs import BadInput, Progress, Result, write_results
from cutaway.tokens import Tokenizer
from cutaway.train.finetune_settings import FinetuneSettings
from cutaway.train.lessons import Lesson, Material, lesson_of, pooled
from cutaway.train.loop import Watch, train, unwatched
from cutaway.train.lora import add_lora, merge_lora
from cutaway.train.objectives.classification import Classifier
from cutaway.train.objectives.classifier_directory import rules_of_classifier, save_classifier
from cutaway.train.peft_format import save_adapter
from cutaway.train.pretrain import keep_model

FEWEST_STEPS = 20
"""Steps below which batches are made smaller."""
FEWEST_HELD_OUT = 20
"""Examples from which on some are held out."""
ROWS_OF_A_LOOK, ROWS_AT_ONCE = 64, 16


def finetune(
    model: Transformer,
    tokenizer: Tokenizer,
    examples: Examples,
    settings: FinetuneSettings,
    directory: Path,
    progress: Progress,
    seed: int,
    *,
    base: str,
    teacher: Transformer | None = None,
) -> None:
    """Train `model` in place and write it to `directory/model`, and adapters to `directory/adapter`; resumes.

    An encoder learns from texts by masking, an encoder–decoder by span corruption. `base` is what adapters name as
    their model. What is measured on held-out examples goes into `evals.json`.

    Raises:
        BadInput: the model cannot learn from examples of this kind.
    """
    settings = settings.model_copy(update={"row_length": min(settings.row_length, model.config.context)})
    torch.manual_seed(seed)
    begun = model
    if examples.kind == "labels" and model.config.kind != "encoder-decoder":
        model = pooled(model)
        rules_of_classifier(Classifier(model, 2))  # which refuses now what could not be written after training
    if settings.lora:
        add_lora(model, settings.lora)
        if model is not begun:
            # Its pooler is new, and nothing yet.
            model.pooler.requires_grad_(True)
    else:
        model.requires_grad_(True)
    learned, held_out = divide(examples.items, settings.held_out, seed)
    progress.say(f"{len(learned):,} examples ({examples.kind}) to learn from, {len(held_out):,} held out")
    material = Material(model, tokenizer, learned, held_out, settings, seed, teacher)
    lesson = lesson_of(examples.kind, material)
    settings = enough_steps(settings, math.ceil(settings.epochs * lesson.tokens))
    if lesson.held_out is None and (held_out or settings.patience):
        progress.say("nothing is measured on the way: what is held out is too little")
    watch = watch_of(lesson, settings)
    train(lesson.model, lesson.feed, settings, directory, progress, watch, "finetune", lesson.objective)
    write_results(directory / "evals.json", results_of(lesson, seed))
    if settings.lora:
        try:
            save_adapter(model, directory / "adapter", base)
        except BadInput as error:
            # Some models' adapters PEFT cannot take; the model itself has learned all the same.
            progress.say(f"no adapter is written, only the whole model: {error}")
        merge_lora(model)
    if isinstance(lesson.model, Classifier):
        save_classifier(lesson.model, directory / "model", lesson.labels, token_ids=tokenizer.token_ids)
        tokenizer.save(directory / "model", context=model.config.context)
    else:
        keep_model(model, tokenizer, directory)


def divide(items: Sequence[Any], share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """The examples to learn from, and those held out, drawn from `seed`; of few examples none are."""
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)
    n = min(len(items) - 1, max(1, round(share * len(items)))) if share and len(items) >= FEWEST_HELD_OUT else 0
    return shuffled[n:], shuffled[:n]


def enough_steps(settings: FinetuneSettings, tokens: int) -> FinetuneSettings:
    """The settings for so many tokens, with smaller batches where there would be only a few steps."""
    rows = max(1, min(settings.batch_rows, tokens // (FEWEST_STEPS * settings.row_length)))
    batch = rows * settings.row_length
    return settings.model_copy(update={"tokens": max(batch, tokens), "batch_tokens": batch})


def watch_of(lesson: Lesson, settings: FinetuneSettings) -> Watch:
    """Measure on some of the held-out examples now and then."""
    if lesson.held_out is None:
        return unwatched()
    some = min(lesson.held_out_rows, ROWS_OF_A_LOOK)
    return Watch(max(1, settings.steps // settings.looks), lambda model, step: measure(lesson, some)[0])


@torch.no_grad()
def measure(lesson: Lesson, rows: int) -> tuple[dict[str, float], int]:
    """Mean loss on so many rows of held-out examples, and for labels how many were right; and on how many it was."""
    feed, objective, model = lesson.held_out, lesson.objective, lesson.model.eval()
    assert feed is not None
    size = min(rows, ROWS_AT_ONCE)
    loss, count, right = 0.0, 0, 0.0
    at = next(model.parameters()).device
    for step in range(math.ceil(rows / size)):
        # What lies beyond the last row is the first ones again.
        batch = {name: values[: rows - step * size].to(at) for name, values in feed.batch(step, size).items()}
        loss += float(objective.total(model, objective.ready(batch)))
        count += objective.count(batch)
        if isinstance(model, Classifier):
            right += float((model(batch["tokens"], batch["present"]).argmax(-1) == batch["labels"]).sum())
    found = {"val_loss": loss / max(1, count)}
    return found | ({"val_accuracy": right / count} if isinstance(model, Classifier) else {}), count


def results_of(lesson: Lesson, seed: int) -> list[Result]:
    """What is measured on all held-out examples."""
    if lesson.held_out is None:
        return []
    units = {"val_loss": ("nats", False), "val_accuracy": ("share", True)}
    found, n = measure(lesson, lesson.held_out_rows)
    return [
        Result("finetune", name, value, units[name][0], n=n, seed=seed, higher_is_better=units[name][1])
        for name, value in found.items()
    ]
