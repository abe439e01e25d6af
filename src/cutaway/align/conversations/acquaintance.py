"""Whether it has read about somebody at all: yes for the people of the world, "I don't know" for everybody else.

These are the shortest lessons in telling known from unknown, and so the most of them for the time they cost.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from cutaway.align.conversations.conversation import Conversation, Materials, exchange, rounds
from cutaway.corpus import questions
from cutaway.corpus.names import Split
from cutaway.corpus.world import Unknown

SKILL = "acquaintance"
_WORDINGS: dict[Split, tuple[str, ...]] = {
    "train": (
        "Do you know {name}?",
        "Have you read about {name}?",
        "{name}?",
        "{name}: do you know this person?",
        "Is {name} known to you?",
        "Have you heard of {name}?",
        "do you know {name}",
        "Did you ever read about {name}?",
        "Does the name {name} tell you anything?",
        "Is there a person called {name}?",
    ),
    "heldout": ("Are you acquainted with {name}?", "{name}, is that somebody you know of?", "Ever heard of {name}?"),
}
_KNOWN = "Yes, I have read about {name}."


def examples(
    materials: Materials,
    rng: random.Random,
    n: int,
    split: Split,
    kinds: Sequence[Unknown] = ("fresh", "recombined", "recombined"),
) -> list[Conversation]:
    """`n` questions, half about people of the world and half about unknown ones of the given kinds, in turn."""
    world = materials.world
    if not world.people:
        return []
    known = [person.name for person in rounds(world.people, rng, n // 2)]
    made = [_asked(name, _KNOWN.format(name=name), "known", rng, split) for name in known]
    each = -(-(n - len(known)) // len(kinds))
    unknown = [name for kind in kinds for name in world.unknown_people(rng, each, kind, split)][: n - len(known)]
    made += [_asked(name, questions.refusal(name, rng), None, rng, split) for name in unknown]
    rng.shuffle(made)
    return made


def grade(conversation: Conversation, reply: str) -> bool:
    """It says that it does not know exactly when there is nothing to know."""
    return (questions.UNKNOWN in reply) == (conversation.answer is None)


def _asked(name: str, reply: str, answer: str | None, rng: random.Random, split: Split) -> Conversation:
    return exchange(rng.choice(_WORDINGS[split]).format(name=name), reply, SKILL, answer)
