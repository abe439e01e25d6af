"""How much of each skill the assistant is taught, and its conversations as training examples."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from functools import partial

from pydantic import Field

from cutaway.align.conversations import (
    Conversation,
    Materials,
    arithmetic,
    calculator,
    identity,
    passage,
    refusal,
    smalltalk,
    spelling,
    world_facts,
)
from cutaway.align.conversations.conversation import exchange
from cutaway.corpus import questions
from cutaway.corpus.world import Unknown
from cutaway.runs import Settings
from cutaway.tokens import Tokenizer
from cutaway.train import Example

Fact = tuple[str, str]
"""A name and an attribute of the one who bears it."""


HARDER: tuple[Unknown, ...] = ("fresh", "recombined", "recombined")
"""Kinds of unknown people to refuse: known names newly paired are the harder ones to tell from people it read about."""


class Mixture(Settings):
    """Conversations of each skill, in proportion to one another."""

    identity: float = Field(default=3, ge=0)
    smalltalk: float = Field(default=2, ge=0)
    world_facts: float = Field(default=27, ge=0)
    refusal: float = Field(default=17, ge=0, description="unknown people, and facts it turned out not to know")
    add: float = Field(default=12, ge=0)
    subtract: float = Field(default=15, ge=0)
    three: float = Field(
        default=3, ge=0, description="three operands; few, so that reinforcement learning has something to add"
    )
    product: float = Field(default=5, ge=0)
    direct: float = Field(default=1, ge=0, description="sums answered without steps")
    spell: float = Field(default=2, ge=0)
    count: float = Field(default=2, ge=0, description="counting a letter in a word")
    calculator: float = Field(default=8, ge=0)
    without_tool: float = Field(default=0.5, ge=0, description="large products without the calculator, for contrast")
    passage: float = Field(default=4, ge=0)


Maker = Callable[[random.Random, int], list[Conversation]]


def conversations(
    materials: Materials, mixture: Mixture, n: int, seed: int, *, known: Collection[Fact] | None = None
) -> list[Conversation]:
    """About `n` conversations for training, in no particular order.

    `known` are the facts that the model was found to know: it is taught to answer these and to say "I don't know" to
    the others. None: it is taught to answer all of them.
    """
    m, rng = materials, random.Random(seed)
    if not m.world.entities:
        mixture = mixture.model_copy(update={"world_facts": 0, "refusal": 0, "passage": 0})
    makers: dict[str, Maker] = {
        "identity": partial(taught, identity.examples, m),
        "smalltalk": partial(taught, smalltalk.examples, m),
        "world_facts": lambda r, k: world_facts.examples(m, r, k, "train", known=known),
        "refusal": lambda r, k: refusals(m, r, k, known),
        **{family: partial(_arithmetic, m, family) for family in ("add", "subtract", "three", "product", "direct")},
        "spell": lambda r, k: spelling.examples(m, r, k, "train", family="spell"),
        "count": lambda r, k: spelling.examples(m, r, k, "train", family="count"),
        "calculator": partial(taught, calculator.examples, m),
        "without_tool": lambda r, k: calculator.examples(m, r, k, "train", without_tool=True),
        "passage": partial(taught, passage.examples, m),
    }
    weights: dict[str, float] = mixture.model_dump()
    total = sum(weights.values())
    made = [
        conversation
        for skill, weight in weights.items()
        for conversation in makers[skill](random.Random(rng.random()), round(n * weight / total))
    ]
    rng.shuffle(made)
    return made


def refusals(materials: Materials, rng: random.Random, n: int, known: Collection[Fact] | None) -> list[Conversation]:
    """Questions to refuse: about people who do not exist, and one in ten about a fact the model does not know."""
    world = materials.world
    unsure = [] if known is None else [(e, a) for e, a in world.facts() if (e.name, a) not in known]
    of_unsure = min(n // 10, 20 * len(unsure))
    made = refusal.examples(materials, rng, n - of_unsure, "train", HARDER)
    for _ in range(of_unsure):
        entity, attribute = rng.choice(unsure)
        question = questions.question(attribute, entity.name, rng, "train")
        made.append(exchange(question, questions.UNKNOWN + ".", "refusal", None))
    return made


def examples(tokenizer: Tokenizer, made: Sequence[Conversation]) -> list[Example]:
    """The conversations as tokens, only the assistant's to be learned."""
    return [Example(*tokenizer.encode_chat_masked(conversation.messages)) for conversation in made]


def taught(
    make: Callable[[Materials, random.Random, int, questions.Split], list[Conversation]],
    materials: Materials,
    rng: random.Random,
    n: int,
) -> list[Conversation]:
    """A skill's training conversations."""
    return make(materials, rng, n, "train")


def _arithmetic(materials: Materials, family: arithmetic.Family, rng: random.Random, n: int) -> list[Conversation]:
    return arithmetic.examples(materials, rng, n, "train", family=family)
