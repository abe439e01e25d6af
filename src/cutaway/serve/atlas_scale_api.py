"""What the atlas draws of compute: a model's operations, those of its training, of other sizes, and a law of loss."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Request as HTTPRequest
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from cutaway.model import ModelConfig
from cutaway.model.anatomy import anatomy_of
from cutaway.model.flops import flops_of
from cutaway.runs import BadInput, MetricsLog
from cutaway.serve.errors import ApiError
from cutaway.serve.runs_api import METRICS, beside
from cutaway.serve.service import Service
from cutaway.train.devices import DeviceKind
from cutaway.train.planning import USUAL_LENGTH, Wishes, flops_a_token, plan
from cutaway.train.scaling_ladder import RUNS, read_runs
from cutaway.train.scaling_law import FITS, PER_PARAMETER, USUAL, LossLaw, read_law
from cutaway.train.scaling_prediction import LAW, OUTCOME, PREDICTION, Outcome, Prediction

DEPTHS = (2, 4, 6, 8, 12, 16, 20, 24, 32)
"""Sizes whose training is worked out."""
STAGE = "pretrain"


class ForwardShape(BaseModel):
    """Operations of the forward pass for one token, by what they are spent on."""

    layers: float
    attention: float
    unembedding: float


class TrainingShape(BaseModel):
    """The pretraining that the model comes from."""

    run: str
    stage: str
    tokens: int
    seconds: float
    rule: float
    """6ND."""
    flops: float
    """Counted product by product."""
    speed: float
    """Of these, a second."""


class SizeShape(BaseModel):
    """A model of another size, and what its training takes."""

    depth: int
    width: int
    parameters: int
    tokens: float
    """For which this size is the best one, by a published law."""
    flops: float
    hours: float | None
    """At the speed of the model's own training; null where that is not known."""


class LadderRun(BaseModel):
    """A run of a scaling ladder."""

    name: str
    parameters: int
    tokens: int
    flops: float
    loss: float


class ForetoldShape(BaseModel):
    """The larger run that the law foretold, and what came of it."""

    parameters: int
    tokens: int
    flops: float
    loss: float
    interval: tuple[float, float]
    measured: float | None


class LawShape(BaseModel):
    """L(N, D) = E + A / N^alpha + B / D^beta."""

    E: float
    A: float
    alpha: float
    B: float
    beta: float


class LadderShape(BaseModel):
    """A scaling run that lies beside what is served."""

    run: str
    runs: list[LadderRun]
    law: LawShape
    foretold: ForetoldShape | None


class ScaleShape(BaseModel):
    """Answer to GET /api/atlas/scale."""

    name: str
    parameters: int
    active: int
    """Parameters that a token goes through."""
    embeddings: int
    length: int
    """Tokens a row."""
    forward: ForwardShape
    per_parameter: int
    """The rule's operations a parameter and token of training."""
    training: TrainingShape | None
    law: str
    """What the tokens of other sizes follow from."""
    sizes: list[SizeShape]
    ladder: LadderShape | None


def atlas_scale_routes(service: Service) -> APIRouter:
    """GET /api/atlas/scale."""
    router = APIRouter(prefix="/api/atlas", tags=["page"])
    served = [offer.run for offer in service.offers if offer.run]

    @router.get("/scale")
    async def scale(request: HTTPRequest, model: Annotated[str, Query(min_length=1, max_length=200)]) -> ScaleShape:
        """What the model's training took, what other sizes would take, and a law of measured losses if there is one."""
        found = await service.served(model, request)
        config = found.lm.config
        if config.kind != "decoder":
            raise ApiError(400, f"{found.name} is no decoder; the rule counted here is that of decoders", param="model")
        return await run_in_threadpool(_scale, found.name, config, service.offer(model).run, beside(served).items())

    return router


def _scale(name: str, config: ModelConfig, run: Path | None, runs: Iterable[tuple[str, Path]]) -> ScaleShape:
    anatomy = anatomy_of(config)
    length = _row_length(run) or min(config.context, USUAL_LENGTH)
    forward = flops_of(anatomy, length)[0]
    training = _training(run, config, anatomy.active, length) if run else None
    ladders = ((each, path) for each, path in runs if (path / LAW).is_file() and (path / "ladder" / RUNS).is_file())
    ladder = next(ladders, None)
    try:
        return ScaleShape(
            name=name,
            parameters=anatomy.parameters,
            active=anatomy.active,
            embeddings=anatomy.by_part.get("embeddings", 0),
            length=length,
            forward=ForwardShape(layers=forward.layers, attention=forward.attention, unembedding=forward.unembedding),
            per_parameter=PER_PARAMETER,
            training=training,
            law=FITS[USUAL].about,
            sizes=[_size(depth, config.vocab_size, length, training) for depth in DEPTHS],
            ladder=_ladder(*ladder) if ladder else None,
        )
    except (BadInput, OSError, ValueError, KeyError, TypeError) as error:
        raise ApiError(500, f"the scaling run {ladder and ladder[0]} cannot be read: {error}") from error


def _training(run: Path, config: ModelConfig, active: int, length: int) -> TrainingShape | None:
    rows = MetricsLog.read(run / STAGE / METRICS)
    last = next((row for row in reversed(rows) if row.get("tokens") and row.get("seconds")), None)
    if last is None:
        return None
    tokens, seconds = int(last["tokens"]), float(last["seconds"])
    flops = tokens * flops_a_token(config, length)
    return TrainingShape(
        run=run.resolve().name,
        stage=STAGE,
        tokens=tokens,
        seconds=seconds,
        rule=float(PER_PARAMETER) * active * tokens,
        flops=flops,
        speed=flops / seconds,
    )


def _row_length(run: Path | None) -> int | None:
    try:
        length = tomllib.loads((run / "recipe.toml").read_text("utf-8"))[STAGE]["row_length"] if run else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return length if isinstance(length, int) and length > 0 else None


def _size(depth: int, vocab_size: int, length: int, training: TrainingShape | None) -> SizeShape:
    """As `cutaway plan` works it out, for a device that does what the model's training did a second."""
    config = ModelConfig.from_depth(depth, vocab_size, context=length)
    speed, endless = training.speed if training else 1.0, float("inf")
    device = DeviceKind("this run's", "", speed, "float32", speed, endless, None, None, None, 1.0)
    worked_out = plan(config, Wishes(device, 1, length=length), FITS[USUAL])
    return SizeShape(
        depth=depth,
        width=config.d_model,
        parameters=worked_out.parameters,
        tokens=worked_out.tokens,
        flops=worked_out.flops,
        hours=worked_out.hours if training else None,
    )


def _ladder(name: str, run: Path) -> LadderShape:
    law: LossLaw = read_law(run / LAW)
    foretold = Prediction.read(run) if (run / PREDICTION).is_file() else None
    came = run / "heldout"
    return LadderShape(
        run=name,
        runs=[
            LadderRun(name=each.name, parameters=each.parameters, tokens=each.tokens, flops=each.flops, loss=each.loss)
            for each in read_runs(run / "ladder")
        ],
        law=LawShape(**{key: asdict(law)[key] for key in LawShape.model_fields}),
        foretold=foretold
        and ForetoldShape(
            parameters=foretold.parameters,
            tokens=foretold.tokens,
            flops=foretold.flops,
            loss=foretold.loss,
            interval=foretold.interval,
            measured=Outcome.read(came).run.loss if (came / OUTCOME).is_file() else None,
        ),
    )
