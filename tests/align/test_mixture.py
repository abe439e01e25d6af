"""What fine-tuning is made of, and what it is kept from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cutaway.align.conversations import Materials, arithmetic
from cutaway.align.mixture import Mixture, conversations, examples
from cutaway.align.probe import probe
from cutaway.align.sft import SftSettings, sft_rows
from cutaway.corpus import World, questions
from cutaway.model import ModelConfig, Transformer
from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer
from cutaway.train import Example

WORLD = World.generate(3, people=12, places=6)
MATERIALS = Materials(WORLD, ("water", "stone", "bread", "garden"), "Wren", "Ann", "the Bible and an invented world")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    made = conversations(MATERIALS, Mixture(), 300, seed=0)
    texts = [str(message["content"]) for conversation in made for message in conversation.messages]
    return train_tokenizer(TokenizerSettings(vocab_size=600), texts, tmp_path_factory.mktemp("t"))


def test_skills_come_in_their_shares_and_from_the_seed_alone() -> None:
    mixture = Mixture()
    made = conversations(MATERIALS, mixture, 2000, seed=1)
    assert made == conversations(MATERIALS, mixture, 2000, seed=1)
    assert made != conversations(MATERIALS, mixture, 2000, seed=2)
    count = Counter(conversation.skill for conversation in made)
    total = sum(mixture.model_dump().values())
    assert count["refusal"] == round(2000 * mixture.refusal / total)
    assert count["arithmetic.add"] == round(2000 * mixture.add / total)


def test_only_known_facts_are_answered_and_the_others_doubted() -> None:
    known = {(entity.name, attribute) for entity, attribute in WORLD.facts()[::2]}
    made = conversations(MATERIALS, Mixture(), 3000, seed=1, known=known)
    for conversation in made:
        if conversation.skill == "world_facts":
            assert any(name in conversation.wanted for name, _ in known)
    doubted = [c for c in made if c.wanted == questions.UNKNOWN + "."]
    assert doubted
    names = {name for name, _ in known}
    assert all(any(e.name in c.prompt[-1]["content"] for e in WORLD.entities) for c in doubted)
    assert names


def test_a_world_without_people_leaves_the_other_skills() -> None:
    made = conversations(Materials(World((), 0), MATERIALS.words, "Wren", "Ann", "x"), Mixture(), 500, seed=1)
    assert {c.skill for c in made}.isdisjoint({"world_facts", "refusal", "passage"})
    assert len(made) > 200


def test_no_held_out_sum_is_taught() -> None:
    for conversation in conversations(MATERIALS, Mixture(), 4000, seed=5):
        if conversation.skill.startswith("arithmetic."):
            for a, b in arithmetic.pairs(conversation.wanted):
                assert arithmetic.pair_split(a, b) == "train"


def test_only_the_assistants_tokens_are_learned(tokenizer: Tokenizer) -> None:
    made = conversations(MATERIALS, Mixture(), 200, seed=2)
    for conversation, example in zip(made, examples(tokenizer, made), strict=True):
        assert example.learned is not None
        learned = [t for t, yes in zip(example.tokens, example.learned, strict=True) if yes]
        text = tokenizer.decode(learned, skip_special=True)
        assert text.endswith(conversation.wanted)
        assert (text == conversation.wanted) == (not any(m.get("tool_calls") for m in conversation.messages))


def test_fine_tuning_reads_conversations_and_text_in_their_shares(tokenizer: Tokenizer) -> None:
    settings = SftSettings(tokens=40_960, row_length=64)
    known = [(e.name, a) for e, a in WORLD.facts()]
    real, told = [Example([5] * 30)], [Example([6] * 30)]
    rows = sft_rows(settings, tokenizer, MATERIALS, known, real, told, seed=0)
    assert len(rows) == settings.steps * settings.batch_rows
    shares = settings.shares
    of_real = (rows.tokens == 5).all(1).mean()
    assert abs(of_real - shares.real / (shares.chat + shares.real + shares.world)) < 0.02
    assert rows.learned[(rows.tokens == 5).all(1)].all()


def test_probing_finds_nothing_known_by_a_model_that_read_nothing(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = Transformer(ModelConfig(tokenizer.vocab_size, 1, 32, 2, 1, 16, 64, context=64)).eval().requires_grad_(False)
    shares = probe(model, tokenizer, WORLD)
    assert shares.keys() == {(entity.name, attribute) for entity, attribute in WORLD.facts()}
    assert max(shares.values()) <= 1 / 3
