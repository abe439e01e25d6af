"""The page's view inside a model: one reading of a text, any tensor of it, and what changes when one is changed."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from fastapi import APIRouter
from fastapi import Request as HTTPRequest
from fastapi.responses import Response
from pydantic import BaseModel, Field, StringConstraints
from starlette.concurrency import run_in_threadpool
from torch import Tensor

from cutaway.infer import LanguageModel, Sampling
from cutaway.lens import Clamp, OneHead, Swap, Trace, changed_by, logit_lens, one_head, part
from cutaway.runs import BadInput
from cutaway.serve.errors import ApiError
from cutaway.serve.limits import MAX_TOKENIZE
from cutaway.serve.looking import MAX_READ, Ids, check_tokens, looked_into
from cutaway.serve.numbers import RESPONSES, numbers
from cutaway.serve.page_api import TokenShape, token_shape
from cutaway.serve.requests import ModelName, Request, TokenId, examples
from cutaway.serve.service import Service, must_write

MAX_EDITS = 32
MAX_AXES = 5
MAX_LISTED = 200
"""Next tokens that are listed, the likeliest first."""
LENS_TOKENS = 5
"""Tokens of each stage of the logit lens."""
MAX_SENT = 4 << 20
"""Numbers of one tensor that are sent at once."""

TensorName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Axis = Annotated[int, Field(ge=0, lt=2**31)] | None


class Edit(BaseModel):
    """A change to the pass: `value` put at a place of a tensor, or what `tokens` have there."""

    name: TensorName
    place: list[Axis] = Field(default=[], max_length=MAX_AXES)
    """Axis by axis of one text's tensor; null, and every axis not named, is all of it."""
    kind: Literal["clamp", "swap"] = "clamp"
    value: Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)] = 0.0
    tokens: list[TokenId] = Field(default=[], max_length=MAX_READ)

    def plain(self) -> Clamp | Swap:
        """The same as the lens takes it."""
        if self.kind == "clamp":
            return Clamp(self.name, tuple(self.place), self.value)
        return Swap(self.name, tuple(self.place), tuple(self.tokens))


class ReadRequest(Request):
    """What every look inside says: the model, what it reads, and what is changed on the way."""

    model: ModelName
    tokens: Ids
    edits: list[Edit] = Field(default=[], max_length=MAX_EDITS)


class LookRequest(ReadRequest):
    """POST /api/inside: what the model makes of one position."""

    model_config = examples(
        {
            "model": "demo",
            "tokens": [10, 20, 30],
            "edits": [{"name": "blocks.0.hook_resid_post", "place": [1, None], "kind": "clamp", "value": 0.5}],
            "position": 2,
            "temperature": 0.8,
            "top_k": 40,
            "top_p": 0.95,
        }
    )

    position: Annotated[int, Field(ge=0, lt=MAX_READ)] | None = None
    """Whose next token is told; the last one's if none is named."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_k: Annotated[int, Field(ge=0, le=100_000)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0


class TensorRequest(ReadRequest):
    """POST /api/inside/tensor: the numbers of a tensor, or of a place in it."""

    model_config = examples(
        {
            "model": "demo",
            "tokens": [10, 20, 30],
            "name": "blocks.0.attn.hook_pattern",
            "place": [0],
            "edits": [{"name": "blocks.0.hook_resid_pre", "place": [0], "kind": "swap", "tokens": [30, 20, 10]}],
        }
    )

    name: TensorName
    place: list[Axis] = Field(default=[], max_length=MAX_AXES)


class HeadRequest(ReadRequest):
    """POST /api/inside/head: one attention head, where one position asks."""

    model_config = examples(
        {
            "model": "demo",
            "tokens": [10, 20, 30],
            "edits": [{"name": "blocks.0.mlp.hook_out", "value": 0.0}],
            "block": 0,
            "head": 1,
            "position": 2,
        }
    )

    block: Annotated[int, Field(ge=0, lt=2**31)]
    head: Annotated[int, Field(ge=0, lt=2**31)]
    position: Annotated[int, Field(ge=0, lt=MAX_READ)]


class ReadTextRequest(Request):
    """POST /api/inside/tokens: a text as the beginning of a document, as the model would read it."""

    model_config = examples({"model": "demo", "text": "The sky is"})

    model: ModelName
    text: Annotated[str, StringConstraints(max_length=MAX_TOKENIZE)]


class AnatomyShape(BaseModel):
    """The model's shape, by the names of its configuration."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    vocab_size: int
    context: int
    parameters: int
    norm: str
    activation: str
    attention_scale: float
    """What attention scores are multiplied by."""
    attention_softcap: float | None
    """Then scores s become cap·tanh(s/cap)."""
    gated: bool
    tied_embeddings: bool


class ReadShape(BaseModel):
    """Answer to POST /api/inside/tokens."""

    tokens: list[TokenShape]
    anatomy: AnatomyShape
    most: int
    """How many tokens of a text can be looked into."""


class NextShape(BaseModel):
    """One possible next token."""

    token: TokenShape
    logit: float
    probability: float
    """The model's own."""
    drawn: float
    """Under the temperature, top-k and top-p that were asked for: 0 where they leave it out."""
    unchanged: float
    """The model's own probability without the edits."""


class LensToken(BaseModel):
    """A token that the logit lens reads off a stage."""

    token: TokenShape
    probability: float


class LookShape(BaseModel):
    """Answer to POST /api/inside."""

    position: int
    next: list[NextShape]
    """The likeliest, with and without the edits."""
    lens: list[list[LensToken]]
    """Before the first block and after each, the likeliest tokens as the final norm and unembedding read the stream."""
    names: list[str]
    """Every tensor of the pass, in its order."""


def inside_routes(service: Service) -> APIRouter:
    """Everything under /api/inside."""
    router = APIRouter(prefix="/api/inside", tags=["page"])

    @router.post("/tokens")
    async def read(request: HTTPRequest, asked: ReadTextRequest) -> ReadShape:
        """A text as tokens, and the model's shape."""
        lm = (await service.served_or_kept(asked.model, request)).lm
        must_write(lm)
        ids = await run_in_threadpool(lm.tokenizer.document, asked.text)
        return ReadShape(
            tokens=[token_shape(lm, id_) for id_ in ids], anatomy=_anatomy(lm), most=min(MAX_READ, lm.config.context)
        )

    @router.post("")
    async def look(request: HTTPRequest, asked: LookRequest) -> LookShape:
        """What follows a position, with the edits and without, and how the answer comes about block by block."""
        async with looked_into(service, request, asked.model, asked.tokens) as served:
            return await run_in_threadpool(_looked, served.lm, asked)

    @router.post("/tensor", response_class=Response, responses=RESPONSES)
    async def tensor(request: HTTPRequest, asked: TensorRequest) -> Response:
        """Little-endian float32 numbers; the headers `X-Tensor` and `X-Shape` say of what, and in which shape."""
        async with looked_into(service, request, asked.model, asked.tokens) as served:
            found = await run_in_threadpool(_tensor, served.lm, asked)
        return numbers(found.numpy(), **{"X-Tensor": asked.name})

    @router.post("/head", response_class=Response, responses=RESPONSES)
    async def head(request: HTTPRequest, asked: HeadRequest) -> Response:
        """q, k, scores, pattern, v and z, one after the other, as float32; `X-Tensors` has their names."""
        async with looked_into(service, request, asked.model, asked.tokens) as served:
            found = await run_in_threadpool(_head, served.lm, asked)
        joined = torch.cat([each.flatten() for each in found.parts])
        return numbers(joined.numpy(), **{"X-Tensors": ",".join(found.names)})

    return router


def _trace(lm: LanguageModel, asked: ReadRequest) -> Trace:
    for edit in asked.edits:
        if edit.kind == "swap":
            if not edit.tokens:
                raise ApiError(400, "a swap needs the other text's tokens", param="edits")
            check_tokens(lm, edit.tokens)
    return Trace(lm.model, asked.tokens, replace=changed_by(lm.model, [edit.plain() for edit in asked.edits]))


def _tensor(lm: LanguageModel, asked: TensorRequest) -> Tensor:
    try:
        found = part(asked.name, _trace(lm, asked)[asked.name], tuple(asked.place))[0].float().contiguous()
    except BadInput as error:
        raise ApiError(400, str(error), param="name") from error
    if found.numel() > MAX_SENT:
        message = f"{asked.name} has {found.numel():,} numbers here; {MAX_SENT:,} are sent at once: name a place in it"
        raise ApiError(400, message, param="place")
    return found


def _head(lm: LanguageModel, asked: HeadRequest) -> OneHead:
    try:
        return one_head(_trace(lm, asked), asked.block, asked.head, asked.position)
    except BadInput as error:
        raise ApiError(400, str(error)) from error


def _looked(lm: LanguageModel, asked: LookRequest) -> LookShape:
    position = len(asked.tokens) - 1 if asked.position is None else asked.position
    try:
        trace = _trace(lm, asked)
        stages = logit_lens(trace, position)
    except BadInput as error:
        raise ApiError(400, str(error)) from error
    logits = trace.logits[0, position].float()
    shares = stages[-1]
    unchanged = Trace(lm.model, asked.tokens).logits[0, position].float().softmax(-1) if asked.edits else shares
    sampling = Sampling(temperature=asked.temperature, top_k=asked.top_k, top_p=asked.top_p)
    drawn = sampling.distribution(logits[None])[0]
    listed = torch.cat([shares.topk(min(MAX_LISTED, len(shares))).indices, unchanged.topk(10).indices]).unique()
    listed = listed[shares[listed].argsort(descending=True, stable=True)]
    return LookShape(
        position=position,
        next=[
            NextShape(
                token=token_shape(lm, id_),
                logit=float(logits[id_]),
                probability=float(shares[id_]),
                drawn=float(drawn[id_]),
                unchanged=float(unchanged[id_]),
            )
            for id_ in listed.tolist()
        ],
        lens=[
            [
                LensToken(token=token_shape(lm, id_), probability=float(stage[id_]))
                for id_ in stage.topk(min(LENS_TOKENS, len(stage))).indices.tolist()
            ]
            for stage in stages
        ],
        names=list(trace.names.shapes),
    )


def _anatomy(lm: LanguageModel) -> AnatomyShape:
    config = lm.config
    return AnatomyShape(
        n_layers=config.n_layers,
        n_heads=config.n_heads,
        n_kv_heads=config.n_kv_heads,
        d_model=config.d_model,
        d_head=config.d_head,
        d_mlp=config.d_mlp,
        vocab_size=config.vocab_size,
        context=config.context,
        parameters=lm.model.n_parameters(),
        norm=config.norm,
        activation=config.activation,
        attention_scale=config.scale,
        attention_softcap=config.attention_softcap,
        gated=config.gated,
        tied_embeddings=config.tied_embeddings,
    )
