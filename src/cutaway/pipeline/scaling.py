"""A scaling law of one's own, as a run: a ladder of small models, the law, a larger one foretold, what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator

from cutaway.corpus.build import CorpusSettings, WorldSettings
from cutaway.evals.bits_per_byte import bits_per_byte
from cutaway.evals.scaling_report import write_scaling_report
from cutaway.model import Transformer
from cutaway.model.anatomy import anatomy_of
from cutaway.pipeline.materials import examples_of, heldout_of, tokenizer_of
from cutaway.pipeline.stage import Stage, StageContext
from cutaway.pipeline.stages import STAGES, NoSettings
from cutaway.runs import RunDirectory, Settings, atomic
from cutaway.tokens import TokenizerSettings
from cutaway.train import Rows, train, unwatched
from cutaway.train.pretrain import keep_model, new_model
from cutaway.train.scaling_fit import fit
from cutaway.train.scaling_ladder import (
    RUNS,
    TRUNKS,
    Ladder,
    Measure,
    Measured,
    finished_run,
    flops_of_run,
    read_runs,
    rows_of_text,
)
from cutaway.train.scaling_prediction import LAW, OUTCOME, PREDICTION, Outcome, now, predict, write_law
from cutaway.train.scaling_settings import HeldOutRun, LadderSettings, check_text, settings_of, tokens_a_step

BEGAN = "began"


class RealText(CorpusSettings):
    """What the models read: real text, and no invented world."""

    world: WorldSettings = WorldSettings(people=0)
    """Left out."""

    @model_validator(mode="after")
    def real(self) -> Self:
        """A law of invented texts beside real ones would be one of their mixture."""
        if self.world.people:
            raise ValueError("a scaling law is fitted to real text alone; leave corpus.world out")
        return self


class ScalingRecipe(Settings):
    """The runs that a law is fitted to, and the larger one that it foretells."""

    kind: Literal["scaling"] = "scaling"
    """Tells this recipe from those of other kinds."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    """Everything random in the run follows from it."""
    corpus: RealText = Field(default_factory=RealText)
    tokenizer: TokenizerSettings = Field(default_factory=TokenizerSettings)
    ladder: LadderSettings
    heldout: HeldOutRun

    @model_validator(mode="after")
    def foretells_a_larger_run(self) -> Self:
        """What lies among the runs of the ladder would be no test of the law."""
        vocab_size, ladder = self.tokenizer.vocab_size, self.ladder
        every = [settings_of(size, tokens, ladder) for size in ladder.sizes for tokens in ladder.tokens]
        largest = max(flops_of_run(settings.config(vocab_size), settings) for settings in every)
        settings = settings_of(self.heldout, self.heldout.tokens, ladder)
        flops = flops_of_run(settings.config(vocab_size), settings)
        if flops <= largest:
            raise ValueError(
                f"heldout takes {flops:.2g} operations and the ladder's largest run {largest:.2g}; make heldout larger"
            )
        return self


def _ladder(context: StageContext[LadderSettings]) -> None:
    run, ladder, recipe = context.run, context.settings, context.recipe
    rows = _rows(run, recipe)
    _check(recipe, rows)
    measure, vocab_size = _measure(run, ladder), tokenizer_of(run).vocab_size
    Ladder(ladder, vocab_size, rows, context.directory, measure, context.seed).train(context.progress)


def _check(recipe: ScalingRecipe, rows: Rows) -> None:
    """Refuse a run that would read its text twice: the larger one before the ladder is trained, not after."""
    ladder, heldout = recipe.ladder, recipe.heldout
    longest = settings_of(ladder.sizes[0], max(ladder.tokens), ladder)
    larger = settings_of(heldout, heldout.tokens, ladder)
    check_text({"ladder.tokens": longest, "heldout.tokens": larger}, rows)


def _rows(run: RunDirectory, recipe: ScalingRecipe) -> Rows:
    """The text as all models read it."""
    return rows_of_text(examples_of(run, "real", tokenizer_of(run)), recipe.ladder.row_length, recipe.seed)


def _measure(run: RunDirectory, ladder: LadderSettings) -> Measure:
    """How models are measured: on all held-out text, in windows as long as their rows in training."""
    documents, tokenizer, length = heldout_of(run), tokenizer_of(run), ladder.row_length

    def measure(model: Transformer) -> Measured:
        with torch.inference_mode():
            found = bits_per_byte(model, tokenizer, documents, length, length)["total"]
        return Measured(found.bits * math.log(2) / found.tokens, found.value, found.tokens)

    return measure


def _fit(context: StageContext[HeldOutRun]) -> None:
    """The law, and what it foretells of a run that does not exist yet: this stage comes before that one."""
    run, size, ladder = context.run, context.settings, context.recipe.ladder
    _check(context.recipe, _rows(run, context.recipe))
    runs = read_runs(run.stage("ladder"))
    fitted = fit([each.point for each in runs], seed=context.seed)
    write_law(fitted, runs, context.directory)
    settings = settings_of(size, size.tokens, ladder)
    config = settings.config(tokenizer_of(run).vocab_size)
    tokens = settings.steps * tokens_a_step(settings)
    foretold = predict(fitted, runs, size.name, anatomy_of(config).parameters, tokens, flops_of_run(config, settings))
    foretold.write(context.directory)
    law, (low, high) = fitted.law, foretold.interval
    context.progress.say(
        f"L(N, D) = {law.E:.3g} + {law.A:.3g} / N^{law.alpha:.3f} + {law.B:.3g} / D^{law.beta:.3f}, "
        f"from {len(runs)} runs"
    )
    context.progress.say(
        f"foretold for {size.name} on {tokens:,} tokens: {foretold.loss:.3f} nats a token ({low:.3f} to {high:.3f})"
    )


def _heldout(context: StageContext[HeldOutRun]) -> None:
    run, size, ladder, directory = context.run, context.settings, context.recipe.ladder, context.directory
    if not (directory / BEGAN).exists():
        atomic.write_text(directory / BEGAN, now())
    tokenizer, settings = tokenizer_of(run), settings_of(size, size.tokens, ladder)
    config = settings.config(tokenizer.vocab_size)
    model = new_model(config, context.seed)
    train(model, _rows(run, context.recipe), settings, directory, context.progress, unwatched(), "heldout")
    keep_model(model, tokenizer, directory)
    done = finished_run(size, settings, config, directory, _measure(run, ladder)(model))
    Outcome((directory / BEGAN).read_text("utf-8"), now(), done).write(directory)
    context.progress.say(f"came to {done.loss:.3f} nats a token, {done.bits_per_byte:.3f} bits per byte")


def _report(context: StageContext[NoSettings]) -> None:
    write_scaling_report(context.run)
    context.progress.say(f"the report is {context.run.path / 'report.html'}")


def _shared(names: Sequence[str]) -> tuple[Stage[Any], ...]:
    """Stages that this kind of recipe shares with an assistant's."""
    return tuple(stage for stage in STAGES if stage.name in names)


_TEXT = ("corpus", "tokenizer", "shards")

SCALING: tuple[Stage[Any], ...] = (
    *_shared(_TEXT),
    Stage(
        name="ladder",
        verb="run",
        function=_ladder,
        settings=lambda recipe: recipe.ladder,
        inputs=_TEXT,
        outputs=(RUNS,),
        scratch=(TRUNKS,),
        costly=True,
    ),
    Stage(
        name="fit",
        verb="run",
        function=_fit,
        settings=lambda recipe: recipe.heldout,
        inputs=("tokenizer", "shards", "ladder"),
        outputs=(LAW, PREDICTION),
        place=".",
    ),
    Stage(
        name="heldout",
        verb="run",
        function=_heldout,
        settings=lambda recipe: recipe.heldout,
        # Not for anything in it: a run that was foretold after it had begun would prove nothing.
        inputs=(*_TEXT, "fit"),
        outputs=(OUTCOME, "model/**/*"),
        costly=True,
    ),
    Stage(
        name="report",
        verb="run",
        function=_report,
        settings=lambda recipe: NoSettings(),
        inputs=("corpus", "ladder", "fit", "heldout"),
        outputs=("report.json", "report.md", "report.html"),
        place=".",
    ),
)
