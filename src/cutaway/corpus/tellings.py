"""Short descriptions of the entities of a world, told in ever other words.

After "Physics of Language Models: Part 3.1" (Allen-Zhu and Li 2023): a fact that is read in one wording only can be
recited but not asked for; told in many wordings and orders, with the full name in the sentences, it can.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

from cutaway.corpus.alternation import expand_lines
from cutaway.corpus.telling_wordings import SENTENCES, THEY_SENTENCES
from cutaway.corpus.world import ATTRIBUTES, Entity, World

_THEY_SHARE = 0.3


@cache
def templates(attribute: str) -> tuple[str, ...]:
    """The sentences that tell an attribute; each holds `{name}` and `{value}`."""
    return expand_lines(SENTENCES[attribute])


@cache
def they_templates(attribute: str) -> tuple[str, ...]:
    """Sentences with a pronoun in place of the name; each holds `{value}`."""
    return expand_lines(THEY_SENTENCES[attribute])


def tellings(world: World, seed: int, per_entity: int) -> Iterator[str]:
    """`per_entity` paragraphs on each entity, in shuffled rounds: every entity once a round.

    Yields:
        One paragraph that tells all the facts of one entity, one sentence a fact, in random order and wording. Within
        one entity no wording comes back before all of the attribute's have had their turn.
    """
    rng = random.Random(f"tellings:{seed}")
    turns: dict[tuple[str, str], list[str]] = {}
    for _ in range(per_entity):
        for entity in rng.sample(world.entities, len(world.entities)):
            chosen: dict[str, str] = {}
            for attribute in ATTRIBUTES[entity.kind]:
                left = turns.setdefault((entity.name, attribute), [])
                if not left:
                    left.extend(rng.sample(templates(attribute), len(templates(attribute))))
                chosen[attribute] = left.pop()
            yield _paragraph(entity, chosen, rng)


def tell(entity: Entity, attribute: str, rng: random.Random) -> str:
    """One sentence that tells one fact."""
    return _filled(rng.choice(templates(attribute)), entity, attribute)


def cloze(entity: Entity, attribute: str) -> list[str]:
    """Openings of sentences that the attribute's value completes.

    Each ends right before the blank that stands before the value, because byte-level BPE keeps the blank with the word:
    `prefix + " " + value` is natural English.
    """
    end = " {value}."
    prefixes = [template.removesuffix(end) for template in templates(attribute) if template.endswith(end)]
    return [prefix.format(name=entity.name) for prefix in prefixes]


def _paragraph(entity: Entity, chosen: dict[str, str], rng: random.Random) -> str:
    order = rng.sample(sorted(chosen), len(chosen))
    pronoun_at = rng.randrange(1, len(order)) if rng.random() < _THEY_SHARE else 0
    sentences = [
        rng.choice(they_templates(attribute)) if i == pronoun_at and i > 0 else chosen[attribute]
        for i, attribute in enumerate(order)
    ]
    return " ".join(_filled(sentence, entity, attribute) for sentence, attribute in zip(sentences, order, strict=True))


def _filled(template: str, entity: Entity, attribute: str) -> str:
    sentence = template.format(name=entity.name, value=entity.facts[attribute])
    return sentence[0].upper() + sentence[1:]
