"""Tokens as the page is told of them: by themselves, and in an answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from cutaway.serve.shapes import finite
from cutaway.serve.speech import Part, Piece, Tokenizing, token_text


class TokenShape(BaseModel):
    """A token by itself."""

    id: int
    text: str
    """As text; where its bytes are no whole characters, with replacement characters."""
    bytes: str
    """Its bytes in hexadecimal, two digits each; empty for a mark."""
    whole: bool
    """Whether its bytes are whole characters."""
    mark: bool
    """Whether it is one of the chat template's marks rather than text."""


class AlternativeShape(TokenShape):
    """A token that could stand in a place."""

    probability: float


class AnswerTokenShape(TokenShape):
    """A token of an answer."""

    adds: str
    """What it adds to the text: nothing while a character is incomplete, and for a mark."""
    part: Part | Literal["reasoning"]
    """Where it belongs; reasoning is what stands between <think> and </think>, where these are tokens."""
    forced: bool
    """Whether the server put it there (a tool's result) rather than the model."""
    logprob: float
    alternatives: list[AlternativeShape]
    """What else could have stood there, the likeliest first."""


def token_shape(lm: Tokenizing, token: int) -> TokenShape:
    """What there is to say of a token by itself."""
    text, whole = token_text(lm, token)
    mark = token in lm.tokenizer.special.values()
    return TokenShape(
        id=token, text=text, bytes="" if mark else lm.tokenizer.token_bytes(token).hex(), whole=whole, mark=mark
    )


def answer_token_shape(lm: Tokenizing, piece: Piece) -> AnswerTokenShape:
    """A token as it comes in an answer."""
    return AnswerTokenShape(
        **token_shape(lm, piece.id).model_dump(),
        adds=piece.text,
        part=piece.part,
        forced=piece.forced,
        logprob=finite(piece.logprob),
        alternatives=[
            AlternativeShape(**token_shape(lm, id_).model_dump(), probability=probability)
            for id_, probability in piece.alternatives
        ],
    )
