"""What the atlas draws of a running model: depth, surprise, context, the cost of a step, and ways to choose a token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi import Request as HTTPRequest
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from cutaway.infer import LanguageModel, Sampling
from cutaway.infer.generate import probabilities
from cutaway.infer.timed import timed_steps
from cutaway.lens import Trace, surprise_within, through_depth, without_blocks
from cutaway.runs import BadInput
from cutaway.serve.answering import ClientGone
from cutaway.serve.errors import ApiError
from cutaway.serve.looking import MAX_READ, Ids, looked_into
from cutaway.serve.page_api import TokenShape, token_shape
from cutaway.serve.requests import ModelName, Request, examples
from cutaway.serve.service import Service

MAX_DEEP = 64
"""Tokens whose logits are read off at every depth."""
MAX_STEPS = 16
"""Steps that are measured in one request."""
MAX_WINDOWED = 1 << 15
"""Tokens that one request reads in windows."""
WINDOWED_AT_ONCE = 512
"""Of these, tokens that are read before anybody is asked whether they are still wanted."""
SHOWN = 5
"""Alternatives that are told beside a token."""
MAX_LISTED = 48
"""Next tokens that are listed under every way to choose."""


class ReadRequest(Request):
    """What every request says: the model, and what it reads."""

    model_config = examples({"model": "demo", "tokens": [10, 20, 30]})

    model: ModelName
    tokens: Ids


class DepthRequest(ReadRequest):
    """POST /api/atlas/depth: what the model would say after each block."""

    model_config = examples({"model": "demo", "tokens": [10, 20, 30], "without": [0]})

    tokens: Annotated[Ids, Field(max_length=MAX_DEEP)]
    without: list[Annotated[int, Field(ge=0, lt=1000)]] = Field(default=[], max_length=1000)
    """Blocks that are left out."""


class WindowRequest(ReadRequest):
    """POST /api/atlas/window: the last tokens, each predicted from no more than `window` tokens before it."""

    model_config = examples({"model": "demo", "tokens": [10, 20, 30], "window": 2, "last": 1})

    window: Annotated[int, Field(ge=1, le=MAX_READ)]
    last: Annotated[int, Field(ge=1, le=MAX_READ)]


class StepsRequest(ReadRequest):
    """POST /api/atlas/steps: the next tokens, greedily, with the KV cache and without it."""

    model_config = examples({"model": "demo", "tokens": [10, 20, 30], "most": 2})

    most: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 8


class ChoosingRequest(ReadRequest):
    """POST /api/atlas/choosing: one distribution under each way to choose from it, each by itself."""

    model_config = examples(
        {
            "model": "demo",
            "tokens": [10, 20, 30],
            "temperature": 0.8,
            "top_k": 5,
            "top_p": 0.8,
            "min_p": 0.2,
            "typical_p": 0.5,
        }
    )

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    top_k: Annotated[int, Field(ge=1, le=100_000)] = 10
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.1
    typical_p: Annotated[float, Field(gt=0, le=1)] = 0.9

    def ways(self) -> dict[str, Sampling]:
        """The settings by their names, each alone."""
        return {
            "temperature": Sampling(temperature=self.temperature),
            "top_k": Sampling(top_k=self.top_k),
            "top_p": Sampling(top_p=self.top_p),
            "min_p": Sampling(min_p=self.min_p),
            "typical_p": Sampling(typical_p=self.typical_p),
        }


class CellShape(BaseModel):
    """One position at one depth."""

    token: TokenShape
    """What the final norm and the unembedding read off the stream there."""
    probability: float
    answer: float
    """The probability of what the whole model says in the end."""
    norm: float
    """The length of the stream."""


class DepthStage(BaseModel):
    """The stream at one depth."""

    name: str
    """The tensor that is read."""
    cells: list[CellShape]
    """Position by position."""


class DepthShape(BaseModel):
    """Answer to POST /api/atlas/depth."""

    answers: list[TokenShape]
    """What the whole model says after each position."""
    stages: list[DepthStage]


class LikelyShape(BaseModel):
    """A token that could stand somewhere."""

    token: TokenShape
    probability: float


class SurprisingShape(BaseModel):
    """One token of a text, from the second on, and what the model expected in its place."""

    logprob: float
    """Natural logarithm of the probability that it had."""
    likeliest: list[LikelyShape]


class SurpriseShape(BaseModel):
    """Answer to POST /api/atlas/surprise."""

    tokens: list[SurprisingShape]


class WindowShape(BaseModel):
    """Answer to POST /api/atlas/window."""

    bits: list[float]
    """-log2 of each token's probability."""


class StepShape(BaseModel):
    """One step done both ways."""

    read: int
    """Tokens before it."""
    token: TokenShape
    same: bool
    """Whether both ways chose the same."""
    cached: float
    """Milliseconds with the cache."""
    recomputed: float
    """Milliseconds without."""
    cache_bytes: int


class StepsShape(BaseModel):
    """Answer to POST /api/atlas/steps."""

    steps: list[StepShape]
    full: bool
    """Whether the context is full now."""


class KeptShape(BaseModel):
    """What one way to choose leaves."""

    tokens: int
    """How many can be drawn."""
    share: float
    """The model's own probability of all of these together."""


class ChoiceShape(BaseModel):
    """One possible next token."""

    token: TokenShape
    probability: float
    drawn: dict[str, float]
    """By way to choose: the probability that it is drawn with; 0 where it is left out."""


class ChoosingShape(BaseModel):
    """Answer to POST /api/atlas/choosing."""

    entropy: float
    """In bits, of the model's own distribution."""
    kept: dict[str, KeptShape]
    next: list[ChoiceShape]


def atlas_running_routes(service: Service) -> APIRouter:
    """The part of /api/atlas that runs a model."""
    router = APIRouter(prefix="/api/atlas", tags=["page"])

    @router.post("/depth")
    async def depth(request: HTTPRequest, asked: DepthRequest) -> DepthShape:
        """What the model would say after each block, with some blocks left out."""
        async with looked_into(service, request, asked.model, asked.tokens) as served:
            return await run_in_threadpool(_depth, served.lm, asked)

    @router.post("/surprise")
    async def surprise(request: HTTPRequest, asked: ReadRequest) -> SurpriseShape:
        """How probable each token was, and what was expected in its place."""
        async with looked_into(service, request, asked.model, asked.tokens) as served:
            return await run_in_threadpool(_surprise, served.lm, asked)

    @router.post("/window")
    async def window(request: HTTPRequest, asked: WindowRequest) -> WindowShape:
        """The surprise of the last tokens where no more than so many before them can be read."""
        if asked.window + asked.last > len(asked.tokens):
            message = f"the last {asked.last} cannot each be read with {asked.window} before them"
            raise ApiError(400, f"of {len(asked.tokens)} tokens, {message}", param="window")
        reads = asked.window * asked.last
        if reads > MAX_WINDOWED:
            message = f"{asked.last} windows of {asked.window} are {reads:,} tokens; {MAX_WINDOWED:,} are read at once"
            raise ApiError(400, message, param="last")
        async with looked_into(service, request, asked.model, asked.tokens, charge=reads) as served:
            bits: list[float] = []
            # In pieces, so that nobody waits long for what is no longer wanted.
            while len(bits) < asked.last:
                if await request.is_disconnected():
                    raise ClientGone
                bits += await run_in_threadpool(_window, served.lm, asked, len(bits))
        return WindowShape(bits=bits)

    @router.post("/steps")
    async def steps(request: HTTPRequest, asked: StepsRequest) -> StepsShape:
        """The next tokens, and the milliseconds that each took with the KV cache and without it."""
        charge = (asked.most + 1) * (len(asked.tokens) + asked.most)
        async with looked_into(service, request, asked.model, asked.tokens, charge=charge) as served:
            return await run_in_threadpool(_steps, served.lm, asked)

    @router.post("/choosing")
    async def choosing(request: HTTPRequest, asked: ChoosingRequest) -> ChoosingShape:
        """What can be drawn after the tokens under temperature, top-k, top-p, min-p and typical, each by itself."""
        async with looked_into(service, request, asked.model, asked.tokens) as served:
            return await run_in_threadpool(_choosing, served.lm, asked)

    return router


def _depth(lm: LanguageModel, asked: DepthRequest) -> DepthShape:
    answers = Trace(lm.model, asked.tokens).logits[0].argmax(-1)
    try:
        changes = without_blocks(lm.config.n_layers, asked.without)
    except BadInput as error:
        raise ApiError(400, str(error), param="without") from error
    stages = through_depth(Trace(lm.model, asked.tokens, replace=changes), answers)
    return DepthShape(
        answers=[token_shape(lm, id_) for id_ in answers.tolist()],
        stages=[
            DepthStage(
                name=stage.name,
                cells=[
                    CellShape(token=token_shape(lm, id_), probability=share, answer=answer, norm=norm)
                    for id_, share, answer, norm in zip(
                        *(each.tolist() for each in (stage.likeliest, stage.shares, stage.answers, stage.norms)),
                        strict=True,
                    )
                ],
            )
            for stage in stages
        ],
    )


def _surprise(lm: LanguageModel, asked: ReadRequest) -> SurpriseShape:
    logits = Trace(lm.model, asked.tokens).logits[0, :-1].float()
    return SurpriseShape(
        tokens=[
            SurprisingShape(
                logprob=logprob,
                likeliest=[LikelyShape(token=token_shape(lm, id_), probability=share) for id_, share in likeliest],
            )
            for logprob, likeliest in probabilities(logits, asked.tokens[1:], SHOWN)
        ]
    )


def _window(lm: LanguageModel, asked: WindowRequest, done: int) -> list[float]:
    """The next of the last tokens, after so many of them."""
    some = min(asked.last - done, max(1, WINDOWED_AT_ONCE // asked.window))
    tokens = asked.tokens[: len(asked.tokens) - asked.last + done + some]
    return surprise_within(lm.model, tokens, asked.window, some).tolist()


def _steps(lm: LanguageModel, asked: StepsRequest) -> StepsShape:
    steps = [
        StepShape(
            read=step.read,
            token=token_shape(lm, step.token),
            same=step.same,
            cached=1000 * step.cached,
            recomputed=1000 * step.recomputed,
            cache_bytes=step.cache_bytes,
        )
        for step in timed_steps(lm.model, asked.tokens, asked.most)
    ]
    return StepsShape(steps=steps, full=len(steps) < asked.most)


def _choosing(lm: LanguageModel, asked: ChoosingRequest) -> ChoosingShape:
    logits = Trace(lm.model, asked.tokens).logits[:, -1].float()
    shares = logits.softmax(-1)[0]
    drawn = {name: way.distribution(logits)[0] for name, way in asked.ways().items()}
    likeliest = shares.topk(min(MAX_LISTED, len(shares)))
    return ChoosingShape(
        entropy=float(-(shares * shares.clamp(min=1e-45).log2()).sum()),
        kept={
            name: KeptShape(tokens=int((each > 0).sum()), share=float(shares[each > 0].sum()))
            for name, each in drawn.items()
        },
        next=[
            ChoiceShape(
                token=token_shape(lm, id_),
                probability=share,
                drawn={name: float(each[id_]) for name, each in drawn.items()},
            )
            for share, id_ in zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True)
        ],
    )
