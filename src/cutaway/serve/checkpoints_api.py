"""A run's way as the page replays it: the models kept in training, and those that its stages ended with."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Request as HTTPRequest
from pydantic import BaseModel

from cutaway.serve.offers import Offer
from cutaway.serve.rates import Caller
from cutaway.serve.service import Service
from cutaway.serve.snapshots import AT, last_step, steps_kept


class CheckpointShape(BaseModel):
    """One model on the way."""

    model: str
    """The model that its stage ended with."""
    stage: str
    step: int | None
    """Steps trained; null where no log says it."""
    name: str
    """What to call it in a request to look inside: that of a kept model ends in "@" and its step."""
    final: bool
    """Whether it is what the stage ended with."""


class CheckpointsShape(BaseModel):
    """Answer to GET /api/inside/checkpoints: from the untrained model to the run's last."""

    checkpoints: list[CheckpointShape]


def checkpoint_routes(service: Service) -> APIRouter:
    """What there is to replay."""
    router = APIRouter(tags=["page"])

    @router.get("/api/inside/checkpoints")
    def checkpoints(
        request: HTTPRequest, model: Annotated[str, Query(min_length=1, max_length=200)]
    ) -> CheckpointsShape:
        """The models of the run that a model is of, stage by stage, with those kept on the way."""
        caller: Caller = request.scope["state"]["caller"]
        family = service.offer(model, caller).family
        offers = [offer for offer in service.offers if offer.family == family and offer.stage and offer.name != family]
        allowed = [offer for offer in offers if caller.models is None or offer.name in caller.models]
        return CheckpointsShape(checkpoints=[each for offer in allowed for each in _of_stage(offer, offer.stage or "")])

    return router


def _of_stage(offer: Offer, stage: str) -> list[CheckpointShape]:
    kept = [
        CheckpointShape(model=offer.name, stage=stage, step=step, name=f"{offer.name}{AT}{step}", final=False)
        for step in steps_kept(offer)
    ]
    final = CheckpointShape(model=offer.name, stage=stage, step=last_step(offer), name=offer.name, final=True)
    return [*kept, final]
