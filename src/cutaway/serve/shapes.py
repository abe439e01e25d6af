"""The shapes of OpenAI's answers: whole ones and the chunks of a stream."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, Field

from cutaway.infer import LanguageModel
from cutaway.serve.speech import Piece, token_text

LEAST_LOGPROB = -9999.0
"""What OpenAI gives for a probability of nothing; JSON has no minus infinity."""

Finish = Literal["stop", "length"]


class Usage(BaseModel):
    """Tokens read and written. Tokens of a tool's result are neither."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, prompt: int, completion: int) -> Usage:
        """The usage of a prompt and an answer of so many tokens."""
        return cls(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


class TopLogprob(BaseModel):
    """A token that could stand in a place, with the natural logarithm of its probability there."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """A token that does stand there, with the most probable ones."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    """Of every token of an answer's text."""

    content: list[TokenLogprob]
    refusal: None = None


class AssistantMessage(BaseModel):
    """The assistant's turn."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """The one answer."""

    index: int = 0
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: Finish


class ChatCompletion(BaseModel):
    """Answer to POST /v1/chat/completions."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class ChatDelta(BaseModel):
    """What a chunk adds."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatChunkChoice(BaseModel):
    """The one answer's next part."""

    index: int = 0
    delta: ChatDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: Finish | None = None


class ChatCompletionChunk(BaseModel):
    """One event of a streamed chat completion."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | None = None


class TextLogprobs(BaseModel):
    """The older shape of log-probabilities, of /v1/completions."""

    tokens: list[str] = Field(default_factory=list)
    token_logprobs: list[float] = Field(default_factory=list)
    top_logprobs: list[dict[str, float]] = Field(default_factory=list)
    text_offset: list[int] = Field(default_factory=list)


class TextChoice(BaseModel):
    """The one continuation, or its next part."""

    index: int = 0
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: Finish | None = None


class Completion(BaseModel):
    """Answer to POST /v1/completions, and one event of it streamed."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None


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


def new_id(prefix: str) -> str:
    """An identifier for an answer, as "chatcmpl-3f…"."""
    return f"{prefix}-{secrets.token_hex(12)}"


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def finite(logprob: float) -> float:
    """A log-probability that JSON can say."""
    return logprob if math.isfinite(logprob) else LEAST_LOGPROB


def chat_logprobs(lm: LanguageModel, pieces: Iterable[Piece], top: int) -> ChatLogprobs:
    """Log-probabilities of the answer's tokens among `pieces`, with `top` alternatives each."""
    return ChatLogprobs(
        content=[
            TokenLogprob(
                **_token(lm, piece.id, piece.logprob).model_dump(),
                top_logprobs=[_token(lm, id_, _log(probability)) for id_, probability in piece.alternatives[:top]],
            )
            for piece in pieces
        ]
    )


def text_logprobs(lm: LanguageModel, pieces: Iterable[Piece], top: int, offset: int) -> TextLogprobs:
    """The same in the older shape; `offset` is the position of the first piece's text, in characters."""
    shaped = TextLogprobs()
    for piece in pieces:
        shaped.tokens.append(token_text(lm, piece.id)[0])
        shaped.token_logprobs.append(finite(piece.logprob))
        shaped.top_logprobs.append({token_text(lm, id_)[0]: _log(p) for id_, p in piece.alternatives[:top]})
        shaped.text_offset.append(offset)
        offset += len(piece.text)
    return shaped


def _token(lm: LanguageModel, token: int, logprob: float) -> TopLogprob:
    return TopLogprob(
        token=token_text(lm, token)[0], logprob=finite(logprob), bytes=list(lm.tokenizer.token_bytes(token))
    )


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else LEAST_LOGPROB
