"""What the page is told while an answer comes, as server-sent events, and what of it is kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import TypedDict

from cutaway.serve.shapes import ErrorShape
from cutaway.serve.token_shapes import AnswerTokenShape

Finish = Literal["stop", "length"]


class StartShape(BaseModel):
    """Before the first token."""

    prompt_tokens: int
    context: int
    """How many tokens the model can take in at once."""
    left_out: int
    """Messages that the model did not read, because the context is too small for all: the oldest."""


class ToolUseShape(BaseModel):
    """A tool that was used."""

    name: str
    arguments: str
    result: str


class DoneShape(BaseModel):
    """After the last token."""

    finish: Finish
    """By the model's own will ("stop"), or for want of room or time."""
    tokens: int
    """That the model itself wrote."""
    seconds: float


class StartEvent(BaseModel):
    """The first event."""

    event: Literal["start"]
    data: StartShape


class TokenEvent(BaseModel):
    """A token."""

    event: Literal["token"]
    data: AnswerTokenShape


class ToolEvent(BaseModel):
    """A tool's use."""

    event: Literal["tool"]
    data: ToolUseShape


class DoneEvent(BaseModel):
    """The last event."""

    event: Literal["done"]
    data: DoneShape


class ErrorEvent(BaseModel):
    """The last event where something went wrong."""

    event: Literal["error"]
    data: ErrorShape


ChatEvent = StartEvent | TokenEvent | ToolEvent | DoneEvent | ErrorEvent


class KeptDetail(TypedDict, total=False):
    """What an answer's turn has beside its text."""

    tokens: list[AnswerTokenShape]
    tools: list[ToolUseShape]
    finish: Finish
    prompt_tokens: int
    context: int
    left_out: int
    seconds: float


@dataclass(frozen=True)
class Described:
    """In the OpenAPI document, a value is of this type; what it is held to here is another."""

    type: Any

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of that type."""
        return handler(TypeAdapter(self.type).core_schema)


def told(event: ChatEvent) -> dict[str, str]:
    """An event as it is sent."""
    return {"event": event.event, "data": json.dumps(event.data.model_dump(), ensure_ascii=False, allow_nan=False)}
