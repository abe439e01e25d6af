"""One completion of a request that is still being written, and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from cutaway.infer.pages import pages_for
from cutaway.infer.penalties import History
from cutaway.infer.prefixes import Name, extend_names
from cutaway.infer.request import Constraint, Event, Request
from cutaway.infer.sampling import Sampling
from cutaway.model.taps import UNTOUCHED


@dataclass(eq=False)
class Unfinished:
    """A sequence of tokens that grows.

    Attributes:
        request, index: what is asked for, and which of its completions this is.
        vocab: how many tokens the model has.
        tell: takes its events.
        order: when it came, among all.
        ids: the prompt and all that came after it.
        read: how many of them have their keys and values in `pages`.
        told: how many have been told to the asker, or need not be.
        kept: how many of its pages others can find.
        passed: how many of its pages no window reaches any more, given back.
        turn: where in `ids` the model's present turn begins: after the prompt, or after what was put before it.
        written: tokens that the model chose.
        known: tokens of the prompt that were found computed already.
        began: whether it ever left the line.
        away: whether it waits for an interjection.
        cancelled: whether nobody wants it any more; any thread may say so.
    """

    request: Request
    index: int
    vocab: int
    tell: Callable[[Event], None]
    order: int = 0
    arrived: float = field(default_factory=time.monotonic)
    sampling: Sampling = field(init=False)
    generator: torch.Generator = field(init=False)
    constraint: Constraint | None = field(init=False)
    history: History | None = field(init=False)
    ids: list[int] = field(init=False)
    told: int = field(init=False)
    turn: int = field(init=False)
    pages: list[int] = field(default_factory=list[int])
    names: list[Name] = field(default_factory=list[Name])
    read: int = 0
    kept: int = 0
    passed: int = 0
    written: int = 0
    known: int = 0
    began: bool = False
    away: bool = False
    cancelled: bool = False
    ended: bool = False

    def __post_init__(self) -> None:
        request, sampling = self.request, self.request.sampling
        if sampling.seed is not None:
            sampling = replace(sampling, seed=sampling.seed + self.index)
        self.generator = sampling.generator()
        # Without the seed, settings that are alike are equal.
        self.sampling = replace(sampling, seed=None)
        self.constraint = request.constraint() if request.constraint else None
        self.history = sampling.history([request.prompt], self.vocab)
        self.ids = list(request.prompt)
        self.turn = len(self.ids)
        self.told = 1 if request.prompt_steps and self.index == 0 else len(self.ids)

    @property
    def rank(self) -> tuple[int, int]:
        """Who goes first: the lower."""
        return -self.request.priority, self.order

    @property
    def pending(self) -> int:
        """Tokens still to be read; one while it is written on."""
        return len(self.ids) - self.read

    @property
    def lacking(self) -> int:
        """Pages it does not have yet for the tokens that it has."""
        return max(0, pages_for(len(self.ids)) - len(self.pages))

    @property
    def deadline(self) -> float:
        """When its time is over, on the clock of `time.monotonic`."""
        return float("inf") if self.request.seconds is None else self.arrived + self.request.seconds

    def named(self) -> list[Name]:
        """The names of all its full pages, in order; none where somebody looks at its tensors and may change them."""
        if self.request.tap is UNTOUCHED:
            extend_names(self.names, self.ids, self.request.among)
        return self.names
