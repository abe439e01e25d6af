"""The events of a stream in OpenAI's manner."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from cutaway.serve.errors import describe_failure

DONE = {"data": "[DONE]"}
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
"""For the OpenAPI document: what comes with `stream: true`."""


def event(shape: BaseModel, *, keep_usage: bool) -> dict[str, str]:
    """One event. Clients tell an absent "usage" (not asked for) from a null one (asked for, and still to come)."""
    left_out = {name for name in ("usage",) if not keep_usage}
    told = shape.model_dump(mode="json", exclude=left_out)
    return {"data": json.dumps(told, ensure_ascii=False, separators=(",", ":"))}


def failure(error: Exception) -> dict[str, str]:
    """The last event of a stream that broke: the status is sent already, so the error comes as data."""
    return {"data": json.dumps(describe_failure(error).body(), ensure_ascii=False)}
