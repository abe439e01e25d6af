"""Speculative decoding: a cheap guess of several tokens, read by the model at once, and kept as far as it is right.

What is written is distributed as if the model had written it token by token (Leviathan et al. 2023; Chen et al. 2023),
for every `Sampling` and under every grammar, because guesses are weighed against the probabilities that tokens are
drawn with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from cutaway.infer.generate import Session, Step, TextStream, step_at
from cutaway.infer.penalties import History
from cutaway.infer.sampling import Sampling, draw
from cutaway.model import Transformer
from cutaway.tokens import Tokenizer

if TYPE_CHECKING:
    from cutaway.infer.constrained import Constraint

LONGEST_CUE = 3
"""Tokens at the end of a text that are looked for earlier in it (Saxena 2023)."""


@dataclass
class Record:
    """How well guessing went.

    Attributes:
        drafted: tokens that were guessed.
        accepted: those of them that were kept.
        passes: times that the model read.
        written: tokens that were written.
    """

    drafted: int = 0
    accepted: int = 0
    passes: int = 0
    written: int = 0


@dataclass(frozen=True)
class Draft:
    """Guessed tokens, and the distributions that they were drawn from, `[token, vocab]`."""

    tokens: list[int]
    probabilities: Float[Tensor, "token vocab"]


@dataclass(frozen=True)
class Chance:
    """How a text's next token is drawn."""

    sampling: Sampling
    generator: torch.Generator
    history: History | None


class Drafter(Protocol):
    """What guesses."""

    def propose(self, ids: Sequence[int], most: int, chance: Chance, /) -> Draft:
        """At most `most` tokens that may follow `ids`."""
        ...


class DraftModel:
    """Guesses with a smaller model of the same vocabulary."""

    def __init__(self, model: Transformer, vocab: int) -> None:
        """`vocab` is the number of the large model's logits, which may end in others that no token has."""
        self.session = Session(model)
        self.vocab = vocab

    def propose(self, ids: Sequence[int], most: int, chance: Chance, /) -> Draft:
        """Draw tokens as the large model will; none where the small one's context is full."""
        session, tokens = self.session, list[int]()
        most = min(most, session.model.config.context - len(ids) + 1)
        if most < 1:
            return nothing(self.vocab)
        # At least the last token is read, so that there are logits to draw from.
        session.forget(min(in_common(session.ids, ids), len(ids) - 1))
        session.read(ids[len(session.ids) :])
        history = chance.history.followed_by([]) if chance.history else None
        drawn_from: list[Tensor] = []
        while True:
            logits = F.pad(session.logits, (0, self.vocab - session.logits.shape[-1]), value=-torch.inf)
            drawn_from.append(chance.sampling.distribution(logits, history))
            token = draw(drawn_from[-1], chance.generator)
            tokens.append(int(token))
            if len(tokens) == most:
                return Draft(tokens, torch.cat(drawn_from))
            if history:
                history.add(token)
            session.read([int(token)])


class PromptLookup:
    """Guesses that the text goes on as it did after the same few tokens before (Saxena 2023)."""

    def __init__(self, vocab: int) -> None:
        self.vocab = vocab
        self.after: dict[tuple[int, ...], int] = {}
        self.looked_at = 0

    def propose(self, ids: Sequence[int], most: int, _: Chance, /) -> Draft:
        """What followed the longest cue that stood in the text before, where it stood last."""
        for end in range(self.looked_at + 1, len(ids)):
            for length in range(1, min(LONGEST_CUE, end) + 1):
                self.after[tuple(ids[end - length : end])] = end
        self.looked_at = max(self.looked_at, len(ids) - 1)
        for length in range(min(LONGEST_CUE, len(ids)), 0, -1):
            start = self.after.get(tuple(ids[len(ids) - length :]))
            if start is not None and most > 0:
                tokens = list(ids[start : start + most])
                return Draft(tokens, F.one_hot(torch.tensor(tokens), self.vocab).float())
        return nothing(self.vocab)


def nothing(vocab: int) -> Draft:
    """No guess."""
    return Draft([], torch.empty(0, vocab))


def in_common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two texts begin with in common."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def speculate(
    tokenizer: Tokenizer,
    session: Session,
    drafter: Drafter,
    *,
    max_tokens: int,
    sampling: Sampling,
    stop_ids: Collection[int],
    generator: torch.Generator,
    width: int = 4,
    top: int = 0,
    constraint: Constraint | None = None,
    record: Record | None = None,
) -> Iterator[Step]:
    """Write on from what `session` has read, as `stream` does, guessing up to `width` tokens at a time."""
    text, record = TextStream(tokenizer), record or Record()
    vocab = session.model.config.vocab_size
    chance = Chance(sampling, generator, sampling.history([session.ids], vocab))
    left = min(max_tokens, session.room)
    # Tokens that the session has read and that stay, whatever becomes of the draft after them.
    settled, draft, logits = len(session.ids), nothing(vocab), session.logits
    while left > 0:
        allowed = masks(constraint, draft.tokens, vocab) if constraint else None
        history = chance.history.followed_by(draft.tokens) if chance.history else None
        accepted, token = verified(sampling.distribution(logits, history, allowed), draft, generator)
        record.drafted += len(draft.tokens)
        record.accepted += accepted
        for place, written in enumerate([*draft.tokens[:accepted], token]):
            step = step_at(logits[place], written, text.add(written), top)
            if chance.history:
                chance.history.add(torch.tensor([written]))
            if constraint:
                constraint.accept(written)
            left -= 1
            record.written += 1
            ends = written in stop_ids or (constraint is not None and constraint.finished)
            if ends or left == 0:
                session.forget(settled + place)
            yield step
            if ends:
                return
        if left == 0:
            return
        session.forget(settled + accepted)
        # The last token has not been read: it and the next draft are, in one pass.
        draft = drafter.propose([*session.ids, token], min(width, left - 1), chance)
        settled = len(session.ids) + 1
        logits = session.read_each([token, *draft.tokens])
        record.passes += 1


def verified(p: Float[Tensor, "place vocab"], draft: Draft, generator: torch.Generator) -> tuple[int, int]:
    """How many of the drafted tokens are kept, and the token that follows them.

    `p[i]` is the distribution that the token in place i is to have. A drafted x is kept with probability
    min(1, p(x) / q(x)), where q is what it was drawn from; the first that is not gives way to one drawn in proportion
    to max(0, p - q), which makes p of the two (Leviathan et al. 2023, algorithm 1 and appendix A.1).
    """
    for place, token in enumerate(draft.tokens):
        q = draft.probabilities[place]
        drawn = float(torch.rand((), generator=generator, dtype=torch.float64))
        if drawn * float(q[token]) < float(p[place, token]):
            continue
        rest = (p[place] - q.to(p.device)).clamp(min=0)
        # Nothing is left only where p and q are one, but for rounding.
        return place, int(draw((rest if bool(rest.any()) else p[place])[None], generator))
    return len(draft.tokens), int(draw(p[-1:], generator))


def masks(constraint: Constraint, tokens: Sequence[int], vocab: int) -> Bool[Tensor, "place vocab"]:
    """What a grammar allows in the place of each drafted token and after the last, `[tokens + 1, vocab]`.

    After a token that it forbids, or with which it is finished, no place is reached, and everything is allowed.
    """
    trial, allowed = constraint.copy(), torch.ones(len(tokens) + 1, vocab, dtype=torch.bool)
    for place, token in enumerate(tokens):
        allowed[place] = trial.mask()
        if not allowed[place, token]:
            return allowed
        trial.accept(token)
        if trial.finished:
            return allowed
    allowed[-1] = trial.mask()
    return allowed
