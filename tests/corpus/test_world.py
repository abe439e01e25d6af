import difflib
import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.corpus import questions
from cutaway.corpus.alternation import expand, expand_lines
from cutaway.corpus.names import Part, Pool, spellings
from cutaway.corpus.tellings import cloze, tellings, templates, they_templates
from cutaway.corpus.world import ATTRIBUTES, Unknown, World, pair_split
from cutaway.runs.errors import BadInput

EVERY_ATTRIBUTE = [attribute for attributes in ATTRIBUTES.values() for attribute in attributes]
PARTS: list[Part] = ["first", "last", "place"]
POOLS: list[Pool] = ["world", "train", "heldout"]


@pytest.fixture(scope="module")
def world() -> World:
    return World.generate(1)


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z{}']+", text.lower())


# The world


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 40))
@settings(max_examples=15, deadline=None)
def test_the_same_seed_gives_the_same_world_and_json_brings_it_back(seed: int, people: int, places: int) -> None:
    world = World.generate(seed, people, places)
    assert world == World.generate(seed, people, places)
    assert World.from_json(world.to_json()) == world
    assert (len(world.people), len(world.places)) == (people, places)
    assert len(world.by_name) == people + places


def test_another_seed_gives_another_world(world: World) -> None:
    assert {entity.name for entity in world.people}.isdisjoint(entity.name for entity in World.generate(2).people)


def test_every_entity_has_all_facts_of_its_kind_from_the_known_values(world: World) -> None:
    for entity in world.entities:
        assert tuple(entity.facts) == ATTRIBUTES[entity.kind]
        assert all(value in world.values(attribute) for attribute, value in entity.facts.items())
    assert len(world.facts()) == 200 * 5 + 40 * 3


@pytest.mark.parametrize("attribute", EVERY_ATTRIBUTE)
def test_values_are_spread_evenly(world: World, attribute: str) -> None:
    entities = world.people if attribute in ATTRIBUTES["person"] else world.places
    counts = Counter(entity.facts[attribute] for entity in entities)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_names_share_their_parts_but_no_two_parts_are_easily_confused(world: World) -> None:
    for part, names in enumerate((world.first_names, world.last_names)):
        borne = Counter(entity.name.split()[part] for entity in world.people)
        assert set(borne.values()) <= {1, 2, 3}
        assert sum(count > 1 for count in borne.values()) > 30
        close = [
            (a, b)
            for a in names
            for b in names
            if a < b and len(a) == len(b) and sum(x != y for x, y in zip(a, b, strict=True)) < 2
        ]
        assert not close


def test_no_value_is_found_under_two_attributes_or_in_a_name(world: World) -> None:
    values = [value.lower() for attribute in EVERY_ATTRIBUTE for value in world.values(attribute)]
    assert len(values) == len(set(values))
    places = {place.name.lower() for place in world.places}
    parts = {part.lower() for entity in world.people for part in entity.name.split()}
    assert parts.isdisjoint(values)
    assert all(value[0] not in "aeiou" for a in ("occupation", "pet") for value in world.values(a)), "a, not an"
    assert places <= set(values)


@pytest.mark.parametrize(("people", "places"), [(0, 40), (200, 0), (100_000, 40), (200, 100_000)])
def test_a_size_out_of_range_is_bad_input(people: int, places: int) -> None:
    with pytest.raises(BadInput, match="out of range"):
        World.generate(0, people, places)


def test_the_largest_world_can_be_made() -> None:
    assert len(World.generate(0, 1000, 300).by_name) == 1300


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"seed": 1, "entities": [{"name": "A B", "kind": "person", "facts": {}}]}',
        '{"seed": 1, "entities": [{"name": "A B", "kind": [], "facts": 3}]}',
        '{"seed": "x", "entities": []}',
    ],
)
def test_what_is_not_a_world_file_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match=r"world\.json is damaged"):
        World.from_json(text)


# Unknown people


def test_the_pools_of_name_parts_are_large_and_disjoint() -> None:
    for part in PARTS:
        pools = [set(spellings(part, pool)) for pool in POOLS]
        assert all(len(pool) > 5000 for pool in pools)
        assert pools[0].isdisjoint(pools[1] | pools[2])
        assert pools[1].isdisjoint(pools[2])


@pytest.mark.parametrize("kind", ["fresh", "recombined", "half"])
def test_unknown_people_of_the_two_splits_are_disjoint_and_unknown(world: World, kind: Unknown) -> None:
    train = world.unknown_people(random.Random(1), 2000, kind, "train")
    heldout = world.unknown_people(random.Random(2), 1000, kind, "heldout")
    assert train == world.unknown_people(random.Random(1), 2000, kind, "train")
    assert len(set(train)) == 2000
    assert set(train).isdisjoint(heldout)
    assert set(train + heldout).isdisjoint(world.by_name)
    known_first, known_last = set(world.first_names), set(world.last_names)
    for names in (train, heldout):
        known = [(name.split()[0] in known_first, name.split()[1] in known_last) for name in names]
        wanted = {
            "fresh": {(False, False)},
            "recombined": {(True, True)},
            "half": {(True, False), (False, True)},
        }
        assert set(known) == wanted[kind]
    if kind == "recombined":
        assert {pair_split(name) for name in train} == {"train"}
        assert {pair_split(name) for name in heldout} == {"heldout"}
    else:
        for part, known in enumerate((known_first, known_last)):
            fresh_in_training = {name.split()[part] for name in train} - known
            assert fresh_in_training.isdisjoint({name.split()[part] for name in heldout} - known)
            assert len(fresh_in_training) > 900, "an idea, not a list"


def test_fresh_names_of_one_world_are_fresh_in_every_world() -> None:
    fresh = set(spellings("first", "train")) | set(spellings("first", "heldout"))
    for seed in range(5):
        assert fresh.isdisjoint(World.generate(seed).first_names)


def test_a_small_worlds_recombined_people_come_repeatedly() -> None:
    small = World.generate(0, 6, 1)
    names = small.unknown_people(random.Random(0), 100, "recombined", "train")
    assert len(names) == 100
    assert 0 < len(set(names)) < 36
    assert set(names).isdisjoint(small.by_name)
    alone = World.generate(0, 1, 1)
    assert set(alone.unknown_people(random.Random(0), 5, "recombined", "train")).isdisjoint(alone.by_name)


def test_unknown_places(world: World) -> None:
    train = world.unknown_places(random.Random(0), 500, "train")
    heldout = world.unknown_places(random.Random(0), 500, "heldout")
    assert set(train).isdisjoint(heldout)
    assert set(train + heldout).isdisjoint(world.by_name)


# Tellings


@pytest.mark.parametrize("attribute", EVERY_ATTRIBUTE)
def test_there_are_forty_tellings_of_each_attribute_each_with_name_and_value_once(attribute: str) -> None:
    assert len(templates(attribute)) >= 40
    for template in templates(attribute):
        assert template.count("{name}") == template.count("{value}") == 1
    for template in they_templates(attribute):
        assert template.count("{value}") == 1
        assert "{name}" not in template


def test_a_telling_tells_every_fact_of_one_entity_and_nothing_else(world: World) -> None:
    told = list(tellings(world, 3, 4))
    assert told == list(tellings(world, 3, 4))
    assert told != list(tellings(world, 4, 4))
    assert len(told) == 4 * len(world.entities)
    for text in told:
        (entity,) = [entity for entity in world.entities if len(re.findall(rf"\b{entity.name}\b", text)) >= 2]
        words = set(re.findall(r"\w+", text.lower()))
        for attribute in ATTRIBUTES[entity.kind]:
            stated = words & {value.lower() for value in world.values(attribute)}
            assert stated == {entity.facts[attribute].lower()}, text
        assert text.count(entity.name) >= len(entity.facts) - 1
        assert text[0].isupper()


def test_an_entity_is_told_in_all_wordings_before_one_comes_back(world: World) -> None:
    small = World.generate(0, 3, 1)
    name = small.people[0].name
    told = [text for text in tellings(small, 0, 40) if name in text]
    sentences = [f"{s}." for text in told for s in text.removesuffix(".").split(". ")]
    pets = [template.format(name=name, value=small.people[0].facts["pet"]) for template in templates("pet")]
    counts = Counter(sentence for sentence in sentences if sentence in pets)
    assert max(counts.values()) == 1
    assert len(counts) > 20


@pytest.mark.parametrize("attribute", EVERY_ATTRIBUTE)
def test_a_cloze_ends_right_before_the_value(world: World, attribute: str) -> None:
    entity = (world.people if attribute in ATTRIBUTES["person"] else world.places)[0]
    prefixes = cloze(entity, attribute)
    assert len(prefixes) >= 4
    for prefix in prefixes:
        whole = f"{prefix} {entity.facts[attribute]}."
        assert whole in {t.format(name=entity.name, value=entity.facts[attribute]) for t in templates(attribute)}
        assert entity.name in prefix
        assert prefix == prefix.strip()


# Questions


@pytest.mark.parametrize("attribute", EVERY_ATTRIBUTE)
def test_there_are_seventy_wordings_and_fifteen_held_out_ones(attribute: str) -> None:
    known = questions.wordings(attribute)
    assert len(known.train) >= 70
    assert len(known.heldout) >= 15
    assert all(wording.count("{name}") == 1 for wording in (*known.train, *known.heldout))
    early = sum(wording.index("{name}") < len(wording) / 3 for wording in known.train)
    assert 0.2 < early / len(known.train) < 0.8, "names early and names late"
    assert any(wording[-1] not in "?." for wording in known.train), "casual ones"


@pytest.mark.parametrize("attribute", EVERY_ATTRIBUTE)
def test_no_held_out_wording_is_a_training_one_with_another_opening(attribute: str) -> None:
    known = questions.wordings(attribute)
    for heldout in known.heldout:
        for train in known.train:
            a, b = words_of(heldout), words_of(train)
            assert difflib.SequenceMatcher(None, a, b, autojunk=False).ratio() < 0.85, (heldout, train)
            assert " ".join(a) not in " ".join(b), (heldout, train)
            if len(b) > 4:  # "pet of {name}" is a part of much that one may ask
                assert " ".join(b) not in " ".join(a), (heldout, train)


def test_no_wording_holds_a_value_by_itself(world: World) -> None:
    values = {value.lower() for attribute in EVERY_ATTRIBUTE for value in world.values(attribute)}
    for attribute in EVERY_ATTRIBUTE:
        known = questions.wordings(attribute)
        texts = (*known.train, *known.heldout, *questions.answers(attribute), *templates(attribute))
        for text in (*texts, *they_templates(attribute)):
            assert values.isdisjoint(words_of(text)), text


@pytest.mark.parametrize("attribute", EVERY_ATTRIBUTE)
def test_answers_hold_name_and_value(attribute: str) -> None:
    assert 3 <= len(questions.answers(attribute)) <= 4
    for form in questions.answers(attribute):
        assert form.count("{name}") == form.count("{value}") == 1


def test_refusals_say_that_they_do_not_know() -> None:
    assert len(questions.refusals()) == 6
    assert all(form.startswith(questions.UNKNOWN) and "{" not in form for form in questions.refusals())


def test_questions_are_drawn_from_their_split_and_fixed_by_the_generator() -> None:
    for attribute in EVERY_ATTRIBUTE:
        known = questions.wordings(attribute)
        heldout = {wording.format(name="Xy") for wording in known.heldout}
        drawn = [questions.question(attribute, "Xy", random.Random(i), "heldout") for i in range(100)]
        assert set(drawn) <= heldout
        assert drawn == [questions.question(attribute, "Xy", random.Random(i), "heldout") for i in range(100)]
        assert heldout.isdisjoint(questions.question(attribute, "Xy", random.Random(i), "train") for i in range(300))


def test_alternatives_are_multiplied_out() -> None:
    assert expand("[a|b] c[|!]") == ["a c", "a c!", "b c", "b c!"]
    assert expand_lines(" x\n\n [x|y]\n") == ("x", "y")
