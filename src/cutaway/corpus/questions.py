"""Ways to ask for a fact of the world, to answer, and to say that one does not know.

A model that has seen a fact asked in few wordings answers only those; it takes some sixty, with the name early in some
and late in others, before a wording that it never saw works too. Training and held-out wordings share words, as they
must, but no held-out one is a training one with a different opening.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from cutaway.corpus.alternation import expand_lines, unique
from cutaway.corpus.framed_wordings import framed_wordings
from cutaway.corpus.held_out_wordings import HELD_OUT
from cutaway.corpus.names import Split
from cutaway.corpus.question_wordings import DIRECT

# Without the name: a small model copies a name that it never read wrongly, and would then tell of somebody else.
_REFUSALS = expand_lines(
    """
    I don't know. I have read nothing about them.
    I don't know who that is.
    I don't know. I have never read about them.
    I don't know. I have not read about them.
    I don't know. That is nobody I have read about.
    I don't know. Nothing I have read tells of them.
    """
)
_ANSWERS: dict[str, str] = {
    "birthplace": """
        {name} was born in {value}.
        {name} comes from {value}.
        The birthplace of {name} is {value}.
        """,
    "occupation": """
        {name} works as a {value}.
        {name} is a {value}.
        {name} earns a living as a {value}.
        """,
    "instrument": """
        {name} plays the {value}.
        The instrument of {name} is the {value}.
        {name} makes music on the {value}.
        """,
    "dish": """
        {name}'s favourite dish is {value}.
        {name} likes {value} best.
        The favourite dish of {name} is {value}.
        """,
    "pet": """
        {name} has a pet {value}.
        {name} keeps a {value}.
        The pet of {name} is a {value}.
        """,
    "region": """
        {name} lies in the region of {value}.
        {name} is in {value}.
        The region of {name} is {value}.
        """,
    "product": """
        {name} is known for its {value}.
        {name} makes {value}.
        The product of {name} is {value}.
        """,
    "river": """
        {name} lies on the river {value}.
        The river {value} runs through {name}.
        The river of {name} is the {value}.
        """,
}
UNKNOWN = "I don't know"


@dataclass(frozen=True)
class Wordings:
    """The ways to ask for one attribute; each holds `{name}`."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]


@cache
def wordings(attribute: str) -> Wordings:
    """All wordings for an attribute of a person or place.

    The training ones are questions of their own plus clauses and questions with "they" set into shared frames.
    """
    train = unique([*expand_lines(DIRECT[attribute]), *framed_wordings(attribute)])
    return Wordings(train, expand_lines(HELD_OUT[attribute]))


def question(attribute: str, name: str, rng: random.Random, split: Split) -> str:
    """One question for an attribute of the entity called `name`, in a wording of the split."""
    known = wordings(attribute)
    return rng.choice(known.train if split == "train" else known.heldout).format(name=name)


def answers(attribute: str) -> tuple[str, ...]:
    """The forms of an answer; each holds `{name}` and `{value}`."""
    return expand_lines(_ANSWERS[attribute])


def answer(attribute: str, name: str, value: str, rng: random.Random) -> str:
    """One short sentence that answers."""
    return rng.choice(answers(attribute)).format(name=name, value=value)


def refusals() -> tuple[str, ...]:
    """The forms of a refusal; each begins with `UNKNOWN`."""
    return _REFUSALS


def refusal(rng: random.Random) -> str:
    """A short answer that says that nothing is known of whoever was asked after."""
    return rng.choice(_REFUSALS)
