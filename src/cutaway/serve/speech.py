"""From the engine's events to the pieces of an answer that the HTTP side sends."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cutaway.assistant.calculator import calculate
from cutaway.infer import Ended, Handle, Interjection, LanguageModel, PromptRead, Step, Written
from cutaway.infer.reply import CALCULATOR, MOST_CALLS, called_with, tool_turn
from cutaway.runs import CutawayError
from cutaway.serve.errors import ApiError
from cutaway.serve.shapes import finite
from cutaway.tokens import Tokenizer

Part = Literal["answer", "call", "result", "mark"]
"""Where a token belongs: the answer's text, a tool call, the tool's result, or one of the template's marks."""


@dataclass(frozen=True)
class Piece:
    """One token of an answer."""

    id: int
    text: str
    """What it adds to the text; "" while a character is incomplete, and for a mark."""
    logprob: float
    alternatives: tuple[tuple[int, float], ...]
    """What the model could have said here: ids with their probabilities, most probable first."""
    forced: bool
    """True where the server put the token there (a tool's result), rather than the model."""
    part: Part


@dataclass(frozen=True)
class ToolUse:
    """A tool that was run in the course of an answer."""

    name: str
    arguments: str
    result: str


@dataclass(frozen=True)
class End:
    """The end of an answer: by the model's own will or a stop string ("stop"), or for want of room or time."""

    reason: Literal["stop", "length"]
    sampled: int
    """Tokens the model itself wrote, marks included."""
    known: int
    """Tokens of the prompt that had been computed before."""
    tail: str = ""
    """Text for bytes of a character that the answer broke off in."""
    timed_out: bool = False


@dataclass(frozen=True)
class Prompted:
    """The tokens of the prompt from the second on, with what the model thought of them."""

    pieces: tuple[Piece, ...]


Event = Piece | ToolUse | End | Prompted


async def spoken(lm: LanguageModel, handle: Handle) -> AsyncIterator[tuple[int, Event]]:
    """What an engine says, as pieces; each with the number of the answer that it belongs to.

    Raises:
        ApiError: 503, the server is shutting down, or an answer's time was over before it began.
        Exception: what went wrong in the engine.
    """
    marks, calling = frozenset(lm.tokenizer.special.values()), set[int]()
    async for event in handle:
        if isinstance(event, Written):
            yield event.index, _piece(lm, event.step, marks, calling, event.index)
        elif isinstance(event, Ended):
            yield event.index, _end(event)
        elif isinstance(event, PromptRead):
            yield 0, Prompted(tuple(_piece(lm, step, marks, set(), 0) for step in event.steps))
        elif isinstance(event.note, ToolUse):
            yield event.index, event.note


def _piece(lm: LanguageModel, step: Step, marks: frozenset[int], calling: set[int], index: int) -> Piece:
    """One token, and where it belongs; `calling` holds the answers that are within a call."""
    if step.token in marks:
        part: Part = "mark"
        if step.token == lm.tokenizer.tool_call:
            calling.add(index)
        elif step.token in lm.tokenizer.stop_ids:
            calling.discard(index)
    else:
        part = "result" if step.forced else "call" if index in calling else "answer"
    text = "" if part == "mark" else step.text
    return Piece(step.token, text, step.logprob, tuple(step.alternatives), step.forced, part)


def _end(event: Ended) -> End:
    if event.reason == "error":
        raise event.error or CutawayError("the engine gave no reason for ending the answer")
    if event.reason == "cancelled":
        raise ApiError(503, "the server is shutting down", code="shutting_down", headers={"Retry-After": "5"})
    timed_out = event.reason == "timed out"
    if timed_out and not event.written:
        raise ApiError(
            503, "the answer's time was over before its turn came", code="timeout", headers={"Retry-After": "5"}
        )
    return End("stop" if event.reason == "stop" else "length", event.written, event.known, event.tail, timed_out)


class Calculating:
    """Runs the calculator for the model and puts the result before it, as an engine's `Interject`."""

    def __init__(self, tokenizer: Tokenizer, begun: Sequence[int] = ()) -> None:
        """`begun` are tokens that the first turn begins with, and that the model did not write this time."""
        self.tokenizer = tokenizer
        self.begun = begun
        self.calls: dict[int, int] = {}

    def __call__(self, index: int, turn: Sequence[int]) -> Interjection | None:
        """What follows the turn that the model has ended; None where it called nothing, or too often."""
        expression = called_with(self.tokenizer, [*self.begun, *turn])
        self.begun = ()
        self.calls[index] = self.calls.get(index, 0) + 1
        if expression is None or self.calls[index] > MOST_CALLS:
            return None
        result = calculate(expression)
        return Interjection(tool_turn(self.tokenizer, result), ToolUse(CALCULATOR, expression, result))


def likeliest(piece: Piece, top: int) -> list[tuple[int, float]]:
    """The likeliest tokens in a token's place, with the natural logarithms of their probabilities.

    The token's own is the same number as its `logprob`, to the last bit: that is how clients see that it was likeliest.
    """
    return [
        (id_, finite(piece.logprob if id_ == piece.id else math.log(probability) if probability > 0 else -math.inf))
        for id_, probability in piece.alternatives[:top]
    ]


class Tokenizing(Protocol):
    """What tokens are read with: a model, or a run's tokenizer by itself."""

    @property
    def tokenizer(self) -> Tokenizer:
        """It."""
        ...


def token_text(lm: Tokenizing, token: int) -> tuple[str, bool]:
    """A token as text a person can read (a mark by its name), and whether its bytes are whole characters."""
    for name, id_ in lm.tokenizer.special.items():
        if id_ == token:
            return name, True
    raw = lm.tokenizer.token_bytes(token)
    try:
        return raw.decode("utf-8"), True
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace"), False
