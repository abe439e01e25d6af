"""What is kept of every request: a line of JSON in the log and numbers for Prometheus, neither with any content."""

from __future__ import annotations

import json
import logging
import secrets
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cutaway.runs import BadInput
from cutaway.serve.metrics import Metrics

log = logging.getLogger("cutaway.serve.requests")

MAX_PATH = 200
"""Characters of a path that go into the log."""


@dataclass
class Record:
    """One request, filled in by whoever learns something about it."""

    id: str = field(default_factory=lambda: f"req-{secrets.token_hex(8)}")
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    caller: str | None = None
    model: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    first_token: float | None = None
    """Seconds from the request to the first token of its answer."""
    finish: list[str] = field(default_factory=list[str])
    """Why each answer ended."""
    error: str | None = None
    """The code of the error that it was answered with."""
    content: dict[str, Any] | None = None
    """What was asked and answered, where the server was told to log it."""

    def token(self) -> None:
        """A token has come."""
        if self.first_token is None:
            self.first_token = time.monotonic() - self.began

    def line(self, scope: Scope) -> dict[str, Any]:
        """What the log tells of it."""
        told: dict[str, Any] = {
            "id": self.id,
            "method": scope["method"],
            "path": scope["path"][:MAX_PATH],
            "status": self.status,
            "seconds": round(time.monotonic() - self.began, 4),
            "caller": self.caller,
        }
        if self.model is not None:
            told |= {
                "model": self.model,
                "prompt_tokens": self.prompt_tokens,
                "cached_tokens": self.cached_tokens,
                "completion_tokens": self.completion_tokens,
                "first_token_seconds": None if self.first_token is None else round(self.first_token, 4),
                "finish": self.finish,
            }
        if self.error is not None:
            told["error"] = self.error
        if self.content is not None:
            told["content"] = self.content
        return told


def record_of(request: HTTPConnection) -> Record:
    """The record of a request."""
    return request.scope["state"]["record"]


class Recorder:
    """ASGI middleware, the outermost: opens each request's record, and closes it whatever becomes of the request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = Record()
        scope.setdefault("state", {})["record"] = record

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", record.id.encode())]}
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            # The route's own path, so that nobody can make up series without end; there is none for a request refused.
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.request(path, record)
            log.info("request", extra={"told": record.line(scope)})


class JsonLines(logging.Formatter):
    """One JSON object a line: when, how grave, what."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one event."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "told", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


@contextmanager
def log_to(place: Path | None) -> Generator[None]:
    """Write the server's log as JSON lines to the end of a file, or to standard error, while the block runs.

    Raises:
        BadInput: the file cannot be written.
    """
    if place is None:
        handler: logging.Handler = logging.StreamHandler()
    else:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.FileHandler(place, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise BadInput(f"--log {place} cannot be written ({error.strerror}); name another file") from error
    handler.setFormatter(JsonLines())
    loggers = {logging.getLogger("cutaway"): logging.INFO, logging.getLogger("uvicorn"): logging.WARNING}
    if place is None and sys.stderr.isatty():  # a person sits there: no line a request
        loggers = dict.fromkeys(loggers, logging.WARNING)
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger, level in loggers.items():
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()
