"""What the atlas draws of small networks, computed and trained while it is looked at: the ladder's own code at work."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
import torch
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from cutaway.ladder.activations import ACTIVATIONS, Activation
from cutaway.ladder.autograd import Tensor
from cutaway.ladder.generalisation import Look, Practice, fully_connected, watched
from cutaway.ladder.image_data import CLASSES, read_images
from cutaway.ladder.neuron import neuron
from cutaway.ladder.plane import SEEN, SIDE, Seen, learn, over_the_plane
from cutaway.ladder.plane import examples as points_of
from cutaway.ladder.xor_descent import XorDescent
from cutaway.runs import BadInput
from cutaway.serve.errors import ApiError
from cutaway.serve.requests import Request, examples
from cutaway.serve.service import Service

FROM, TO, CURVE = -5.0, 5.0, 201
"""Weighted sums over which activations are drawn, and at how many."""
MOST_INPUTS = 8
MOST_STEPS = 300
"""Steps of descent down the XOR net."""
CELL, LINE, LETTER, ROOM, GAP = 40.0, 15.0, 6.7, 7.0, 20.0
"""Of a node's box, in CSS pixels: a number's width and height, a letter of its title, room around, and between two."""
HEARTS = 600
"""Updates of a network that learns few images by heart."""

Number = Annotated[float, Field(ge=-1000, le=1000)]
Seed = Annotated[int, Field(ge=0, lt=1000)]


class NeuronRequest(Request):
    """POST /api/atlas/neuron: one neuron and what it reads."""

    model_config = examples({"inputs": [1.0, -2.0], "weights": [0.5, 0.25], "bias": 0.1, "activation": "tanh"})

    inputs: list[Number] = Field(min_length=1, max_length=MOST_INPUTS)
    weights: list[Number] = Field(min_length=1, max_length=MOST_INPUTS)
    bias: Number = 0.0
    activation: Annotated[str, Field(max_length=40)] = "sigmoid"


class NeuronShape(BaseModel):
    """Answer to POST /api/atlas/neuron."""

    products: list[float]
    z: float
    a: float
    slope: float
    """Of the activation at z."""


class ActivationShape(BaseModel):
    """An activation function over `z` of the answer it is in."""

    name: str
    formula: str
    value: list[float]
    slope: list[float]


class ActivationsShape(BaseModel):
    """Answer to GET /api/atlas/activations."""

    z: list[float]
    activations: list[ActivationShape]


class LayersRequest(Request):
    """POST /api/atlas/layers: a network of two inputs that is trained to tell two classes of points apart."""

    model_config = examples({"task": "corners", "hidden": [4], "activation": "tanh", "seed": 1, "seen": 0})

    task: Literal["sides", "corners", "ring", "waves"] = "corners"
    hidden: list[Annotated[int, Field(ge=1, le=8)]] = Field(default=[4], max_length=3)
    activation: Literal["sigmoid", "tanh", "relu", "none"] = "tanh"
    seed: Seed = 1
    seen: Annotated[int, Field(ge=0, lt=len(SEEN))] = len(SEEN) - 1
    """Which of the kept states: those after `passes` of the answer."""


class LayerShape(BaseModel):
    """One layer of it."""

    weights: list[list[float]]
    """Row by row, `[neuron, input]`."""
    biases: list[float]
    maps: list[list[float]]
    """Each neuron's activation over the square from -1 to 1, row by row from the top, `side` × `side`."""


class LayersShape(BaseModel):
    """Answer to POST /api/atlas/layers."""

    side: int
    points: list[list[float]]
    classes: list[int]
    passes: list[int]
    costs: list[float]
    accuracies: list[float]
    layers: list[LayerShape]
    """The last has the probabilities of class 0 and class 1."""


class DescentRequest(Request):
    """POST /api/atlas/descent: the XOR net after some steps of descent."""

    model_config = examples({"steps": 2, "rate": 1.0, "seed": 1})

    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 0
    rate: Annotated[float, Field(gt=0, le=20)] = 3.0
    seed: Seed = 0


class NodeShape(BaseModel):
    """A tensor of the computation graph, and where its box lies."""

    name: str
    operation: str
    shape: list[int]
    value: list[list[float]]
    """In rows, as the box shows it."""
    gradient: list[list[float]]
    """How L changes with each of these."""
    x: float
    y: float
    width: float
    height: float


class ArrowShape(BaseModel):
    """From a tensor to what it went into."""

    start: int
    end: int


class DescentShape(BaseModel):
    """Answer to POST /api/atlas/descent."""

    losses: list[float]
    """L before each step and after the last."""
    nodes: list[NodeShape]
    arrows: list[ArrowShape]
    width: float
    height: float


class HeartRequest(Request):
    """POST /api/atlas/generalisation: a network that learns few images, and what is done against learning by heart."""

    model_config = examples({"few": 50, "wrong": 20, "decay": True, "dropout": True, "shifts": True, "seed": 1})

    few: Literal[50, 100, 200, 400, 800] = 100
    """Training images."""
    wrong: Literal[0, 20, 40] = 20
    """Percent of them whose label is made another one."""
    decay: bool = False
    dropout: bool = False
    shifts: bool = False
    seed: Seed = 1


class HeartShape(BaseModel):
    """Answer to POST /api/atlas/generalisation: columns of equal length, a look each."""

    data: str
    tested: int
    parameters: int
    steps: list[int]
    train_loss: list[float]
    test_loss: list[float]
    train_accuracy: list[float]
    test_accuracy: list[float]


def atlas_networks_routes(service: Service) -> APIRouter:
    """The endpoints for the pages from the neuron to generalisation."""
    router = APIRouter(prefix="/api/atlas", tags=["page"])

    @router.post("/neuron")
    def one_neuron(asked: NeuronRequest) -> NeuronShape:
        """What a neuron answers."""
        if len(asked.inputs) != len(asked.weights):
            message = f"{len(asked.inputs)} inputs and {len(asked.weights)} weights: give a weight for each input"
            raise ApiError(400, message, param="weights")
        inputs, weights = np.array([asked.inputs]), np.array(asked.weights)
        kind = _activation(asked.activation)
        z = float(inputs[0] @ weights + asked.bias)
        return NeuronShape(
            products=(inputs[0] * weights).tolist(),
            z=z,
            a=float(neuron(inputs, weights, asked.bias, kind)[0]),
            slope=float(kind.slope(np.array(z))),
        )

    @router.get("/activations")
    def activations() -> ActivationsShape:
        """All activation functions and their slopes."""
        z = np.linspace(FROM, TO, CURVE)
        return ActivationsShape(
            z=z.round(6).tolist(),
            activations=[
                ActivationShape(
                    name=each.name, formula=each.formula, value=each.value(z).tolist(), slope=each.slope(z).tolist()
                )
                for each in ACTIVATIONS
            ],
        )

    @router.post("/layers")
    async def layers(asked: LayersRequest) -> LayersShape:
        """Train it (once; then it is remembered), and tell what each neuron makes of the plane."""
        async with service.looking:
            return await run_in_threadpool(_layers, asked)

    @router.post("/descent")
    async def descent(asked: DescentRequest) -> DescentShape:
        """The computation graph after so many steps, with every value and gradient."""
        async with service.looking:
            return await run_in_threadpool(_descent, asked.steps, asked.rate, asked.seed)

    @router.post("/generalisation")
    async def generalisation(asked: HeartRequest) -> HeartShape:
        """Train on few images, and look at those and at others on the way."""
        async with service.looking:
            try:
                return await run_in_threadpool(
                    _by_heart, asked.few, asked.wrong, asked.decay, asked.dropout, asked.shifts, asked.seed
                )
            except BadInput as error:
                raise ApiError(409, str(error), code="no_data") from error

    return router


def _activation(name: str) -> Activation:
    for each in ACTIVATIONS:
        if each.name == name:
            return each
    names = ", ".join(each.name for each in ACTIVATIONS)
    raise ApiError(400, f"there is no activation {name!r}; there are: {names}", param="activation")


@lru_cache(maxsize=64)
def _learned(task: str, hidden: tuple[int, ...], activation: str, seed: int) -> list[Seen]:
    return learn(task, hidden, activation, seed)


def _layers(asked: LayersRequest) -> LayersShape:
    learned = _learned(asked.task, tuple(asked.hidden), asked.activation, asked.seed)
    network = learned[asked.seen].network
    x, y = points_of(asked.task, asked.seed)
    return LayersShape(
        side=SIDE,
        points=x.round(4).tolist(),
        classes=y.tolist(),
        passes=[seen.passes for seen in learned],
        costs=[seen.cost for seen in learned],
        accuracies=[seen.accuracy for seen in learned],
        layers=[
            LayerShape(
                weights=weights.tolist(), biases=biases.tolist(), maps=maps.reshape(len(maps), -1).round(4).tolist()
            )
            for weights, biases, maps in zip(network.weights, network.biases, over_the_plane(network), strict=True)
        ],
    )


@lru_cache(maxsize=256)
def _descent(steps: int, rate: float, seed: int) -> DescentShape:
    net = XorDescent(seed)
    for _ in range(steps):
        net.step(rate)
    loss = net.loss()
    nodes = loss.graph()
    number = {id(node): i for i, node in enumerate(nodes)}
    arrows = [(number[id(parent)], i) for i, node in enumerate(nodes) for parent in node.parents]
    places, width, height = _places(nodes)
    return DescentShape(
        losses=[*net.losses, float(loss.data)],
        nodes=[
            NodeShape(
                name=node.name,
                operation=node.operation,
                shape=list(node.shape),
                value=np.atleast_2d(node.data).tolist(),
                gradient=np.atleast_2d(node.gradient).tolist(),
                x=x,
                y=y,
                width=_size(node)[0],
                height=_size(node)[1],
            )
            for node, (x, y) in zip(nodes, places, strict=True)
        ],
        arrows=[ArrowShape(start=start, end=end) for start, end in arrows],
        width=width,
        height=height,
    )


def _places(nodes: list[Tensor]) -> tuple[list[tuple[float, float]], float, float]:
    """Upper left corners, width and height of a graph that is a chain with something given at some of its links.

    The chain is one row; what is given stands above the link before the one that it goes into.
    """
    chain = [node for node in nodes if node.parents]
    chain.insert(0, chain[0].parents[0])
    link = {id(node): i for i, node in enumerate(chain)}
    given = [node for node in nodes if id(node) not in link]
    column = {id(each): link[id(node)] - 1 for node in chain for each in node.parents if id(each) not in link} | link
    widths = [max(_size(node)[0] for node in nodes if column[id(node)] == i) for i in range(len(chain))]
    above = max(_size(node)[1] for node in given)
    tallest = max(_size(node)[1] for node in chain)
    corners: list[tuple[float, float]] = []
    for node in nodes:
        width, height = _size(node)
        i = column[id(node)]
        left = sum(widths[:i]) + GAP * i + (widths[i] - width) / 2
        in_chain = id(node) in link
        corners.append((left, above + GAP + (tallest - height) / 2 if in_chain else above - height))
    return corners, sum(widths) + GAP * (len(widths) - 1), above + GAP + tallest


def _size(node: Tensor) -> tuple[float, float]:
    """Width and height of a node's box: its title, its values, its gradients."""
    rows, columns = np.atleast_2d(node.data).shape
    title = len(" = ".join(part for part in (node.name, node.operation) if part) or "constant")
    return max(columns * CELL, title * LETTER) + 2 * ROOM, (2 * rows + 1) * LINE + 3 * ROOM


@lru_cache(maxsize=64)
def _by_heart(few: int, wrong: int, decay: bool, dropout: bool, shifts: bool, seed: int) -> HeartShape:
    data = read_images(None)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(data.train_y))[:few]
    y, n_wrong = data.train_y[chosen], few * wrong // 100
    y[:n_wrong] = (y[:n_wrong] + rng.integers(1, CLASSES, n_wrong)) % CLASSES
    parts = [
        (torch.from_numpy(data.train_x[chosen]), torch.from_numpy(y)),
        (torch.from_numpy(data.test_x), torch.from_numpy(data.test_y)),
    ]
    practice = Practice(HEARTS, 32, 5e-3, decay=1.0 if decay else 0.0, shift=1 if shifts else 0)
    # Others draw from torch's common generator too: they go on from where they were.
    with torch.random.fork_rng(devices=[]):
        network = fully_connected((data.pixels, 256, CLASSES), 0.5 if dropout else 0.0, seed)
        looks: dict[int, list[Look]] = {
            step: seen for step, _, seen in watched(network, parts, practice, seed, looks=60) if seen
        }
    return HeartShape(
        data=data.name,
        tested=len(parts[1][1]),
        parameters=sum(weights.numel() for weights in network.parameters()),
        steps=list(looks),
        train_loss=[train.loss for train, _ in looks.values()],
        test_loss=[test.loss for _, test in looks.values()],
        train_accuracy=[train.accuracy for train, _ in looks.values()],
        test_accuracy=[test.accuracy for _, test in looks.values()],
    )
