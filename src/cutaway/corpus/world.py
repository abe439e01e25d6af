"""A generated world of invented people and places with consistent facts.

After the synthetic biographies of Allen-Zhu and Li, "Physics of Language Models: Part 3.1, Knowledge Storage and
Extraction" (2023): because every fact is invented, what a model knows, forgets and makes up can be counted exactly.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import cycle, islice
from math import ceil
from typing import Any, Literal

from cutaway.corpus.names import Split, draw, spellings, stable_fraction
from cutaway.runs.errors import BadInput

Kind = Literal["person", "place"]
Unknown = Literal["fresh", "recombined", "half"]

# Every value is one or few tokens, starts with a consonant sound where "a" stands before it, and occurs under one
# attribute only, so that a grader can look for it in a sentence.
_VALUES = {
    "occupation": """
        baker farmer teacher doctor nurse lawyer judge soldier sailor hunter shepherd carpenter mason blacksmith
        tailor weaver potter painter poet singer dancer printer barber butcher chef gardener miller miner pilot
        driver clerk banker merchant guard porter brewer librarian plumber dentist writer
        """,
    "instrument": """
        piano violin guitar flute drum harp trumpet cello organ banjo clarinet horn lute lyre bagpipe oboe saxophone
        trombone tuba ukulele mandolin accordion harmonica whistle bassoon
        """,
    "dish": """
        soup stew rice porridge curry pasta pizza cake pie pudding salad cheese toast ham beef pork trout salmon
        crab cabbage spinach pumpkin custard bacon chili lasagna sushi goulash fudge jam
        """,
    "pet": """
        dog cat rabbit hamster parrot goat horse donkey lamb pig goose duck hen turtle lizard snake frog mouse
        ferret fox crow pigeon dove falcon monkey camel spider snail squirrel pony
        """,
    "region": """
        Nordia Belland Kestoria Ulmaria Tavoria Drelland Morvane Perrund
        """,
    "product": """
        wool salt glass paper silk honey wine leather pottery rope tea coffee cotton linen timber coal iron copper
        silver tin marble butter soap ink steel lace sugar pepper wheat wax
        """,
    "river": """
        Ilva Tesk Orrel Brenn Nadda Sarro Vennet Kolm Dunna Lissa Marl Pello Quarn Rovik Suvel Thale Uldo Wexel Yelm
        Zarn
        """,
}
ATTRIBUTES: dict[Kind, tuple[str, ...]] = {
    "person": ("birthplace", "occupation", "instrument", "dish", "pet"),
    "place": ("region", "product", "river"),
}
_FIXED_VALUES = {attribute: tuple(words.split()) for attribute, words in _VALUES.items()}
_VALUE_NAMES = tuple(value.capitalize() for values in _FIXED_VALUES.values() for value in values)
_PARTS_PER_PERSON = 0.7
_HELD_OUT_PAIRS = 0.2


@dataclass(frozen=True)
class Entity:
    """One person or place: its full name and its facts, attribute to value."""

    name: str
    kind: Kind
    facts: dict[str, str]


@dataclass(frozen=True)
class World:
    """All entities, people first. Made by `World.generate`; the same seed and sizes give the same world."""

    entities: tuple[Entity, ...]
    seed: int

    @classmethod
    def generate(cls, seed: int, people: int = 200, places: int = 40) -> World:
        """A world of `people` and `places` whose facts are spread as evenly as the numbers allow.

        People partly share their first names, and their last names (each is borne by one or two), so that often neither
        half of a name alone tells who is meant.

        Raises:
            BadInput: the sizes are out of range.
        """
        if not 1 <= people <= 1000 or not 1 <= places <= 300:
            raise BadInput(
                f"a world of {people} people and {places} places is out of range: ask for 1 to 1000 and 1 to 300"
            )
        rng = random.Random(f"world:{seed}")
        towns = draw(rng, "place", "world", places, avoid=_VALUE_NAMES)
        parts = ceil(_PARTS_PER_PERSON * people)
        firsts = _spread(rng, draw(rng, "first", "world", parts, avoid=_VALUE_NAMES), people)
        lasts = _spread(rng, draw(rng, "last", "world", parts, avoid=_VALUE_NAMES), people)
        names = _pair(rng, firsts, lasts)
        columns = {
            attribute: _spread(rng, towns if attribute == "birthplace" else _FIXED_VALUES[attribute], people)
            for attribute in ATTRIBUTES["person"]
        }
        persons = [
            Entity(name, "person", {a: column[i] for a, column in columns.items()}) for i, name in enumerate(names)
        ]
        columns = {attribute: _spread(rng, _FIXED_VALUES[attribute], places) for attribute in ATTRIBUTES["place"]}
        located = [
            Entity(name, "place", {a: column[i] for a, column in columns.items()}) for i, name in enumerate(towns)
        ]
        return cls((*persons, *located), seed)

    @cached_property
    def people(self) -> tuple[Entity, ...]:
        """The people."""
        return tuple(entity for entity in self.entities if entity.kind == "person")

    @cached_property
    def places(self) -> tuple[Entity, ...]:
        """The places."""
        return tuple(entity for entity in self.entities if entity.kind == "place")

    @cached_property
    def by_name(self) -> dict[str, Entity]:
        """Every entity by its full name."""
        return {entity.name: entity for entity in self.entities}

    @cached_property
    def first_names(self) -> tuple[str, ...]:
        """First names that somebody in the world bears, sorted."""
        return tuple(sorted({entity.name.split()[0] for entity in self.people}))

    @cached_property
    def last_names(self) -> tuple[str, ...]:
        """Last names that somebody in the world bears, sorted."""
        return tuple(sorted({entity.name.split()[1] for entity in self.people}))

    def facts(self) -> list[tuple[Entity, str]]:
        """Every (entity, attribute) pair of the world, in order."""
        return [(entity, attribute) for entity in self.entities for attribute in ATTRIBUTES[entity.kind]]

    def values(self, attribute: str) -> tuple[str, ...]:
        """Every value that the attribute can take in this world."""
        if attribute == "birthplace":
            return tuple(place.name for place in self.places)
        return _FIXED_VALUES[attribute]

    def unknown_people(self, rng: random.Random, n: int, kind: Unknown, split: Split) -> list[str]:
        """`n` full names of people that this world does not hold; a small world's few recombined names come repeatedly.

        Args:
            kind: "fresh": both parts occur nowhere in any world; "recombined": a known first name with a known last
                name that do not belong together; "half": one part known and one fresh.
            split: names of the two splits are disjoint; for "fresh" and "half" so are their fresh parts.
        """
        names: dict[str, None] = {}
        for _ in range(50 * n + 1000):
            if len(names) == n:
                break
            name = self._unknown_person(rng, kind, split)
            if name is not None:
                names[name] = None
        if not names and n:
            # A world of one person or none has nothing to recombine.
            return self.unknown_people(rng, n, "fresh", split)
        return list(islice(cycle(names), n))

    def unknown_places(self, rng: random.Random, n: int, split: Split) -> list[str]:
        """`n` different names of places that no world holds; the two splits are disjoint."""
        return rng.sample(spellings("place", split), n)

    def _unknown_person(self, rng: random.Random, kind: Unknown, split: Split) -> str | None:
        first_known = kind == "recombined" or (kind == "half" and rng.random() < 0.5)
        last_known = kind == "recombined" or (kind == "half" and not first_known)
        if (first_known or last_known) and not self.people:
            return None
        first = rng.choice(self.first_names if first_known else spellings("first", split))
        last = rng.choice(self.last_names if last_known else spellings("last", split))
        name = f"{first} {last}"
        if name in self.by_name or first in _VALUE_NAMES or last in _VALUE_NAMES:
            return None
        if kind == "recombined" and pair_split(name) != split:
            return None
        return name

    def to_json(self) -> str:
        """The world as JSON text."""
        return json.dumps({"seed": self.seed, "entities": [asdict(entity) for entity in self.entities]}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> World:
        """The world that `to_json` wrote.

        Raises:
            BadInput: the text is not such a world.
        """
        try:
            raw = json.loads(text)
            return cls(tuple(_entity(entity) for entity in raw["entities"]), int(raw["seed"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(
                f"the corpus's world.json is damaged ({type(error).__name__}: {error}); build the corpus again"
            ) from error


def _entity(raw: dict[str, Any]) -> Entity:
    kind: Kind = "person" if raw["kind"] == "person" else "place"
    return Entity(str(raw["name"]), kind, {attribute: str(raw["facts"][attribute]) for attribute in ATTRIBUTES[kind]})


def pair_split(name: str) -> Split:
    """The split that a recombined full name belongs to, by a stable hash of the name: a fifth is held out."""
    return "heldout" if stable_fraction("pair", name) < _HELD_OUT_PAIRS else "train"


def _spread(rng: random.Random, values: Sequence[str], n: int) -> list[str]:
    """`n` values in random order, each occurring as often as any other, give or take one."""
    order = rng.sample(list(values), len(values))
    column = [order[i % len(order)] for i in range(n)]
    rng.shuffle(column)
    return column


def _pair(rng: random.Random, firsts: list[str], lasts: list[str]) -> list[str]:
    """Full names, no two alike: last names are swapped between people until no name occurs twice."""
    while True:
        seen: set[tuple[str, str]] = set()
        clash = False
        for i, first in enumerate(firsts):
            if (first, lasts[i]) in seen:
                j = rng.randrange(len(lasts))
                lasts[i], lasts[j] = lasts[j], lasts[i]
                clash = True
            seen.add((first, lasts[i]))
        if not clash:
            return [f"{first} {last}" for first, last in zip(firsts, lasts, strict=True)]
