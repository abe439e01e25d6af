"""Completions of a prompt by another engine, in the form in which our own strategies give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from cutaway.infer.completion import Completion, constraint_of
from cutaway.infer.decoding import Decoding
from cutaway.infer.generate import Step
from cutaway.infer.handle import Handle
from cutaway.infer.language_model import LanguageModel
from cutaway.infer.request import Ended, Interject, Request, Written
from cutaway.runs import BadInput, CutawayError


def completions_by(
    make: Callable[..., Any],
    lm: LanguageModel,
    prompt: str | Sequence[int],
    decoding: Decoding,
    interject: Interject | None = None,
) -> Iterator[Step | Completion]:
    """Each completion's steps as they are written, and then the completion, by an engine that `make` opens for it.

    `make` is what `engine_of` gives. Each completion but the first draws as if the seed were larger by one than that of
    the one before. Raises `BadInput` for a search and for guessing ahead, which need our own engine, and for what the
    other cannot do.
    """
    strategies = {
        "beam search": decoding.beams,
        "contrastive search": decoding.contrast,
        "a draft model": decoding.draft,
        "look-up": decoding.lookup,
    }
    if asked := next((name for name, value in strategies.items() if value), None):
        raise BadInput(f"{asked} needs our own engine; leave out --engine")
    constraint = constraint_of(lm, decoding)
    request = Request(
        lm.tokenizer.document(prompt) if isinstance(prompt, str) else prompt,
        decoding.max_tokens,
        decoding.sampling,
        stop_ids=lm.tokenizer.stop_ids | set(decoding.stop_ids),
        stops=decoding.stops,
        n=decoding.n,
        alternatives=decoding.top,
        constraint=constraint.copy if constraint else None,
        interject=interject,
    )
    with closing(make(lm, most_rows=decoding.n, waiting=0)) as engine:
        yield from in_order(engine.submit(request), decoding.n)


def in_order(handle: Handle, n: int) -> Iterator[Step | Completion]:
    """The steps and completions of a request, the first completion's first. Raises what ended one of them."""
    steps: list[list[Step]] = [[] for _ in range(n)]
    ended: dict[int, Ended] = {}
    now = 0
    for event in handle:
        if isinstance(event, Written):
            steps[event.index].append(event.step)
            if event.index == now:
                yield event.step
        elif isinstance(event, Ended):
            ended[event.index] = event
            while now in ended:
                yield completed(steps[now], ended[now])
                now += 1
                yield from steps[now] if now < n else ()


def completed(steps: list[Step], ended: Ended) -> Completion:
    """A completion that has ended. Raises what went wrong with it."""
    if ended.reason == "error":
        raise ended.error or CutawayError("the engine gave no reason for ending the text")
    text = "".join(step.text for step in steps if not step.forced) + ended.tail
    return Completion(text, steps, "stop" if ended.reason == "stop" else "length")
