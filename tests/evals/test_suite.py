"""The suite asks only what no training holds, accepts the taught answers, and is the same for every stage."""

from __future__ import annotations

import random

import pytest

from cutaway.align.conversations import SKILLS, Materials
from cutaway.corpus.documents import Document
from cutaway.corpus.world import World
from cutaway.evals import EvalSettings, Suite
from cutaway.evals.measures import MEASURES
from cutaway.pipeline.suite import build_suite

WORDS = tuple(
    "garden window kingdom prophet morning evening people water mother heaven earth spirit letter house".split()
)
CONTRAST = ("false_refusals", "made_up_fresh", "made_up_recombined")


def materials(people: int = 60) -> Materials:
    world = World.generate(5, people, 12) if people else World((), 5)
    return Materials(world, WORDS, "Cutaway", "Ann", "the Bible and an invented world")


@pytest.fixture(scope="module")
def suite() -> Suite:
    return build_suite(materials(), [Document("a/1", "text", "a")], EvalSettings(), seed=7)


def test_every_measure_is_one_that_reports_know(suite: Suite) -> None:
    metrics = [metric for task in suite.tasks for metric in task.counts]
    assert set(metrics) == set(MEASURES) - {"bits_per_byte"}
    assert len(metrics) == len(set(metrics))
    assert len(suite.documents) == 1


def test_the_taught_answers_count(suite: Suite) -> None:
    for task in suite.tasks:
        for metric, counts in task.counts.items():
            for conversation in task.conversations:
                assert counts(conversation, conversation.messages[-1]["content"]) == (metric not in CONTRAST), metric
                assert not counts(conversation, "")


def test_nothing_asked_is_taught(suite: Suite) -> None:
    taught = {
        str(conversation.prompt[-1]["content"])
        for skill in SKILLS.values()
        for conversation in skill.examples(materials(), random.Random(1), 1500, "train")
    }
    asked = {str(c.messages[0]["content"]) for task in suite.tasks for c in task.conversations}
    assert asked & taught == {"Who are you?"}


def test_answers_about_strangers_are_made_up_or_refused(suite: Suite) -> None:
    (task,) = [task for task in suite.tasks if task.name == "unknown_fresh"]
    one = task.conversations[0]
    made_up = task.counts["made_up_fresh"]
    assert made_up(one, "They are a baker.")
    assert not made_up(one, "I don't know. I have never read about that baker.")
    assert not made_up(one, "And it came to pass")


def test_the_same_seed_asks_the_same_and_sizes_do_not_move_other_tasks() -> None:
    first = build_suite(materials(), [], EvalSettings(), seed=7)
    fewer = build_suite(materials(), [], EvalSettings(sums=10, direct=0), seed=7)
    other = build_suite(materials(), [], EvalSettings(), seed=8)
    by_name = {task.name: task for task in fewer.tasks}
    assert "sums_direct" not in by_name
    assert len(by_name["sums_in_steps"].conversations) == 10
    for task in first.tasks:
        if task.name in by_name and task.name != "sums_in_steps":
            assert by_name[task.name].conversations == task.conversations
    assert first.tasks[0].conversations != other.tasks[0].conversations


def test_without_a_world_or_with_a_small_one_it_asks_what_it_can() -> None:
    names = {task.name for task in build_suite(materials(0), [], EvalSettings(), seed=1).tasks}
    assert "sums_in_steps" in names
    assert not {"facts", "unknown_fresh", "unknown_recombined", "passage"} & names
    small = {task.name: task for task in build_suite(materials(8), [], EvalSettings(), seed=1).tasks}
    assert 0 < len(small["unknown_recombined"].conversations) < 200
    none = {name: 0 for name in EvalSettings.model_fields if name not in ("context", "stride")}
    assert not build_suite(materials(), [], EvalSettings(**none), seed=1).tasks
