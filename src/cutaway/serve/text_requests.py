"""What requests about texts may hold: to go on with them, to make vectors of them, to see them as tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cutaway.serve.limits import MAX_ALTERNATIVES, MAX_IDS, MAX_INPUTS, MAX_PROMPTS, MAX_TOKENS
from cutaway.serve.messages import Messages, Text
from cutaway.serve.requests import BEAMS, CONTRAST, NOTHING, Count, ModelName, OpenAIRequest, Request, TokenId, examples

Ids = Annotated[list[TokenId], Field(min_length=1, max_length=MAX_IDS)]
Read = str | list[int]
"""A text, or the token ids of one."""


class CompletionRequest(OpenAIRequest):
    """POST /v1/completions."""

    harmless: ClassVar[Mapping[str, tuple[object, ...]]] = {"suffix": NOTHING}

    model_config = examples(
        {
            "model": "demo",
            "prompt": "The sky is",
            "max_tokens": 16,
            "temperature": 0.8,
            "top_p": 0.95,
            "seed": 1,
            "stop": ["\n"],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        {
            "model": "demo",
            "prompt": ["The sky is", "In the beginning"],
            "max_tokens": 4,
            "echo": True,
            "logprobs": 2,
            "n": 1,
            "best_of": 2,
            "top_k": 40,
            "min_p": 0.05,
            "typical_p": 0.95,
            "presence_penalty": 0.5,
            "frequency_penalty": 0.5,
            "repetition_penalty": 1.1,
            "logit_bias": {"50": -5},
        },
        {"model": "demo", "prompt": [10, 20, 30], "max_tokens": 8, **BEAMS},
        {"model": "demo", "prompt": "The sky is", "max_tokens": 8, **CONTRAST},
    )

    prompt: (
        Text
        | Ids
        | Annotated[list[Text], Field(min_length=1, max_length=MAX_PROMPTS)]
        | Annotated[list[Ids], Field(min_length=1, max_length=MAX_PROMPTS)]
    )
    # Unlike in a chat none may be asked for: with `echo` that gives the prompt's own log-probabilities.
    max_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_ALTERNATIVES)] | None = None
    echo: bool | None = None
    best_of: Count | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.max_tokens == 0 and not self.echo:
            raise PydanticCustomError("value", "max_tokens: 0 needs echo: true", {"param": "max_tokens"})
        if self.best_of is not None and self.best_of < self.choices:
            raise PydanticCustomError("value", "best_of must be at least n", {"param": "best_of"})
        if self.best_of is not None and self.best_of > self.choices and self.stream:
            message = "the best of several answers is known at their end: best_of needs stream: false"
            raise PydanticCustomError("value", message, {"param": "best_of"})
        if self.stream and self.echo and self.logprobs is not None and self.choices > 1:
            message = "a prompt echoed with its log-probabilities streams with one answer: n must be 1"
            raise PydanticCustomError("value", message, {"param": "n"})
        if self.search and self.tried > self.choices:
            message = "a search finds the best texts itself: leave best_of out"
            raise PydanticCustomError("value", message, {"param": "best_of"})
        if self.search and self.echo and (self.logprobs is not None or self.max_tokens == 0):
            message = "a search does not tell the prompt's log-probabilities: leave echo out"
            raise PydanticCustomError("value", message, {"param": "echo"})
        return self

    @property
    def choices(self) -> int:
        """Answers to each prompt that are given."""
        return self.n or 1

    @property
    def tried(self) -> int:
        """Answers to each prompt that are written."""
        return max(self.best_of or 1, self.choices)

    @property
    def prompts(self) -> list[Read]:
        """The prompts, one or more."""
        return one_or_more(self.prompt)


class EmbeddingRequest(Request):
    """POST /v1/embeddings."""

    model_config = examples(
        {"model": "demo", "input": ["The sky is blue.", "Who are you?"], "encoding_format": "float"},
        {"model": "demo", "input": [10, 20, 30]},
    )
    ignored: ClassVar[frozenset[str]] = frozenset({"user"})

    model: ModelName
    input: (
        Text
        | Ids
        | Annotated[list[Text], Field(min_length=1, max_length=MAX_INPUTS)]
        | Annotated[list[Ids], Field(min_length=1, max_length=MAX_INPUTS)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    @property
    def inputs(self) -> list[Read]:
        """The texts, one or more."""
        return one_or_more(self.input)


class TokenizeTextRequest(Request):
    """POST /tokenize: a text, or a conversation as the chat template puts it before the model."""

    model_config = examples(
        {"model": "demo", "prompt": "The sky is", "add_special_tokens": False, "return_token_strs": True},
        {
            "model": "demo",
            "messages": [{"role": "user", "content": "Who are you?"}],
            "add_generation_prompt": True,
        },
    )

    model: ModelName
    prompt: Text | None = None
    messages: Messages | None = None
    add_special_tokens: bool | None = None
    """Whether to add the tokens that begin a document, as POST /v1/completions does; of a text alone."""
    add_generation_prompt: bool | None = None
    """Whether to end with the assistant's opening, as POST /v1/chat/completions does; of a conversation alone."""
    return_token_strs: bool | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise PydanticCustomError("value", "give either prompt or messages")
        return self


class DetokenizeRequest(Request):
    """POST /detokenize."""

    model_config = examples({"model": "demo", "tokens": [10, 20, 30]})

    model: ModelName
    tokens: Annotated[list[TokenId], Field(max_length=MAX_IDS)]


def one_or_more(value: str | list[int] | list[str] | list[list[int]]) -> list[Read]:
    """Several texts or lists of ids, where there may be one that stands by itself."""
    if isinstance(value, str):
        return [value]
    if isinstance(value[0], int):
        return [[id_ for id_ in value if isinstance(id_, int)]]
    return [item for item in value if not isinstance(item, int)]
