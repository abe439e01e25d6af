"""Completions of a prompt, by whichever strategy is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cutaway.infer.beam import Beams, beam_search
from cutaway.infer.contrastive import contrastive_search
from cutaway.infer.decoding import Decoding
from cutaway.infer.generate import Session, Step, TextStream, stream
from cutaway.infer.speculative import Drafter, DraftModel, PromptLookup, Record, speculate
from cutaway.infer.stopping import StopStrings
from cutaway.runs import BadInput

if TYPE_CHECKING:
    from cutaway.infer.constrained import Constraint
    from cutaway.infer.language_model import LanguageModel


@dataclass(frozen=True)
class Completion:
    """What a model wrote after a prompt.

    Attributes:
        text: it, without what ended it.
        steps: its tokens, with their probabilities and alternatives; the stop token too.
        finish: "stop" where it came to an end of its own (a stop token, a stop string, a grammar that has no more to
            say), "length" where the tokens or the context ran out.
        score: what beam search compared it by.
        record: how well guessing ahead went, where that was done.
    """

    text: str
    steps: list[Step]
    finish: Literal["stop", "length"]
    score: float | None = None
    record: Record | None = None


def completions(lm: LanguageModel, prompt: str | Sequence[int], decoding: Decoding) -> Iterator[Step | Completion]:
    """Each completion's steps as they are written, and then the completion.

    `prompt` is a text or its token ids. Beam search gives its completions only, at the end. Raises `BadInput` if the
    prompt does not fit into the context, the model does not write, or cannot follow the grammar.
    """
    # Before anything is read: a grammar that cannot be compiled is told at once.
    constraint = constraint_of(lm, decoding)
    session, ids = lm.begin(prompt)
    stop_ids = lm.tokenizer.stop_ids | set(decoding.stop_ids)
    if decoding.contrast:
        steps = contrastive_search(
            lm.tokenizer, session, session.read(ids), decoding.contrast,
            max_tokens=decoding.max_tokens, stop_ids=stop_ids, top=decoding.top,
        )  # fmt: skip
        yield from completed(lm, steps, decoding, stop_ids)
        return
    drafter = drafter_of(lm, decoding)
    session.read(ids)
    if decoding.beams:
        yield from searched(lm, session, decoding, decoding.beams, stop_ids)
        return
    start, logits, generator = len(session.ids), session.logits, decoding.sampling.generator()
    for _ in range(decoding.n):
        session.forget(start)
        session.logits = logits
        own, record = constraint.copy() if constraint else None, Record()
        if drafter:
            steps = speculate(
                lm.tokenizer, session, drafter(), max_tokens=decoding.max_tokens, sampling=decoding.sampling,
                stop_ids=stop_ids, generator=generator, width=decoding.draft_tokens, top=decoding.top, constraint=own,
                record=record,
            )  # fmt: skip
        else:
            steps = stream(
                lm.model, lm.tokenizer, session, max_tokens=decoding.max_tokens, sampling=decoding.sampling,
                stop_ids=stop_ids, generator=generator, top=decoding.top, constraint=own,
            )  # fmt: skip
        yield from completed(lm, steps, decoding, stop_ids, own, record if drafter else None)


def completed(
    lm: LanguageModel,
    steps: Iterable[Step],
    decoding: Decoding,
    stop_ids: frozenset[int],
    constraint: Constraint | None = None,
    record: Record | None = None,
) -> Iterator[Step | Completion]:
    """The steps, as far as a stop string, and the completion that they make."""
    stop, unfinished = StopStrings(decoding.stops), TextStream(lm.tokenizer)
    shown: list[Step] = []
    last = -1
    for step in steps:
        last = step.token
        unfinished.add(last)
        free = stop.feed(step)
        shown += free
        yield from free
        if stop.found:
            break
    shown += (rest := stop.flush())
    yield from rest
    ended = stop.found or last in stop_ids or (constraint is not None and constraint.finished)
    text = "".join(step.text for step in shown) + ("" if stop.found else unfinished.finish())
    yield Completion(text, shown, "stop" if ended else "length", record=record)


def searched(
    lm: LanguageModel,
    session: Session,
    decoding: Decoding,
    beams: Beams,
    stop_ids: frozenset[int],
    going: Callable[[], bool] = lambda: True,
) -> Iterator[Completion]:
    """The best sequences that beam search finds, as far as it may go on (see `beam_search`)."""
    found = beam_search(
        session, beams, max_tokens=decoding.max_tokens, stop_ids=stop_ids, top=decoding.top, going=going
    )
    if not found:  # no room for a single token
        yield Completion("", [], "length")
    for score, hypothesis in found[: decoding.n]:
        text = TextStream(lm.tokenizer)
        steps = [Step(each.token, text.add(each.token), each.logprob, each.alternatives) for each in hypothesis.path()]
        whole = "".join(step.text for step in steps) + text.finish()
        yield Completion(whole, steps, "stop" if hypothesis.token in stop_ids else "length", score)


def constraint_of(lm: LanguageModel, decoding: Decoding) -> Constraint | None:
    """The grammar, followed with the model's tokens."""
    if decoding.grammar is None:
        return None
    from cutaway.infer.constrained import Constraint

    return Constraint(decoding.grammar, lm.tokenizer, lm.config.vocab_size)


def drafter_of(lm: LanguageModel, decoding: Decoding) -> Callable[[], Drafter] | None:
    """What makes a drafter for each completion. Raises `BadInput` if the draft model speaks of other tokens."""
    vocab, draft = lm.config.vocab_size, decoding.draft
    if decoding.lookup:
        return lambda: PromptLookup(vocab)
    if draft is None:
        return None
    if {lm.config.kind, draft.config.kind} != {"decoder"}:
        raise BadInput(f"{draft.name} cannot guess for {lm.name}: both must be decoders")
    if draft.tokenizer.backend.get_vocab() != lm.tokenizer.backend.get_vocab():
        raise BadInput(f"{draft.name} cannot guess for {lm.name}: their vocabularies differ; name one with the same")
    drafter = DraftModel(draft.model, vocab)
    return lambda: drafter
