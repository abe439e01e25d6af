"""The shapes of what comes of texts: continuations, vectors, tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, Field

from cutaway.infer import LanguageModel
from cutaway.serve.shapes import Usage, finite
from cutaway.serve.speech import Piece, likeliest, token_text


class TextLogprobs(BaseModel):
    """The older shape of log-probabilities, of /v1/completions.

    The token that ended the text is among them, as the last; the first of an echoed prompt has none.
    """

    tokens: list[str] = Field(default_factory=list)
    token_logprobs: list[float | None] = Field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] = Field(default_factory=list)
    text_offset: list[int] = Field(default_factory=list)


class TextChoice(BaseModel):
    """One continuation, or its next part."""

    index: int = 0
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None = None


class Completion(BaseModel):
    """Answer to POST /v1/completions, and one event of it streamed."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None


class EmbeddingShape(BaseModel):
    """One text as a vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    """Numbers, or their little-endian 32-bit floats in base64."""


class EmbeddingUsage(BaseModel):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """Answer to POST /v1/embeddings."""

    object: Literal["list"] = "list"
    model: str
    data: list[EmbeddingShape]
    usage: EmbeddingUsage


class TokenCount(BaseModel):
    """Answer to POST /tokenize."""

    count: int
    max_model_len: int
    """Tokens that the model can take in at once."""
    tokens: list[int]
    token_strs: list[str] | None = None


class Detokenized(BaseModel):
    """Answer to POST /detokenize."""

    prompt: str


def text_logprobs(lm: LanguageModel, pieces: Iterable[Piece], top: int, offset: int) -> TextLogprobs:
    """Log-probabilities in the older shape; `offset` is the position of the first piece's text, in characters."""
    shaped = TextLogprobs()
    for piece in pieces:
        shaped.tokens.append(token_name(lm, piece.id))
        shaped.token_logprobs.append(finite(piece.logprob))
        named: dict[str, float] = {}
        for id_, logprob in likeliest(piece, top):
            named.setdefault(token_name(lm, id_), logprob)
        shaped.top_logprobs.append(named)
        shaped.text_offset.append(offset)
        offset += len(piece.text)
    return shaped


def token_name(lm: LanguageModel, token: int) -> str:
    r"""A token as text, or as OpenAI writes one whose bytes are no whole characters: `bytes:\xe2\x82`."""
    text, whole = token_text(lm, token)
    return text if whole else "bytes:" + "".join(f"\\x{byte:02x}" for byte in lm.tokenizer.token_bytes(token))
