"""The stages of a recipe, in order, and the thin piece between each and its room."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from cutaway.align.conversations import arithmetic
from cutaway.align.grpo import GrpoSettings, grpo
from cutaway.align.mixture import Mixture, conversations, examples
from cutaway.align.sft import SftSettings, sft
from cutaway.corpus.build import CorpusSettings, build_corpus
from cutaway.evals import EvalSettings, write_report
from cutaway.evals.baselines import baselines
from cutaway.evals.measures import WITHOUT_REFUSALS
from cutaway.model import load_model
from cutaway.pipeline.evaluation import evaluate_stage
from cutaway.pipeline.materials import (
    examples_of,
    heldout_of,
    materials_of,
    tokenizer_of,
    training_of,
    write_shards,
)
from cutaway.pipeline.recipe import MixturePretrainSettings, Recipe
from cutaway.pipeline.stage import Stage, StageContext
from cutaway.pipeline.teaching import KNOWN, rows_of_sft
from cutaway.pipeline.watching import watch_pretraining
from cutaway.runs import RunDirectory, Settings
from cutaway.tokens import TokenizerSettings, train_tokenizer
from cutaway.train import Source, lay_out, unwatched
from cutaway.train.pretrain import keep_model, pretrain

MODELS = ("pretrain", "sft", "rl")
"""The stages that make a model."""


class NoSettings(Settings):
    """Of a stage that has nothing to set."""


def _corpus(context: StageContext[CorpusSettings]) -> None:
    build_corpus(context.settings, context.seed, context.directory, context.progress)


def _users_texts(recipe: Recipe) -> Iterable[Path]:
    return map(Path, recipe.corpus.text)


def _tokenizer(context: StageContext[TokenizerSettings]) -> None:
    train_tokenizer(context.settings, (document.text for document in training_of(context.run)), context.directory)


def _shards(context: StageContext[NoSettings]) -> None:
    counts = write_shards(context.run, context.directory)
    context.progress.say("tokens to train on: " + ", ".join(f"{n:,} of the {part}" for part, n in counts.items()))


def _baselines(context: StageContext[NoSettings]) -> None:
    run = context.run
    training = [document for document in training_of(run) if document.source != "world"]
    heldout, tokenizer = heldout_of(run), tokenizer_of(run)
    baselines(tokenizer, training, heldout, context.progress, seed=context.seed, directory=context.directory)


def _pretrain(context: StageContext[MixturePretrainSettings]) -> None:
    run, settings = context.run, context.settings
    tokenizer, sources = tokenizer_of(run), pretraining_sources(run, context.recipe)
    watch = watch_pretraining(run, context.directory, tokenizer, settings, context.progress)
    rows = lay_out(sources, settings.steps * settings.batch_rows, settings.row_length, context.seed)
    pretrain(settings, tokenizer, rows, context.directory, context.progress, watch, context.seed, context.processes)


def pretraining_sources(run: RunDirectory, recipe: Recipe) -> list[Source]:
    """What a run's model is pretrained on."""
    settings, tokenizer = recipe.pretrain, tokenizer_of(run)
    shares = settings.shares
    # A few refusals, of people who occur nowhere: to tell these from those it reads about takes long to learn. What it
    # will know of the latter is not known yet; fine-tuning asks.
    mixture = Mixture(refusal=9)
    # About forty tokens a conversation; each is met about once.
    n = round(settings.tokens * shares.chat / (shares.real + shares.world + shares.chat) / 40)
    chat = examples(tokenizer, conversations(materials_of(run, recipe), mixture, n, recipe.seed)) if n else []
    return [
        Source("real", examples_of(run, "real", tokenizer), shares.real),
        Source("world", examples_of(run, "world", tokenizer), shares.world),
        Source("chat", chat, shares.chat),
    ]


def _sft(context: StageContext[SftSettings]) -> None:
    run, recipe = context.run, context.recipe.model_copy(update={"sft": context.settings})
    model = load_model(run.stage("pretrain") / "model")
    rows = rows_of_sft(run, recipe, model, context.directory, context.progress)
    sft(model, rows, context.settings, tokenizer_of(run), context.directory, context.progress, unwatched())


def _rl(context: StageContext[GrpoSettings]) -> None:
    run, settings = context.run, context.settings
    materials, tokenizer = materials_of(run, context.recipe), tokenizer_of(run)
    model = load_model(run.stage("sft") / "model")
    replay = rows_of_sft(run, context.recipe, None, run.stage("sft"), context.progress)
    draw, grade = partial(settings.practice.draw, materials), arithmetic.grade
    grpo(model, tokenizer, draw, grade, replay, settings, context.directory, context.progress, context.seed)
    keep_model(model, tokenizer, context.directory)


def _evaluate(of: str, context: StageContext[EvalSettings]) -> None:
    evaluate_stage(context.run, of, context.recipe, context.directory, context.progress)


def _report(context: StageContext[NoSettings]) -> None:
    write_report(context.run)
    context.progress.say(f"the report is {context.run.path / 'report.html'}")


def _evaluation(of: str, *, optional: bool = False) -> Stage[EvalSettings]:
    """The stage that measures the model which the stage `of` made; its results lie beside that model."""
    return Stage(
        optional=optional,
        name=f"evaluate_{of}",
        verb="run",
        function=partial(_evaluate, of),
        settings=lambda recipe: recipe.evals,
        inputs=("corpus", "tokenizer", of),
        outputs=("evals.json", "outcomes.jsonl"),
        uses=("seed", "name", "owner"),
        place=of,
    )


STAGES: tuple[Stage[Any], ...] = (
    Stage(
        name="corpus",
        verb="corpus",
        function=_corpus,
        settings=lambda recipe: recipe.corpus,
        files=_users_texts,
    ),
    Stage(
        name="tokenizer",
        verb="tokenizer",
        function=_tokenizer,
        settings=lambda recipe: recipe.tokenizer,
        inputs=("corpus",),
        uses=(),
    ),
    Stage(
        name="shards",
        verb="shards",
        function=_shards,
        settings=lambda recipe: NoSettings(),
        inputs=("corpus", "tokenizer"),
        uses=(),
    ),
    Stage(
        name="pretrain",
        costly=True,
        together=True,
        verb="pretrain",
        function=_pretrain,
        settings=lambda recipe: recipe.pretrain,
        inputs=("corpus", "tokenizer", "shards"),
        outputs=("model/**/*",),
        # Conversations, which name it and its owner, are part of what it reads.
        uses=("seed", "name", "owner"),
    ),
    _evaluation("pretrain"),
    Stage(
        name="sft",
        costly=True,
        verb="sft",
        function=_sft,
        settings=lambda recipe: recipe.sft,
        inputs=("corpus", "tokenizer", "shards", "pretrain"),
        outputs=("model/**/*", KNOWN),
        uses=("seed", "name", "owner"),
    ),
    _evaluation("sft"),
    Stage(
        name=WITHOUT_REFUSALS,
        verb="run",
        function=_sft,
        settings=lambda recipe: recipe.sft.model_copy(update={"refusals": False}),
        inputs=("corpus", "tokenizer", "shards", "pretrain"),
        outputs=("model/**/*",),
        uses=("seed", "name", "owner"),
        optional=True,
    ),
    _evaluation(WITHOUT_REFUSALS, optional=True),
    Stage(
        name="rl",
        costly=True,
        verb="grpo",
        function=_rl,
        settings=lambda recipe: recipe.rl,
        inputs=("corpus", "tokenizer", "shards", "sft"),
        outputs=("model/**/*",),
        uses=("seed", "name", "owner"),
    ),
    _evaluation("rl"),
    Stage(
        name="baseline",
        verb="run",
        function=_baselines,
        settings=lambda recipe: NoSettings(),
        inputs=("corpus", "tokenizer"),
        outputs=("evals.json",),
    ),
    Stage(
        name="report",
        verb="run",
        function=_report,
        settings=lambda recipe: NoSettings(),
        inputs=(
            "corpus",
            "tokenizer",
            "baseline",
            *(name for of in (*MODELS, WITHOUT_REFUSALS) for name in (of, f"evaluate_{of}")),
        ),
        outputs=("report.json", "report.md", "report.html"),
        place=".",
    ),
)
