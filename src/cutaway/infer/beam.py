"""Beam search: the likeliest sequences, by keeping several beginnings alive."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.infer.generate import Session
from cutaway.infer.sampling import DAMAGED
from cutaway.runs import BadInput, CutawayError

MOST_BEAMS = 256


@dataclass(frozen=True)
class Beams:
    """How to search. Raises `BadInput` for values that mean nothing.

    Attributes:
        width: sequences kept alive.
        length_penalty: sequences are compared by log-probability / length^length_penalty (Wu et al. 2016, section 7,
            in the simpler form of `transformers`): above 0 long ones gain, below 0 short ones.
        early_stopping: when to end. True: with `width` finished sequences. False: when the best beginning, were it to
            end now, is no better than the worst of these. "never": when it would be no better wherever it ended.
    """

    width: int
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MOST_BEAMS:
            raise BadInput(f"beams is {self.width}; it must lie between 1 and {MOST_BEAMS}")
        if not -10 <= self.length_penalty <= 10:
            raise BadInput(f"length_penalty is {self.length_penalty}; it must lie between -10 and 10")
        if self.early_stopping not in (True, False, "never"):
            raise BadInput(f"early_stopping is {self.early_stopping!r}; it must be True, False or 'never'")

    @property
    def rows(self) -> int:
        """Sequences that go through the model at once."""
        return self.width

    def score(self, total: float, length: int) -> float:
        """What sequences of a log-probability and a length are compared by."""
        return total / length**self.length_penalty


@dataclass(frozen=True)
class Hypothesis:
    """A sequence: its last token, and the sequence before that.

    Attributes:
        before: all but the last token; None for a single one.
        token: the last one.
        logprob: natural logarithm of its probability.
        total: the sum of all its tokens' `logprob`.
        alternatives: the likeliest tokens in the place of the last, and their probabilities.
    """

    before: Hypothesis | None
    token: int
    logprob: float
    total: float
    alternatives: list[tuple[int, float]]

    def path(self) -> list[Hypothesis]:
        """The sequence token by token."""
        found: list[Hypothesis] = []
        at: Hypothesis | None = self
        while at:
            found.append(at)
            at = at.before
        return found[::-1]


@torch.inference_mode()
def beam_search(
    session: Session,
    beams: Beams,
    *,
    max_tokens: int,
    stop_ids: Collection[int],
    top: int = 0,
    going: Callable[[], bool] = lambda: True,
) -> list[tuple[float, Hypothesis]]:
    """The best `beams.width` sequences found to follow what `session` has read, with their scores, best first.

    Each ends with a stop token, or has `max_tokens` or what the context has room for. The rules are those of
    `transformers`: of all continuations, (1 + stop tokens) · width are looked at, at least twice the width, so that
    enough go on; one that ends counts only if it is among the best `width` of these. `session` ends with the search.
    Where `going` says no, which is asked before each token, that one is the last, as if `max_tokens` were reached.
    """
    stops, most = set(stop_ids), min(max_tokens, session.room)
    looked_at = max(2, 1 + len(stops)) * beams.width
    running: list[Hypothesis | None] = [None]
    finished: list[tuple[float, Hypothesis]] = []
    logits = session.logits
    for length in range(1, most + 1):
        last = length == most or not going()
        ended, onward, rows = continued(running, logits, looked_at, None if last else stops, beams.width, top)
        finished += [(beams.score(each.total, length), each) for each in ended]
        finished = sorted(finished, key=lambda found: -found[0])[: beams.width]
        if not onward or over(beams, finished, onward[0], length, most):
            break
        running = [*onward]
        session.cache.keep(torch.tensor(rows))
        tokens = torch.tensor([[each.token] for each in onward])
        hidden = session.model.hidden(tokens, memory=session.memory, cache=session.cache)
        logits = session.model.logits(hidden[:, -1])
    return finished


def continued(
    running: list[Hypothesis | None],
    logits: Float[Tensor, "beam vocab"],
    looked_at: int,
    stops: Collection[int] | None,
    width: int,
    top: int,
) -> tuple[list[Hypothesis], list[Hypothesis], list[int]]:
    """The best continuations: those that end, those that go on, and which row each of these comes from.

    `stops` is None where every sequence ends.
    """
    logprobs = logits.float().log_softmax(-1)
    before = torch.tensor([each.total if each else 0.0 for each in running], device=logprobs.device)
    totals = logprobs + before[:, None]
    best, places = totals.flatten().topk(min(looked_at, totals.numel()))
    if not bool(best[0].isfinite()):
        raise CutawayError(DAMAGED)
    likeliest = logprobs.topk(min(top, logprobs.shape[-1]))
    ended: list[Hypothesis] = []
    going: list[Hypothesis] = []
    rows: list[int] = []
    for rank, (total, place) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
        row, token = divmod(place, logprobs.shape[-1])
        ends = stops is None or token in stops
        if (rank >= width) if ends else (len(going) >= width):
            continue
        others = zip(likeliest.indices[row].tolist(), likeliest.values[row].exp().tolist(), strict=True)
        found = Hypothesis(running[row], token, float(logprobs[row, token]), total, list(others))
        if ends:
            ended.append(found)
        else:
            going.append(found)
            rows.append(row)
    return ended, going, rows


def over(beams: Beams, finished: list[tuple[float, Hypothesis]], best: Hypothesis, length: int, most: int) -> bool:
    """Whether the search is over, though `best`, of `length` tokens, could go on."""
    if len(finished) < beams.width:
        return False
    if beams.early_stopping is True:
        return True
    furthest = most if beams.early_stopping == "never" and beams.length_penalty > 0 else length
    return beams.score(best.total, furthest) <= finished[-1][0]
