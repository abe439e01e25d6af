"""POST /v1/embeddings: texts as vectors."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from fastapi import APIRouter, Request
from jaxtyping import Float
from starlette.concurrency import run_in_threadpool
from torch import Tensor

from cutaway.infer import LanguageModel
from cutaway.infer.language_model import pooled
from cutaway.runs import CutawayError
from cutaway.serve.answering import ClientGone
from cutaway.serve.errors import ApiError
from cutaway.serve.record import record_of
from cutaway.serve.service import Service, token_ids
from cutaway.serve.text_requests import EmbeddingRequest
from cutaway.serve.text_shapes import EmbeddingList, EmbeddingShape, EmbeddingUsage

MAX_TOKENS = 300_000
"""Tokens in one request."""
BATCH_TOKENS = 8192
"""Tokens, padding included, that go through the model at once."""


def embedding_routes(service: Service) -> APIRouter:
    """The one route."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    @router.post("/embeddings")
    async def embed(request: Request, asked: EmbeddingRequest) -> EmbeddingList:
        served = await service.served(asked.model, request)
        lm, record = served.lm, record_of(request)
        if asked.dimensions not in (None, lm.config.d_model):
            raise ApiError(
                400,
                f"vectors of {served.name} have {lm.config.d_model} dimensions, and it was not trained to be shortened",
                param="dimensions",
                code="unsupported",
            )
        texts = await run_in_threadpool(lambda: [_read(lm, text, i) for i, text in enumerate(asked.inputs)])
        total = sum(map(len, texts))
        if total > MAX_TOKENS:
            raise ApiError(400, f"the texts have {total} tokens; {MAX_TOKENS} are read at once", param="input")
        reservation = service.rates.begin(served.caller, 1)
        record.prompt_tokens = total
        vectors = torch.empty(len(texts), lm.config.d_model)
        try:
            async with service.embedding:
                for rows in batches([len(text) for text in texts]):
                    if await request.is_disconnected():
                        raise ClientGone
                    vectors[rows] = await run_in_threadpool(embedded, lm, [texts[row] for row in rows])
        finally:
            reservation.charge(total)
            reservation.end()
        return EmbeddingList(
            model=asked.model,
            data=[
                EmbeddingShape(index=i, embedding=_shaped(vector, asked.encoding_format))
                for i, vector in enumerate(vectors.numpy())
            ],
            usage=EmbeddingUsage(prompt_tokens=total, total_tokens=total),
        )

    return router


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Which texts go through the model together: those of like length, and no more than fit into `BATCH_TOKENS`."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if batch and lengths[row] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    yield batch


@torch.inference_mode()
def embedded(lm: LanguageModel, texts: Sequence[Sequence[int]]) -> Float[Tensor, "text d_model"]:
    """Each text's token ids as one vector of length one: the mean of its tokens' last hidden states.

    Raises `CutawayError` where that is no number.
    """
    encoder = lm.model.encoder if lm.config.kind == "encoder-decoder" else lm.model
    assert encoder is not None
    vectors = pooled(lm.model, encoder, texts).float()
    if not bool(vectors.isfinite().all()):
        raise CutawayError("the model makes no numbers of a text; its weights may be damaged")
    return vectors


def _read(lm: LanguageModel, text: str | Sequence[int], at: int) -> list[int]:
    """A text's token ids. Raises `ApiError` 400 where there are more than the model can take in."""
    ids = token_ids(lm, text)
    if len(ids) > lm.config.context:
        raise ApiError(
            400,
            f"text {at} is {len(ids)} tokens long and the model's context is {lm.config.context}; divide it",
            param=f"input.{at}",
            code="context_length_exceeded",
        )
    return ids


def _shaped(vector: np.ndarray, encoding: str | None) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return vector.tolist()
