"""The shapes of a conversation's next turn: whole, and as the chunks of a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, SerializerFunctionWrapHandler, model_serializer

from cutaway.infer import LanguageModel
from cutaway.serve.calls import Arguments, Call
from cutaway.serve.shapes import Usage, finite
from cutaway.serve.speech import Piece, likeliest, token_text

Finish = Literal["stop", "length", "tool_calls"]


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


class FunctionCallShape(BaseModel):
    """Which function is called, and with what, as JSON."""

    name: str
    arguments: str


class ToolCallShape(BaseModel):
    """One call of a tool, for the caller to carry out."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCallShape

    @classmethod
    def begun(cls, call: Call) -> ToolCallShape:
        """A call whose arguments are still to come."""
        return cls(id=call.id, function=FunctionCallShape(name=call.name, arguments=""))


class AssistantMessage(BaseModel):
    """The assistant's turn."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    reasoning: str | None = None
    """What it wrote between <think> and </think>."""
    refusal: None = None
    tool_calls: list[ToolCallShape] | None = None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
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


class Delta(BaseModel):
    """What a chunk adds; what it does not add is left out."""

    @model_serializer(mode="wrap")
    def _what_there_is(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class FunctionDelta(Delta):
    """The name of the function that is called, and then its arguments piece by piece."""

    name: str | None = None
    arguments: str


class ToolCallDelta(Delta):
    """A call begins, or goes on."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionDelta

    @classmethod
    def of(cls, new: Call | Arguments) -> ToolCallDelta:
        """What is new of a call."""
        if isinstance(new, Arguments):
            return cls(index=new.index, function=FunctionDelta(arguments=new.text))
        return cls(index=new.index, id=new.id, type="function", function=FunctionDelta(name=new.name, arguments=""))


class ChatDelta(Delta):
    """What a chunk adds to an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChatChunkChoice(BaseModel):
    """The next part of one answer."""

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


def chat_logprobs(lm: LanguageModel, pieces: Iterable[Piece], top: int) -> ChatLogprobs:
    """Log-probabilities of these tokens, with `top` alternatives each."""
    return ChatLogprobs(
        content=[
            TokenLogprob(
                **_token(lm, piece.id, piece.logprob).model_dump(),
                top_logprobs=[_token(lm, id_, logprob) for id_, logprob in likeliest(piece, top)],
            )
            for piece in pieces
        ]
    )


def _token(lm: LanguageModel, token: int, logprob: float) -> TopLogprob:
    return TopLogprob(
        token=token_text(lm, token)[0], logprob=finite(logprob), bytes=list(lm.tokenizer.token_bytes(token))
    )
