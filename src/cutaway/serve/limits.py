"""The bounds on what one request may ask for. Numbers a schema needs are constants; the rest a server may choose."""

from __future__ import annotations

from dataclasses import dataclass

MAX_MESSAGES = 4096
MAX_TEXT = 1 << 20
"""Characters in one text of a request: more than a context of 200,000 tokens of English holds, so that a conversation
can go on after an answer that filled it. `Limits.body_bytes` bounds all texts together."""
MAX_TOKENIZE = 50_000
"""Characters to be shown as tokens at once."""
MAX_STOPS = 4
MAX_STOP_LENGTH = 200
MAX_ALTERNATIVES = 20
"""Alternatives to a token that a request can ask for."""
SHOWN_ALTERNATIVES = 10
"""Alternatives to each token of an answer that the page shows."""
MAX_TOKENS = 1_000_000
"""Largest `max_tokens` taken as meant; what the model's context leaves is the bound that bites."""
MAX_CHOICES = 16
"""Answers to one prompt (`n`, `best_of`)."""
MAX_BEAMS = 16
MAX_CANDIDATES = 64
"""Tokens that contrastive search may choose among."""
MAX_PROMPTS = 64
"""Prompts of one request for completions."""
MAX_INPUTS = 256
"""Texts of one request for embeddings."""
MAX_IDS = 200_000
"""Token ids in one prompt."""
MAX_BEGUN = 20_000
"""Tokens that an answer may begin with."""
MAX_BIASES = 300
"""Tokens that one `logit_bias` may name."""
MAX_TOOLS = 64
MAX_CALLS = 16
"""Calls of tools in one message."""
MAX_SCHEMA_BYTES = 64 << 10
"""Size of one JSON schema, written out."""
MAX_SCHEMA_DEPTH = 64
"""Objects and lists inside one another in a JSON schema."""


@dataclass(frozen=True)
class CallerLimits:
    """What one caller may use; None is without bound."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Tokens read and written."""
    running: int | None = None
    """Answers at the same time, in line or being written; each of `n` counts."""
    max_tokens: int | None = None
    """Tokens of one answer."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one server."""

    body_bytes: int = 2 << 20
    """Bytes in a request's body."""
    head_seconds: float = 10.0
    """Time for a client to send the head of a request."""
    body_seconds: float = 30.0
    """Time for a client to send its body."""
    read_seconds: float = 30.0
    """Time for a client to take the next part of a stream."""
    connections: int = 512
    """Connections that may be open at once; the next is told to come back."""
    answering: int = 32
    """Sequences that are written at once; they share the model and the processor."""
    waiting: int = 256
    """Sequences that may wait in line; the next is refused with 429."""
    searching: int = 8
    """Searches that may be here, the one that is carried out and those in line; the next is refused with 429."""
    search_bytes: int = 256 << 20
    """Memory that the keys and values of one search may take; one that needs more is refused."""
    seconds: float = 300.0
    """Time for one answer, waiting included, after which it is cut as by `max_tokens`."""
    drain_seconds: float = 30.0
    """Time for running answers to end once the server was told to stop."""
    caller: CallerLimits = CallerLimits()
    """For callers without a key of their own, each address for itself."""
