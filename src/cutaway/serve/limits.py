"""The bounds on what one request may ask for. Numbers a schema needs are constants; the rest a server may choose."""

from __future__ import annotations

from dataclasses import dataclass

MAX_MESSAGES = 256
MAX_TEXT = 200_000
"""Characters in one text of a request."""
MAX_TOKENIZE = 50_000
"""Characters to be shown as tokens at once."""
MAX_STOPS = 4
MAX_STOP_LENGTH = 200
MAX_ALTERNATIVES = 10
"""Alternatives to a token that inference keeps, hence the most that `top_logprobs` can ask for."""
MAX_TOKENS = 1_000_000
"""Largest `max_tokens` taken as meant; what the model's context leaves is the bound that bites."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one server."""

    body_bytes: int = 2 << 20
    """Bytes in a request's body."""
    body_seconds: float = 30.0
    """Time for a client to send its body."""
    answering: int = 2
    """Generations that run at once; they share the model and the processor."""
    waiting: int = 16
    """Generations that may wait in line; the next is refused with 429."""
    seconds: float = 300.0
    """Time for one answer, after which it is cut as by `max_tokens`."""
