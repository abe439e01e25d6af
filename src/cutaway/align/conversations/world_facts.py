"""Questions on people and places of the world that the model has read about.

Both splits ask about the same facts; they differ in the wordings.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection

from cutaway.align.conversations.conversation import Conversation, Materials, exchange, rounds
from cutaway.corpus import questions
from cutaway.corpus.names import Split
from cutaway.corpus.world import Entity, World

SKILL = "world_facts"


def examples(
    materials: Materials,
    rng: random.Random,
    n: int,
    split: Split,
    known: Collection[tuple[str, str]] | None = None,
) -> list[Conversation]:
    """`n` questions, every fact as often as any other.

    Args:
        known: (name, attribute) pairs to keep to, such as those that a probed model was found to know; None for all.
    """
    world = materials.world
    facts = [(e, a) for e, a in world.facts() if known is None or (e.name, a) in known]
    if not facts:
        return []
    return [ask(world, entity, attribute, rng, split) for entity, attribute in rounds(facts, rng, n)]


def ask(world: World, entity: Entity, attribute: str, rng: random.Random, split: Split) -> Conversation:
    """One question for one fact, in a wording of the split, and its answer."""
    value = entity.facts[attribute]
    return exchange(
        questions.question(attribute, entity.name, rng, split),
        questions.answer(attribute, entity.name, value, rng),
        SKILL,
        value,
        tuple(other for other in world.values(attribute) if other != value),
    )


def grade(conversation: Conversation, reply: str) -> bool:
    """The right value is in the reply, no other value of the attribute is, and it is no refusal."""
    return states(conversation, reply) and questions.UNKNOWN not in reply


def states(conversation: Conversation, reply: str) -> bool:
    """Whether the reply holds the conversation's answer as a word, and none of the wrong ones."""
    words = set(re.findall(r"\w+", reply.lower()))
    return (conversation.answer or "").lower() in words and words.isdisjoint(map(str.lower, conversation.wrong))
