"""What a conversation in a request may hold: turns, tools that may be called, and calls that were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from cutaway.serve.limits import MAX_CALLS, MAX_MESSAGES, MAX_SCHEMA_BYTES, MAX_SCHEMA_DEPTH, MAX_TEXT

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Short = Annotated[str, StringConstraints(max_length=200)]
FunctionName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class Shape(BaseModel):
    """A part of a request: of exactly the types it names, and free to hold more than is read."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, protected_namespaces=())


class TextPart(Shape):
    """One part of a message's content; only text is understood."""

    type: Literal["text"]
    text: Text


class FunctionCall(Shape):
    """Which function an assistant called, and its arguments as JSON."""

    name: Short
    arguments: Text


class ToolCall(Shape):
    """One call in an assistant's message."""

    id: Short = ""
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(Shape):
    """One turn of a conversation. Keys that answers carry and questions do not need are passed over."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[TextPart], Field(max_length=MAX_MESSAGES)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=MAX_CALLS)] | None = None
    tool_call_id: Short | None = None

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


def _small(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema within bounds; what it means is for the constraint's compiler to judge."""
    layer: list[object] = [schema]
    for _ in range(MAX_SCHEMA_DEPTH):
        layer = [inner for outer in layer for inner in _inside(outer)]
        if not layer:
            break
    else:
        message = "a JSON schema may be at most {most} levels deep"
        raise PydanticCustomError("value", message, {"most": MAX_SCHEMA_DEPTH})
    if len(json.dumps(schema, allow_nan=False)) > MAX_SCHEMA_BYTES:
        raise PydanticCustomError("value", "a JSON schema may be at most {most} bytes long", {"most": MAX_SCHEMA_BYTES})
    return schema


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return cast("list[object]", value) if isinstance(value, list) else []


JsonSchema = Annotated[dict[str, Any], AfterValidator(_small)]


class Function(Shape):
    """A function that the model may call."""

    name: FunctionName
    description: Text | None = None
    parameters: JsonSchema | None = None
    """JSON schema of its arguments, an object; none where it takes none."""
    strict: bool | None = None


class Tool(Shape):
    """A tool that the model may call; only functions are understood."""

    type: Literal["function"]
    function: Function


class FunctionReference(Shape):
    """A function by its name."""

    name: FunctionName


class NamedTool(Shape):
    """The tool that must be called."""

    type: Literal["function"]
    function: FunctionReference


class NamedSchema(Shape):
    """The form that an answer must have."""

    name: FunctionName
    description: Text | None = None
    schema_: Annotated[JsonSchema, Field(alias="schema")]
    strict: bool | None = None


class TextFormat(Shape):
    """An answer of any form."""

    type: Literal["text"]


class JsonObjectFormat(Shape):
    """An answer that is a JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(Shape):
    """An answer that is JSON of one schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


def schema_of(format_: TextFormat | JsonObjectFormat | JsonSchemaFormat | None) -> Mapping[str, Any] | None:
    """The JSON schema that an answer in this form follows; None for any text."""
    if isinstance(format_, JsonObjectFormat):
        return {"type": "object"}
    return format_.json_schema.schema_ if isinstance(format_, JsonSchemaFormat) else None
