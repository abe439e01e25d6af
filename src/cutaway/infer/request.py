"""What is asked of the engine, and what it says while it works."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from jaxtyping import Bool
from torch import Tensor

from cutaway.infer.generate import Step
from cutaway.infer.sampling import GREEDY, Sampling
from cutaway.model.taps import UNTOUCHED, Tap
from cutaway.runs import BadInput, CutawayError

Reason = Literal["stop", "length", "cancelled", "timed out", "error"]
"""Why a completion ended: by a stop token or string; for want of tokens or context; by the asker; and so on."""


class Constraint(Protocol):
    """What keeps one completion to a form, token by token."""

    def mask(self) -> Bool[Tensor, " vocab"] | None:
        """True for each token that may come next; None where all may."""
        ...

    def accept(self, token: int) -> None:
        """The model has written this token; stop tokens are told too."""
        ...

    @property
    def finished(self) -> bool:
        """Whether nothing may follow; the completion then ends."""
        ...


@dataclass(frozen=True)
class Interjection:
    """Tokens put before the model in the middle of its answer, such as a tool's result.

    `note` is told to the asker as an event of its own before them.
    """

    tokens: Sequence[int]
    note: object = None


Interject = Callable[[int, Sequence[int]], Interjection | None]
"""Called when a completion (its number) comes to a stop token, with all that the model wrote since it began or was
last interrupted, the stop token included. It gives what is to be put before the model, or None to let it end. It runs
in a thread of its own and may take its time; meanwhile the completion keeps its pages."""


@dataclass(frozen=True)
class Request:
    """A prompt to be written on from.

    Attributes:
        prompt: token ids, at least one.
        max_tokens: tokens that the model may write; 0 only reads the prompt.
        stop_ids: tokens that end a completion, themselves included in it.
        stops: texts that end a completion and are cut off it. The tokens of a text that may become one wait.
        n: completions; each but the first draws as if the seed were larger by one than the one before.
        priority: those with higher ones go first.
        seconds: time for it all, waiting included; None for no end.
        alternatives: likeliest tokens to name with each token.
        prompt_steps: whether the prompt's own tokens are told, with their probabilities.
        constraint: makes what keeps a completion to a form, called once for each.
        interject: see `Interject`.
        tap: who looks at the tensors. Such a request shares no pages, because a tap may change what they hold. It goes
            through the same steps as others: a long prompt comes in pieces, and what was set back comes again.
        among: only requests with the same name here share pages: an owner, or an adapter.
    """

    prompt: Sequence[int]
    max_tokens: int
    sampling: Sampling = GREEDY
    stop_ids: Collection[int] = frozenset()
    stops: Sequence[str] = ()
    n: int = 1
    priority: int = 0
    seconds: float | None = None
    alternatives: int = 0
    prompt_steps: bool = False
    constraint: Callable[[], Constraint] | None = None
    interject: Interject | None = None
    tap: Tap = UNTOUCHED
    among: str = ""

    def __post_init__(self) -> None:
        if not self.prompt:
            raise BadInput("the prompt is empty; it must have at least one token")
        for name, value, least in (
            ("max_tokens", self.max_tokens, 0),
            ("n", self.n, 1),
            ("alternatives", self.alternatives, 0),
        ):
            if value < least:
                raise BadInput(f"{name} is {value}; it must be at least {least}")
        if "" in self.stops:
            raise BadInput("a stop string is empty, which every text contains; leave it out")
        if self.seconds is not None and not self.seconds > 0:
            raise BadInput(f"seconds is {self.seconds}; it must be more than 0")


@dataclass(frozen=True)
class PromptRead:
    """The prompt's tokens from the second on, each with the probability that the model gave it there."""

    steps: Sequence[Step]


@dataclass(frozen=True)
class Written:
    """One more token of a completion."""

    index: int
    step: Step


@dataclass(frozen=True)
class Noted:
    """What came with an interjection; its tokens follow as forced steps."""

    index: int
    note: object


@dataclass(frozen=True)
class Ended:
    """The end of a completion.

    Attributes:
        index: which of the request's completions.
        reason: why.
        written: tokens that the model wrote.
        known: tokens of the prompt that were found computed already.
        tail: text of bytes left over where the completion broke off inside a character.
        error: what went wrong, where something did.
    """

    index: int
    reason: Reason
    written: int
    known: int = 0
    tail: str = ""
    error: Exception | None = None


Event = PromptRead | Written | Noted | Ended


class Busy(CutawayError):
    """The line is full; try again later."""


class Closed(CutawayError):
    """The engine takes no more requests."""
