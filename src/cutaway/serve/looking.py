"""What all looks inside a model have in common: how much is looked into, of which models, and one look at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Request
from pydantic import Field

from cutaway.infer import LanguageModel
from cutaway.serve.errors import ApiError
from cutaway.serve.requests import TokenId
from cutaway.serve.service import Served, Service

MAX_READ = 512
"""Tokens of one text that is looked into; attention's numbers grow with the square of it."""

Ids = Annotated[list[TokenId], Field(min_length=1, max_length=MAX_READ)]


@asynccontextmanager
async def looked_into(
    service: Service, request: Request, model: str, tokens: Sequence[int], *, charge: int | None = None
) -> AsyncGenerator[Served]:
    """A model for as long as it is looked into; `charge` is how many tokens it reads, if not `tokens` alone.

    Raises:
        ApiError: 400, the model predicts no next token, or these are none it could read.
    """
    served = await service.served_or_kept(model, request)
    check_tokens(served.lm, tokens)
    reservation = service.rates.begin(served.caller, 1)
    try:
        # One look at a time: each takes all cores.
        async with service.looking:
            yield served
    finally:
        reservation.charge(len(tokens) if charge is None else charge)
        reservation.end()


def check_tokens(lm: LanguageModel, tokens: Sequence[int]) -> None:
    """Raise `ApiError` 400 where a model predicts no next token, or these are too many or none of its own."""
    config = lm.config
    if config.kind != "decoder" or config.head != "linear":
        raise ApiError(400, f"{lm.name} predicts no next token; looking inside needs a decoder", param="model")
    most = min(MAX_READ, config.context)
    if len(tokens) > most:
        raise ApiError(400, f"the text is {len(tokens)} tokens long; {most} can be looked into", param="tokens")
    wrong = next((id_ for id_ in tokens if id_ >= config.vocab_size), None)
    if wrong is not None:
        last = config.vocab_size - 1
        raise ApiError(400, f"{wrong} is no token of this model; they go from 0 to {last}", param="tokens")
