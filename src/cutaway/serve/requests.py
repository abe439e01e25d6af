"""What requests may hold, checked: the shapes that OpenAI's clients send, and the bounds on them."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from cutaway.infer import Sampling
from cutaway.serve.limits import (
    MAX_ALTERNATIVES,
    MAX_MESSAGES,
    MAX_STOP_LENGTH,
    MAX_STOPS,
    MAX_TEXT,
    MAX_TOKENS,
)

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=MAX_STOP_LENGTH)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]

_NOTHING = (None, [], {}, "")


class TextPart(BaseModel):
    """One part of a message's content; only text is understood."""

    type: Literal["text"]
    text: Text


class FunctionCall(BaseModel):
    """Which function an assistant called, and its arguments as JSON."""

    name: Annotated[str, StringConstraints(max_length=200)]
    arguments: Text


class ToolCall(BaseModel):
    """One call in an assistant's message."""

    id: Annotated[str, StringConstraints(max_length=200)] = ""
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(BaseModel):
    """One turn of a conversation. Keys that answers carry and questions do not need are passed over."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[TextPart], Field(max_length=MAX_MESSAGES)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=16)] | None = None
    tool_call_id: Annotated[str, StringConstraints(max_length=200)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise PydanticCustomError("value", f"a {self.role} message needs content")
        return self

    def plain(self) -> dict[str, Any]:
        """The message as the chat template takes it: text content, and "system" for OpenAI's "developer"."""
        content = self.content
        text = content if isinstance(content, str) else "".join(part.text for part in content or [])
        message: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role, "content": text}
        if self.tool_calls:
            message["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        return message


Messages = Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]


class StreamOptions(BaseModel):
    """What a stream carries besides the text."""

    include_usage: bool = False


class Request(BaseModel):
    """What every request for text has in common.

    A parameter of OpenAI's that this server does not carry out is refused unless its value asks for nothing, rather
    than passed over in silence; one that nobody knows is refused with the nearest name.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    harmless: ClassVar[Mapping[str, tuple[object, ...]]] = {}
    """Parameters that are not carried out, with the values that ask for nothing."""
    ignored: ClassVar[frozenset[str]] = frozenset()
    """Parameters that say nothing about the text."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        kept: dict[str, Any] = {}
        for name, value in data.items():
            if name in cls.model_fields:
                kept[name] = value
            elif name in cls.harmless:
                # `0 == False` and `1 == True`, which is harmless here too.
                if value is not None and value not in cls.harmless[name]:
                    raise PydanticCustomError("unsupported", _literal(_unsupported(name)), {"param": name})
            elif name not in cls.ignored:
                raise PydanticCustomError("unknown", _literal(cls._unknown(str(name))), {"param": str(name)[:80]})
        return kept

    @classmethod
    def _unknown(cls, name: str) -> str:
        near = difflib.get_close_matches(name[:80], cls.model_fields, n=1)
        return f"there is no parameter {name[:80]!r}" + (f"; did you mean {near[0]!r}?" if near else "")


class SamplingRequest(Request):
    """How the next token is chosen, and when to stop."""

    model: ModelName
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    seed: Seed | None = None

    def sampling(self) -> Sampling:
        """The same as inference takes it. OpenAI's default temperature is 1."""
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            # Without a seed every answer draws anew, whatever the state of a generator shared between requests.
            seed=secrets.randbits(62) if self.seed is None else self.seed,
        )


class OpenAIRequest(SamplingRequest):
    """What OpenAI's two ways of asking for text have in common."""

    harmless: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "n": (1,),
        "presence_penalty": (0,),
        "frequency_penalty": (0,),
        "logit_bias": _NOTHING,
    }
    ignored: ClassVar[frozenset[str]] = frozenset({"user"})

    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _options_of_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError("value", "stream_options needs stream: true", {"param": "stream_options"})
        return self

    @property
    def stops(self) -> list[str]:
        """The stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatCompletionRequest(OpenAIRequest):
    """POST /v1/chat/completions."""

    harmless: ClassVar[Mapping[str, tuple[object, ...]]] = {
        **OpenAIRequest.harmless,
        "tools": _NOTHING,
        "tool_choice": ("none", "auto"),
        "parallel_tool_calls": (True, False),
        "functions": _NOTHING,
        "function_call": ("none", "auto"),
        "response_format": ({"type": "text"},),
        "modalities": (["text"],),
        "audio": _NOTHING,
        "prediction": _NOTHING,
        "reasoning_effort": ("none",),
        "verbosity": ("medium",),
        "web_search_options": (),
    }
    ignored: ClassVar[frozenset[str]] = frozenset(
        {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
    )

    messages: Messages
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_ALTERNATIVES)] | None = None

    @model_validator(mode="after")
    def _top_of_something(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise PydanticCustomError("value", "top_logprobs needs logprobs: true", {"param": "top_logprobs"})
        return self


class CompletionRequest(OpenAIRequest):
    """POST /v1/completions."""

    harmless: ClassVar[Mapping[str, tuple[object, ...]]] = {
        **OpenAIRequest.harmless,
        "best_of": (1,),
        "echo": (False,),
        "suffix": _NOTHING,
    }

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]
    logprobs: Annotated[int, Field(ge=0, le=MAX_ALTERNATIVES)] | None = None

    @property
    def text(self) -> str:
        """The one prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


def _unsupported(name: str) -> str:
    reasons = {
        "n": "one answer a request is given (n: 1); ask again for another",
        "tools": "tools of the caller's are not supported: the server runs its own calculator; leave tools out",
    }
    return reasons.get(name, f"{name} is not supported by this server; leave it out")


def _literal(text: str) -> Any:
    """A message for PydanticCustomError, which would fill in anything between braces."""
    return text.replace("{", "(").replace("}", ")")
