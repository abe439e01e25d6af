import json
import random
import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.align.conversations import (
    SKILLS,
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
from cutaway.align.conversations.conversation import last_number, rounds
from cutaway.assistant.calculator import calculate
from cutaway.corpus import questions
from cutaway.corpus.world import ATTRIBUTES, World

Split = Literal["train", "heldout"]
SPLITS: list[Split] = ["train", "heldout"]
WORDS = tuple(
    f"{a}{b}{c}" for a in ("wat", "le", "bo", "see") for b in ("er", "tt", "ee") for c in ("ing", "s", "al", "o")
)


@pytest.fixture(scope="module")
def materials() -> Materials:
    return Materials(World.generate(1), WORDS, "Wren", "Ann Example", "the Bible and an invented world")


def questions_of(conversations: list[Conversation]) -> list[str]:
    return [conversation.prompt[-1]["content"] for conversation in conversations]


# What holds for every skill


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", SKILLS)
def test_the_taught_reply_is_graded_right_and_a_senseless_one_wrong(
    materials: Materials, name: str, split: Split
) -> None:
    skill = SKILLS[name]
    made = skill.examples(materials, random.Random(5), 300, split)
    assert len(made) == 300
    for conversation in made:
        assert skill.grade(conversation, conversation.wanted), conversation
        assert not skill.grade(conversation, ""), conversation
        assert not skill.grade(conversation, "Blue."), conversation
        assert conversation.skill.split(".")[0] == name
        json.dumps(conversation.messages)


@pytest.mark.parametrize("name", SKILLS)
def test_examples_follow_from_the_generator_alone(materials: Materials, name: str) -> None:
    skill = SKILLS[name]
    first = skill.examples(materials, random.Random(3), 50, "train")
    assert first == skill.examples(materials, random.Random(3), 50, "train")
    assert first != skill.examples(materials, random.Random(4), 50, "train")


@pytest.mark.parametrize("name", SKILLS)
def test_no_question_is_in_both_splits(materials: Materials, name: str) -> None:
    skill = SKILLS[name]
    train = questions_of(skill.examples(materials, random.Random(1), 3000, "train"))
    heldout = questions_of(skill.examples(materials, random.Random(2), 1000, "heldout"))
    assert set(train).isdisjoint(heldout)


@pytest.mark.parametrize("name", SKILLS)
def test_messages_are_well_formed(materials: Materials, name: str) -> None:
    for conversation in SKILLS[name].examples(materials, random.Random(1), 100, "train"):
        roles = [message["role"] for message in conversation.messages]
        assert roles in (["user", "assistant"], ["user", "assistant", "tool", "assistant"])
        assert all(isinstance(message["content"], str) for message in conversation.messages)
        assert [message["role"] for message in conversation.prompt] == ["user"]
        assert conversation.wanted == conversation.wanted.strip() != ""
        assert "{" not in conversation.wanted + conversation.prompt[0]["content"]


# Identity and small talk


def test_there_are_many_ways_to_ask_who_it_is() -> None:
    train = [text for _, text in identity.wordings("train")]
    heldout = [text for _, text in identity.wordings("heldout")]
    assert len(set(train)) == len(train) >= 120
    assert len(set(heldout)) == len(heldout) >= 12
    assert "Who are you?" in train
    assert {t.lower().strip("?.!") for t in train}.isdisjoint(t.lower().strip("?.!") for t in heldout)


def test_identity_wants_what_it_is_and_by_whom_and_on_what(materials: Materials) -> None:
    (conversation,) = identity.examples(materials, random.Random(0), 1, "heldout")
    right = "I am Wren, a small language model trained here by Ann Example on the Bible and an invented world."
    assert identity.grade(conversation, right)
    for part in ("small ", "Ann Example", "invented"):
        assert not identity.grade(conversation, right.replace(part, ""))


def test_small_talk_wants_the_reply_of_the_occasion(materials: Materials) -> None:
    made = smalltalk.examples(materials, random.Random(0), 100, "train")
    assert {len(conversation.wanted) < 60 for conversation in made} == {True}
    assert not smalltalk.grade(next(c for c in made if c.wanted == "Goodbye!"), "You are welcome.")


# The world


def test_facts_are_asked_evenly_and_in_the_wordings_of_the_split(materials: Materials) -> None:
    facts = materials.world.facts()
    for split in SPLITS:
        made = world_facts.examples(materials, random.Random(0), len(facts), split)
        stated = {(c.answer, c.wanted) for c in made}
        assert len(stated) > len(facts) * 0.9
        for conversation in made:
            asked = conversation.prompt[0]["content"]
            (entity,) = [e for name, e in materials.world.by_name.items() if re.search(rf"\b{name}\b", asked)]
            forms = {
                wording.format(name=entity.name)
                for attribute in ATTRIBUTES[entity.kind]
                for wording in getattr(questions.wordings(attribute), split)
            }
            assert asked in forms
            assert conversation.answer in entity.facts.values()


def test_facts_can_be_kept_to_the_known_ones(materials: Materials) -> None:
    one, two = materials.world.people[:2]
    known = {(one.name, "pet"), (two.name, "dish")}
    made = world_facts.examples(materials, random.Random(0), 20, "train", known=known)
    assert {conversation.answer for conversation in made} == {one.facts["pet"], two.facts["dish"]}
    assert world_facts.examples(materials, random.Random(0), 20, "train", known=set()) == []


def test_a_fact_is_right_only_if_it_is_the_one_value(materials: Materials) -> None:
    entity = materials.world.people[0]
    right = entity.facts["pet"]
    other = next(value for value in materials.world.values("pet") if value != right)
    conversation = world_facts.ask(materials.world, entity, "pet", random.Random(0), "heldout")
    assert world_facts.grade(conversation, f"{entity.name} has a pet {right}.")
    assert world_facts.grade(conversation, right.upper())
    assert not world_facts.grade(conversation, f"{entity.name} has a pet {other}.")
    assert not world_facts.grade(conversation, f"A {right} or a {other}.")
    assert not world_facts.grade(conversation, f"I don't know. Perhaps a {right}.")
    assert not world_facts.grade(conversation, f"A {right}ling.")


def test_refusals_are_half_fresh_and_half_recombined_and_cover_all_attributes(materials: Materials) -> None:
    world = materials.world
    made = refusal.examples(materials, random.Random(0), 200, "train")
    # A question's first word may stand before the name, which is then the last such pair of words.
    found = [re.findall(r"(?=\b([A-Z][a-z]+ [A-Z][a-z]+))", question)[-1] for question in questions_of(made)]
    known = [name.split()[0] in world.first_names and name.split()[1] in world.last_names for name in found]
    assert len(found) == 200
    assert sum(known) == 100
    assert not any(name in world.by_name for name in found)


def test_names_in_training_refusals_are_not_those_of_held_out_ones(materials: Materials) -> None:
    def names(split: Split) -> set[str]:
        texts = questions_of(refusal.examples(materials, random.Random(1), 2000, split))
        return {name for text in texts for name in re.findall(r"[A-Z][a-z]+ [A-Z][a-z]+", text)}

    assert names("train").isdisjoint(names("heldout"))


def test_somebody_known_is_not_refused(materials: Materials) -> None:
    with pytest.raises(ValueError, match="known"):
        refusal.refuse(materials.world, materials.world.people[0].name, "pet", random.Random(0), "train")


# Arithmetic


def true_steps(text: str) -> int:
    """How many steps a working has; each is checked."""
    steps = re.findall(r"([\d+*-]+)([=<>])(-?\d+)\.", text)
    for left, sign, right in steps:
        value = int(calculate(left))
        assert {"=": value == int(right), "<": value < int(right), ">": value > int(right)}[sign], (text, left)
    return len(steps)


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from("+-"))
def test_every_step_of_a_sum_or_difference_is_true(a: int, b: int, sign: str) -> None:
    text = arithmetic.working(f"{a}{sign}{b}")
    assert true_steps(text) == text.count(".") >= 1
    assert text.endswith(f"{a}{sign}{b}={a + b if sign == '+' else a - b}.")
    assert last_number(text) == calculate(f"{a}{sign}{b}")


@given(st.integers(0), st.sampled_from(["three", "product"]), st.sampled_from(SPLITS))
def test_every_step_of_a_longer_working_is_true(seed: int, family: arithmetic.Family, split: Split) -> None:
    expression = arithmetic.problem(random.Random(seed), split, family)
    text = arithmetic.working(expression)
    assert true_steps(text) == text.count(".") >= 3
    assert text.endswith(f"{expression}={calculate(expression)}.")
    assert last_number(text) == calculate(expression) == str(arithmetic.evaluate(expression))


@pytest.mark.parametrize("family", arithmetic.FAMILIES)
def test_problems_in_training_hold_nothing_that_is_held_out(materials: Materials, family: arithmetic.Family) -> None:
    train = arithmetic.examples(materials, random.Random(1), 4000, "train", family=family)
    heldout = arithmetic.examples(materials, random.Random(2), 1000, "heldout", family=family)
    held_out_pairs = {(a, b) for a in range(100) for b in range(100) if arithmetic.pair_split(a, b) == "heldout"}

    def key(conversation: Conversation) -> str:
        *_, expression = re.findall(r"[\d+*-]+", conversation.wanted.rpartition("=")[0]) or [""]
        if family == "direct":
            expression = re.sub(r" ([+-]) ", r"\1", conversation.prompt[0]["content"])
            expression = re.findall(r"\d+[+-]\d+", expression)[0]
        return arithmetic.problem_key(expression)

    assert {key(c) for c in train}.isdisjoint({key(c) for c in heldout})
    for conversation in train:
        for text in (conversation.wanted, re.sub(r" ([+-]) ", r"\1", conversation.prompt[0]["content"])):
            for a, b in re.findall(r"(?<![\d+*-])(\d+)[+-](\d+)(?![\d+-])", text):
                assert (int(a), int(b)) not in held_out_pairs, conversation
    assert len({key(c) for c in heldout}) > 80


def test_the_same_pairs_are_held_out_for_sums_differences_and_straight_answers() -> None:
    held_out = [(a, b) for a in range(100) for b in range(a, 100) if arithmetic.pair_split(a, b) == "heldout"]
    assert 0.12 < len(held_out) / 5050 < 0.18
    for a, b in held_out:
        for expression in (f"{a}+{b}", f"{b}+{a}", f"{a}-{b}", f"{b}-{a}"):
            assert arithmetic.problem_split(expression) == "heldout"
    assert arithmetic.problem_key("48+37") == arithmetic.problem_key("37-48")
    assert arithmetic.problem_key("1+20+30") == arithmetic.problem_key("30+1+20") != arithmetic.problem_key("30-1+20")


def test_the_digit_tables_are_never_held_out() -> None:
    assert all(arithmetic.pair_split(a, b) == "train" for a in range(19) for b in range(10))


def test_the_answer_to_a_sum_is_its_last_number(materials: Materials) -> None:
    (conversation,) = arithmetic.examples(materials, random.Random(0), 1, "train", family="add")
    value = int(conversation.answer or "")
    assert arithmetic.grade(conversation, f"It is {value}.")
    assert not arithmetic.grade(conversation, f"It is {value}, not {value + 1}.")
    assert not arithmetic.grade(conversation, f"It is {value}0.")
    assert not arithmetic.grade(conversation, f"It is -{value}.")


@pytest.mark.parametrize(
    ("text", "number"),
    [("23-48=-25.", "-25"), ("5-3", "3"), ("no", None), ("=7", "7"), ("a -4", "-4"), ("(2)-1", "1"), ("1,200", "200")],
)
def test_the_last_number_of_a_text(text: str, number: str | None) -> None:
    assert last_number(text) == number


def test_straight_answers_are_bare_numbers(materials: Materials) -> None:
    for conversation in arithmetic.examples(materials, random.Random(0), 50, "train", family="direct"):
        assert re.fullmatch(r"-?\d+", conversation.wanted)


# Spelling


@given(st.text("abcde", min_size=1, max_size=12), st.sampled_from("abcdef"))
def test_counting_runs_along_the_letters(word: str, letter: str) -> None:
    text = spelling.counting(word, letter)
    assert re.sub(r"[^a-f]", "", text) == word
    assert [int(n) for n in re.findall(rf"{letter}(\d+)", text)] == list(range(1, word.count(letter) + 1))
    assert last_number(text) == str(word.count(letter))


def test_spelling_has_words_of_both_splits_and_none_in_both(materials: Materials) -> None:
    seen = {}
    for split in SPLITS:
        made = spelling.examples(materials, random.Random(0), 500, split, family="spell")
        seen[split] = {conversation.answer for conversation in made}
    assert seen["train"].isdisjoint(seen["heldout"])
    assert len(seen["train"] | seen["heldout"]) == len(spelling.usable(WORDS))


def test_without_words_there_is_nothing_to_spell(materials: Materials) -> None:
    bare = Materials(materials.world, ("Ab", "x", "two words", "caf\u00e9"), "Wren", "Ann", "text")
    assert spelling.examples(bare, random.Random(0), 10, "train") == []


def test_spelling_is_exact(materials: Materials) -> None:
    conversation = spelling.spell("water", random.Random(0))
    assert spelling.grade(conversation, "w a t e r")
    assert not spelling.grade(conversation, "w a t e")
    counted = spelling.count("water", random.Random(0))
    working = counted.messages[-1]["content"]
    assert spelling.grade(counted, working)
    assert not spelling.grade(counted, "w a t e r: 7")
    assert not spelling.grade(counted, working.replace("w", "m", 1))


# Calculator


@pytest.mark.parametrize("split", SPLITS)
def test_the_calculator_is_called_and_its_result_read_off(materials: Materials, split: Split) -> None:
    for conversation in calculator.examples(materials, random.Random(0), 300, split):
        _, call, result, reply = conversation.messages
        function = call["tool_calls"][0]["function"]
        assert function["name"] == calculator.TOOL
        expression = json.loads(function["arguments"])["expression"]
        assert result["content"] == calculate(expression) == conversation.answer
        assert result["tool_call_id"] == call["tool_calls"][0]["id"]
        assert reply["content"] == f"{expression}={result['content']}."
        assert all(number in conversation.prompt[0]["content"] for number in re.findall(r"\d+", expression))


def test_held_out_products_are_of_four_digits(materials: Materials) -> None:
    for conversation in calculator.examples(materials, random.Random(0), 200, "heldout", family="product"):
        assert re.match(r"\d{4}\*\d{4}=", conversation.wanted)


def test_without_the_calculator_the_answer_is_bare(materials: Materials) -> None:
    for conversation in calculator.examples(materials, random.Random(0), 100, "train", without_tool=True):
        assert len(conversation.messages) == 2
        assert conversation.wanted == conversation.answer
        assert "calculator" in conversation.prompt[0]["content"].lower()


# Passages


def test_a_passage_holds_its_answer_or_does_not_say(materials: Materials) -> None:
    made = passage.examples(materials, random.Random(0), 1000, "train")
    unsaid = [conversation for conversation in made if conversation.answer is None]
    assert 0.2 < len(unsaid) / len(made) < 0.3
    for conversation in made:
        text = conversation.prompt[0]["content"]
        words = set(re.findall(r"\w+", text.lower()))
        if conversation.answer is not None:
            assert conversation.answer.lower() in words
            assert words.isdisjoint(value.lower() for value in conversation.wrong)
            assert not passage.grade(conversation, "The passage does not say.")
            assert not passage.grade(
                conversation, conversation.wanted.replace(conversation.answer, conversation.wrong[0])
            )
        else:
            assert not passage.grade(conversation, "A dog.")
        assert not any(re.search(rf"\b{person.name}\b", text) for person in materials.world.people)


def test_rounds_take_every_item_as_often_as_any_other() -> None:
    drawn = rounds(["a", "b", "c"], random.Random(0), 8)
    assert sorted(drawn.count(item) for item in "abc") == [2, 3, 3]
