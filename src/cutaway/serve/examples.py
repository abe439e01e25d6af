"""Questions worth asking a model of a run first: one for each thing it was taught."""

from __future__ import annotations

import random
from pathlib import Path

from cutaway.corpus import World
from cutaway.runs import BadInput

_SEED = 0
"""The same run shows the same examples every time."""
_QUESTIONS = {
    "birthplace": "Where was {name} born?",
    "occupation": "What does {name} do for a living?",
    "instrument": "Which instrument does {name} play?",
    "dish": "What does {name} like to eat best?",
    "pet": "What pet does {name} have?",
    "region": "In which region is {name}?",
    "product": "What is {name} known for?",
    "river": "Which river runs through {name}?",
}
_OTHERS = ("What is 47 + 36?", "What is 4821 * 7093?", "What is 34 * 6?")


def examples_of(run: Path) -> list[str]:
    """Examples for the run in the directory `run`: its world's people, one it never read of, sums and letters.

    There are none where the run has no world.
    """
    try:
        world = World.from_json((run / "corpus" / "world.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, BadInput):
        return []
    rng = random.Random(_SEED)
    asked = ["Who are you?"]
    for entities in (world.people, world.places):
        known = sorted(set(entities[0].facts) & set(_QUESTIONS)) if entities else []
        if known:
            asked.append(_QUESTIONS[rng.choice(known)].format(name=rng.choice(entities).name))
    if world.people:
        stranger = world.unknown_people(rng, 1, "fresh", "heldout")[0]
        asked.append(_QUESTIONS["birthplace"].format(name=stranger))
    return [*asked, *_OTHERS]
