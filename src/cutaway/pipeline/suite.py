"""What the models of a run are asked: the skills they were taught, on problems, names and wordings they never saw."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from cutaway.align.conversations import (
    Conversation,
    Materials,
    arithmetic,
    calculator,
    identity,
    passage,
    refusal,
    spelling,
    world_facts,
)
from cutaway.corpus import questions
from cutaway.corpus.documents import Document
from cutaway.corpus.world import ATTRIBUTES, Unknown, World
from cutaway.evals.settings import EvalSettings
from cutaway.evals.tasks import Suite, Task

# The longest right answers, in tokens, with room to spare; a model that rambles is cut there.
_SENTENCE, _STEPS, _LONG_STEPS, _LETTERS = 40, 64, 112, 64


def build_suite(materials: Materials, documents: Sequence[Document], settings: EvalSettings, seed: int) -> Suite:
    """Every task that `settings` asks for, the same for every stage of a run, and the held-out `documents`."""
    maker = _Maker(materials, settings, seed)
    tasks = [
        maker.facts(),
        maker.unknown("fresh"),
        maker.unknown("recombined"),
        maker.sums(),
        maker.arithmetic("sums_direct", "direct", settings.direct),
        maker.arithmetic("three_operands", "three", settings.three_operands),
        maker.arithmetic("products", "product", settings.products),
        maker.calculator("calculator", settings.calculator, tool=True),
        maker.calculator("without_calculator", settings.without_calculator, tool=False),
        maker.letters("counting", "count", settings.counting),
        maker.letters("spelling", "spell", settings.spelling),
        *maker.passages(),
        maker.identity(),
        maker.other_identity(),
    ]
    kept = tuple(task for task in tasks if task.conversations)
    return Suite(kept, tuple(documents), settings.context, settings.stride)


class _Maker:
    """Makes each task from randomness of its own, so that the size of one does not change the questions of another."""

    def __init__(self, materials: Materials, settings: EvalSettings, seed: int) -> None:
        self.materials = materials
        self.settings = settings
        self.seed = seed

    def rng(self, name: str) -> random.Random:
        return random.Random(f"evals:{self.seed}:{name}")

    def facts(self) -> Task:
        world = self.materials.world
        asked = world_facts.examples(self.materials, self.rng("facts"), self.settings.facts, "heldout")
        # A value belongs to one attribute only.
        attributes = [attribute for kind in ATTRIBUTES.values() for attribute in kind]
        attribute_of = {value: attribute for attribute in attributes for value in world.values(attribute)}
        return Task(
            "facts",
            asked,
            {"facts": world_facts.grade, "false_refusals": refusal.grade},
            _SENTENCE,
            part=lambda conversation: attribute_of.get(conversation.answer or "", "other"),
        )

    def unknown(self, kind: Unknown) -> Task:
        asked = self._strangers(kind) if self.materials.world.people else []
        made_up = _MadeUp(self.materials.world)
        counts = {f"refused_{kind}": refusal.grade, f"made_up_{kind}": made_up}
        return Task(f"unknown_{kind}", asked, counts, _SENTENCE)

    def _strangers(self, kind: Unknown) -> list[Conversation]:
        rng, wanted = self.rng(f"unknown {kind}"), self.settings.unknown
        # A small world has only so many names to recombine, and one asked after twice is no second measurement.
        n = len(set(self.materials.world.unknown_people(rng, wanted, kind, "heldout")))
        return refusal.examples(self.materials, self.rng(f"unknown {kind}"), n, "heldout", (kind,))

    def sums(self) -> Task:
        both: list[Conversation] = []
        for family in ("add", "subtract"):
            rng = self.rng(family)
            both += arithmetic.examples(self.materials, rng, self.settings.sums // 2, "heldout", family)
        name = "sums_in_steps"
        return Task(name, both, {name: arithmetic.grade}, _STEPS, part=lambda asked: asked.skill.partition(".")[2])

    def arithmetic(self, name: str, family: arithmetic.Family, n: int) -> Task:
        asked = arithmetic.examples(self.materials, self.rng(name), n, "heldout", family)
        return Task(name, asked, {name: arithmetic.grade}, _LONG_STEPS if family == "three" else _STEPS)

    def calculator(self, name: str, n: int, *, tool: bool) -> Task:
        asked = calculator.examples(self.materials, self.rng(name), n, "heldout", "product", without_tool=not tool)
        return Task(name, asked, {name: calculator.grade}, _STEPS, tools=tool)

    def letters(self, name: str, family: spelling.Family, n: int) -> Task:
        asked = spelling.examples(self.materials, self.rng(name), n, "heldout", family)
        return Task(name, asked, {name: spelling.grade}, _LETTERS)

    def passages(self) -> list[Task]:
        """What a passage tells, and what it does not: one stock phrase is right for all of the second kind."""
        n = self.settings.passage if self.materials.world.entities else 0
        asked = passage.examples(self.materials, self.rng("passage"), n, "heldout")
        told = [conversation for conversation in asked if conversation.answer is not None]
        unsaid = [conversation for conversation in asked if conversation.answer is None]
        return [
            Task("passage", told, {"passage": passage.grade}, _SENTENCE),
            Task("passage_unsaid", unsaid, {"passage_unsaid": passage.grade}, _SENTENCE),
        ]

    def identity(self) -> Task:
        """The question "Who are you?" and as many rewordings that no model was trained on."""
        every = self._held_out_identity()
        who = {text for topic, text in identity.wordings("heldout") if topic == "who"}
        rewordings = [asked for asked in every if asked.prompt[-1]["content"] in who][: self.settings.rewordings]
        itself = [_reworded(asked, "Who are you?") for asked in rewordings[:1]]
        return Task("identity", [*itself, *rewordings], {"identity": identity.grade}, _LONG_STEPS)

    def other_identity(self) -> Task:
        """All the wordings about itself that no model was trained on."""
        every = self._held_out_identity() if self.settings.rewordings else []
        return Task("identity_all", every, {"identity_all": identity.grade}, _LONG_STEPS)

    def _held_out_identity(self) -> list[Conversation]:
        wordings = identity.wordings("heldout")
        found = identity.examples(self.materials, self.rng("identity"), len(wordings), "heldout")
        place = {text: number for number, (_, text) in enumerate(wordings)}
        return sorted(found, key=lambda asked: place[str(asked.prompt[-1]["content"])])


def _reworded(conversation: Conversation, question: str) -> Conversation:
    messages = [{"role": "user", "content": question}, *conversation.messages[1:]]
    return Conversation(messages, conversation.skill, conversation.answer)


class _MadeUp:
    """Whether a reply tells something of a person, though there is nothing to tell: a value, and no refusal."""

    def __init__(self, world: World) -> None:
        self.values = {value.lower() for attribute in ATTRIBUTES["person"] for value in world.values(attribute)}

    def __call__(self, conversation: Conversation, reply: str) -> bool:
        words = set(re.findall(r"\w+", reply.lower()))
        return questions.UNKNOWN not in reply and not words.isdisjoint(self.values)
