"""Questions on a short passage about somebody or some place that the model never read about.

Some ask for what the passage does not tell. The two splits share neither names nor wordings of questions.
"""

from __future__ import annotations

import random

from cutaway.align.conversations.conversation import Conversation, Materials, exchange
from cutaway.align.conversations.world_facts import states
from cutaway.corpus import questions
from cutaway.corpus.names import Split
from cutaway.corpus.tellings import tell
from cutaway.corpus.world import ATTRIBUTES, Entity, Kind, World

SKILL = "passage"
UNSAID = "does not say"

_UNSAID_REPLY = "The passage does not say."
_UNSAID_SHARE = 0.25
_PLACE_SHARE = 0.25
_FRAMES = (
    "{passage} {question}",
    "{passage}\n{question}",
    "Read this: {passage} {question}",
    "Here is a passage: {passage}\n{question}",
    "Passage: {passage}\nQuestion: {question}",
    "Read the passage and answer. {passage} {question}",
)


def examples(materials: Materials, rng: random.Random, n: int, split: Split) -> list[Conversation]:
    """`n` passages of two to four facts, each with a question; a quarter of the questions has no answer there."""
    return [_example(materials.world, rng, split) for _ in range(n)]


def grade(conversation: Conversation, reply: str) -> bool:
    """The value that the passage tells and no other; or that the passage does not say, where it does not."""
    if conversation.answer is None:
        return UNSAID in reply
    return UNSAID not in reply and questions.UNKNOWN not in reply and states(conversation, reply)


def _example(world: World, rng: random.Random, split: Split) -> Conversation:
    entity = _stranger(world, rng, split)
    attributes = ATTRIBUTES[entity.kind]
    told = rng.sample(attributes, rng.randint(2, min(4, len(attributes) - 1)))
    unsaid = rng.random() < _UNSAID_SHARE
    asked = rng.choice([a for a in attributes if a not in told]) if unsaid else rng.choice(told)
    text = rng.choice(_FRAMES).format(
        passage=" ".join(tell(entity, attribute, rng) for attribute in told),
        question=questions.question(asked, entity.name, rng, split),
    )
    if unsaid:
        return exchange(text, _UNSAID_REPLY, SKILL, None)
    value = entity.facts[asked]
    reply = questions.answer(asked, entity.name, value, rng)
    return exchange(text, reply, SKILL, value, tuple(other for other in world.values(asked) if other != value))


def _stranger(world: World, rng: random.Random, split: Split) -> Entity:
    kind: Kind = "place" if rng.random() < _PLACE_SHARE else "person"
    names = world.unknown_places(rng, 1, split) if kind == "place" else world.unknown_people(rng, 1, "fresh", split)
    return Entity(names[0], kind, {attribute: rng.choice(world.values(attribute)) for attribute in ATTRIBUTES[kind]})
