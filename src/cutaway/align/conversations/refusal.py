"""Questions on people that the model never read about, to be answered with "I don't know".

The names of the two splits are disjoint (see `World.unknown_people`), and so are the wordings.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from cutaway.align.conversations.conversation import Conversation, Materials, exchange, rounds
from cutaway.corpus import questions
from cutaway.corpus.names import Split
from cutaway.corpus.world import ATTRIBUTES, Unknown, World

SKILL = "refusal"


def examples(
    materials: Materials,
    rng: random.Random,
    n: int,
    split: Split,
    kinds: Sequence[Unknown] = ("fresh", "recombined"),
) -> list[Conversation]:
    """`n` questions, the kinds of unknown people in equal shares, every attribute as often as any other."""
    shares = [n // len(kinds) + (i < n % len(kinds)) for i in range(len(kinds))]
    names = [
        name
        for kind, share in zip(kinds, shares, strict=True)
        for name in materials.world.unknown_people(rng, share, kind, split)
    ]
    attributes = rounds(list(ATTRIBUTES["person"]), rng, n)
    made = [refuse(materials.world, name, a, rng, split) for name, a in zip(names, attributes, strict=True)]
    rng.shuffle(made)
    return made


def refuse(world: World, name: str, attribute: str, rng: random.Random, split: Split) -> Conversation:
    """One question about somebody whom the world does not hold, and the refusal.

    Raises:
        ValueError: the world does hold them.
    """
    if name in world.by_name:
        raise ValueError(f"{name} is known: there is nothing to refuse")
    return exchange(questions.question(attribute, name, rng, split), questions.refusal(rng), SKILL, None)


def grade(conversation: Conversation, reply: str) -> bool:
    """The reply says that it does not know."""
    return questions.UNKNOWN in reply
