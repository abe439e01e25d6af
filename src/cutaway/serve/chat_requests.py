"""What a request for the next turn of a conversation may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cutaway.serve.limits import MAX_ALTERNATIVES, MAX_TOKENS, MAX_TOOLS
from cutaway.serve.messages import Function, Messages, NamedTool, ResponseFormat, TextFormat, Tool, schema_of
from cutaway.serve.requests import BEAMS, CONTRAST, NOTHING, OpenAIRequest, examples


class ChatCompletionRequest(OpenAIRequest):
    """POST /v1/chat/completions."""

    harmless: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "functions": NOTHING,
        "function_call": ("none", "auto"),
        "modalities": (["text"],),
        "audio": NOTHING,
        "prediction": NOTHING,
        "reasoning_effort": ("none",),
        "verbosity": ("medium",),
        "web_search_options": (),
        "moderation": NOTHING,
    }
    ignored: ClassVar[frozenset[str]] = frozenset(
        {
            "user", "metadata", "store", "service_tier", "safety_identifier",
            "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
        }
    )  # fmt: skip

    model_config = examples(
        {
            "model": "demo",
            "messages": [{"role": "user", "content": "Who are you?"}],
            "max_tokens": 16,
            "temperature": 0.8,
            "top_p": 0.95,
            "seed": 1,
            "stop": ["\n"],
            "n": 2,
            "stream": True,
            "stream_options": {"include_usage": True},
            "logprobs": True,
            "top_logprobs": 2,
        },
        {
            "model": "demo",
            "messages": [{"role": "user", "content": "What is 2 + 2?"}],
            "max_completion_tokens": 16,
            "top_k": 40,
            "min_p": 0.05,
            "typical_p": 0.95,
            "presence_penalty": 0.5,
            "frequency_penalty": 0.5,
            "repetition_penalty": 1.1,
            "logit_bias": {"50": -5},
        },
        {
            "model": "demo",
            "messages": [{"role": "user", "content": "Is it warm in Rome?"}],
            "max_tokens": 16,
            "tools": [{"type": "function", "function": {"name": "weather"}}],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        },
        {
            "model": "demo",
            "messages": [{"role": "user", "content": "Who are you?"}],
            "max_tokens": 16,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "name", "schema": {"type": "string", "maxLength": 8}},
            },
        },
        {"model": "demo", "messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 8, **BEAMS},
        {"model": "demo", "messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 8, **CONTRAST},
    )

    messages: Messages
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_ALTERNATIVES)] | None = None
    tools: Annotated[list[Tool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise PydanticCustomError("value", "top_logprobs needs logprobs: true", {"param": "top_logprobs"})
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise PydanticCustomError("value", "two tools have the same name", {"param": "tools"})
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.function.name not in names:
            raise PydanticCustomError("value", "tool_choice names none of the tools", {"param": "tool_choice"})
        if self.tool_choice == "required" and not names:
            raise PydanticCustomError("value", "tool_choice: required needs tools", {"param": "tool_choice"})
        if self.must_call and self.schema_ is not None:
            message = "an answer cannot both call a tool and follow a response_format; leave one of the two out"
            raise PydanticCustomError("value", message, {"param": "response_format"})
        if self.search and (self.must_call or self.schema_ is not None):
            message = "a search goes by the model's own probabilities, not by a grammar; leave one of the two out"
            param = "tool_choice" if self.must_call else "response_format"
            raise PydanticCustomError("value", message, {"param": param})
        return self

    @property
    def schema_(self) -> Mapping[str, Any] | None:
        """The JSON schema that the answer follows."""
        return None if isinstance(self.response_format, TextFormat) else schema_of(self.response_format)

    @property
    def functions(self) -> list[Function]:
        """The functions that may be called in the answer."""
        if self.tool_choice == "none":
            return []
        named = self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else None
        return [tool.function for tool in self.tools or () if named in (None, tool.function.name)]

    @property
    def must_call(self) -> bool:
        """Whether the answer must be a call."""
        return self.tool_choice == "required" or isinstance(self.tool_choice, NamedTool)

    @property
    def one_call(self) -> bool:
        """Whether one call is all that the answer may make: so it is asked for, or the function is named."""
        return self.parallel_tool_calls is False or isinstance(self.tool_choice, NamedTool)

    @property
    def most_tokens(self) -> int | None:
        """Tokens that the answer may have, reasoning included."""
        return self.max_completion_tokens or self.max_tokens
