"""The shapes that OpenAI's answers share."""

from __future__ import annotations

import math
import secrets
import time
from typing import Literal

from pydantic import BaseModel

LEAST_LOGPROB = -9999.0
"""What OpenAI gives for a probability of nothing; JSON has no minus infinity."""


class ReadDetails(BaseModel):
    """Of the tokens that were read."""

    cached_tokens: int
    """Those that had been computed before."""


class WrittenDetails(BaseModel):
    """Of the tokens that were written."""

    reasoning_tokens: int


class Usage(BaseModel):
    """Tokens read and written. Tokens of a tool's result that the server put there are neither."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: ReadDetails
    completion_tokens_details: WrittenDetails

    @classmethod
    def of(cls, prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0) -> Usage:
        """The usage of a prompt and an answer of so many tokens."""
        return cls(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details=ReadDetails(cached_tokens=cached),
            completion_tokens_details=WrittenDetails(reasoning_tokens=reasoning),
        )


class ModelCard(BaseModel):
    """One model that can be asked for."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["cutaway"] = "cutaway"


class ModelList(BaseModel):
    """Answer to GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class ErrorDetail(BaseModel):
    """What was wrong."""

    message: str
    type: str
    param: str | None
    """The part of the request that was at fault."""
    code: str | None


class ErrorShape(BaseModel):
    """Every answer that is none."""

    error: ErrorDetail


def new_id(prefix: str) -> str:
    """An identifier for an answer, as "chatcmpl-3f…"."""
    return f"{prefix}-{secrets.token_hex(12)}"


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def finite(logprob: float) -> float:
    """A log-probability that JSON can say."""
    return logprob if math.isfinite(logprob) else LEAST_LOGPROB
