"""From the steps of inference to the pieces of an answer that the HTTP side sends: the one place that knows `infer`."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cutaway.assistant.calculator import calculate
from cutaway.infer import LanguageModel, Sampling, Session, Step, ToolStep, reply, stream
from cutaway.serve.limits import MAX_ALTERNATIVES
from cutaway.serve.stopping import StopStrings

Part = Literal["answer", "call", "result", "mark"]
"""Where a token belongs: the answer's text, a tool call, the tool's result, or one of the template's marks."""

TOOLS = {"calculator": calculate}


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
    """The end of an answer: by the model's own will or a stop string ("stop"), or for want of room ("length")."""

    reason: Literal["stop", "length"]
    sampled: int
    """Tokens the model itself wrote, marks included."""
    tail: str = ""
    """Text for bytes of a character that the answer broke off in."""


Event = Piece | ToolUse | End


def answer(
    lm: LanguageModel,
    messages: list[dict[str, Any]],
    prompt_length: int,
    sampling: Sampling,
    max_tokens: int,
    *,
    stops: Sequence[str] = (),
    seconds: float,
) -> Iterator[Event]:
    """The assistant's next turn, tools run on the way; ends with an `End`."""
    steps = reply(lm, messages, sampling=sampling, max_tokens=max_tokens, tools=TOOLS, top=MAX_ALTERNATIVES)
    return _pieces(lm, steps, max_tokens, lm.config.context - prompt_length, stops, seconds)


def continuation(
    lm: LanguageModel,
    prompt: list[int],
    sampling: Sampling,
    max_tokens: int,
    *,
    stops: Sequence[str] = (),
    seconds: float,
) -> Iterator[Event]:
    """The text that follows a prompt; ends with an `End`."""
    steps = written_on(lm, prompt, sampling, max_tokens)
    return _pieces(lm, steps, max_tokens, lm.config.context - len(prompt), stops, seconds)


def written_on(lm: LanguageModel, prompt: list[int], sampling: Sampling, max_tokens: int) -> Iterator[Step]:
    """The steps after a prompt's token ids."""
    session = Session(lm.model)
    session.read(prompt)
    yield from stream(
        lm.model,
        lm.tokenizer,
        session,
        max_tokens=max_tokens,
        sampling=sampling,
        stop_ids=lm.tokenizer.stop_ids,
        generator=sampling.generator(),
        top=MAX_ALTERNATIVES,
    )


def _pieces(
    lm: LanguageModel,
    steps: Iterable[Step | ToolStep],
    max_tokens: int,
    room: int,
    stops: Sequence[str],
    seconds: float,
) -> Iterator[Event]:
    marks, enders = frozenset(lm.tokenizer.special.values()), lm.tokenizer.stop_ids
    unfinished = codecs.getincrementaldecoder("utf-8")("replace")
    stop, deadline = StopStrings(stops), time.monotonic() + seconds
    in_call, sampled, taken = False, 0, 0
    last: int | None = None
    for step in steps:
        if isinstance(step, ToolStep):
            yield from stop.flush()
            yield ToolUse(step.name, step.arguments, step.result)
            continue
        taken += 1
        sampled += not step.forced
        last = step.token
        if step.token in marks:
            part: Part = "mark"
            in_call = step.token == lm.tokenizer.tool_call or (in_call and step.token not in enders)
        else:
            part = "result" if step.forced else "call" if in_call else "answer"
        text = "" if part == "mark" else step.text
        piece = Piece(step.token, text, step.logprob, tuple(step.alternatives), step.forced, part)
        if part == "answer":
            unfinished.decode(lm.tokenizer.token_bytes(step.token))
            yield from stop.feed(piece)
            if stop.found:
                yield End("stop", sampled)
                return
        else:
            yield from stop.flush()
            yield piece
        if time.monotonic() > deadline:
            yield from stop.flush()
            yield End("length", sampled, unfinished.decode(b"", final=True))
            return
    yield from stop.flush()
    # A last token that ends a turn tells for certain; without one, an answer that used up its room was cut.
    ended = last in enders or (sampled < max_tokens and taken < room)
    yield End("stop" if ended else "length", sampled, unfinished.decode(b"", final=True))


def token_text(lm: LanguageModel, token: int) -> tuple[str, bool]:
    """A token as text a person can read (a mark by its name), and whether its bytes are whole characters."""
    for name, id_ in lm.tokenizer.special.items():
        if id_ == token:
            return name, True
    raw = lm.tokenizer.token_bytes(token)
    try:
        return raw.decode("utf-8"), True
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace"), False
