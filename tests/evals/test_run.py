"""Evaluation asks what the suite says, counts what the graders say, and keeps every answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from cutaway.corpus.documents import Document
from cutaway.evals.outcomes import read_outcomes
from cutaway.evals.run import evaluate
from cutaway.evals.tasks import Suite, Task, asked
from cutaway.infer.language_model import LanguageModel
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import SilentProgress, read_results


@dataclass(frozen=True)
class Question:
    text: str
    answer: str | None
    part: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.messages.append({"role": "user", "content": self.text})
        self.messages.append({"role": "assistant", "content": "the model answer, which must not be shown"})


class Letters:
    end_of_text = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())


def language_model() -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=257, n_layers=1, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=32, context=64
    )
    return LanguageModel("tiny", Transformer(config).requires_grad_(False).eval(), cast("Any", Letters()))


@dataclass
class Parrot:
    """Answers a question with its last word; notes what it was given."""

    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, lm: object, conversations: Sequence[Sequence[Any]], **given: Any) -> list[str]:
        self.calls.append({"n": len(conversations), **given})
        for conversation in conversations:
            assert [message["role"] for message in conversation] == ["user"]
        return [str(conversation[-1]["content"]).split()[-1] for conversation in conversations]


def equal(question: Question, reply: str) -> bool:
    return reply == question.answer


def suite(n: int = 4) -> Suite:
    questions = [Question(f"say {i % 2}", "1", "odd" if i % 2 else "even") for i in range(n)]
    counts = {"facts": equal, "false_refusals": lambda question, reply: reply == "0"}
    tasks = [
        Task("facts", questions, counts, max_tokens=7, part=lambda question: question.part),
        Task("sums", [Question("sum 2\u2028", "2\u2028")], {"own_measure": equal}, max_tokens=5, tools=True),
        Task("nothing", [], {"spelling": equal}, max_tokens=5),
    ]
    return Suite(tasks, [Document("a/1", "some text", "a")], context=16, stride=8)


def test_results_and_outcomes(tmp_path: Path) -> None:
    parrot = Parrot()
    tools = {"calculator": str}
    found = evaluate(
        language_model(), suite(), tools, SilentProgress(), stage="sft", seed=3, directory=tmp_path, answering=parrot
    )
    values = {result.metric: (result.value, result.n, result.unit, result.higher_is_better) for result in found}
    assert values["facts"] == (0.5, 4, "share", True)
    assert values["false_refusals"] == (0.5, 4, "share", False)
    assert values["facts/odd"] == (1.0, 2, "share", True)
    assert values["facts/even"] == (0.0, 2, "share", True)
    assert values["own_measure"][:2] == (0.0, 1)
    assert values["bits_per_byte"][1:] == (9, "bits/byte", False)
    assert values["bits_per_byte/a"] == values["bits_per_byte"]
    assert "spelling" not in values
    assert {(result.stage, result.seed) for result in found} == {("sft", 3)}
    assert read_results(tmp_path / "evals.json") == found

    assert [call["max_tokens"] for call in parrot.calls] == [7, 5]
    assert [call["tools"] for call in parrot.calls] == [{}, tools]
    assert all(call["sampling"].temperature == 0 for call in parrot.calls)

    kept = read_outcomes(tmp_path / "outcomes.jsonl")
    assert len(kept) == 5
    assert kept[1].question == "say 1"
    assert kept[1].reply == "1"
    assert kept[1].counted == {"facts": True, "false_refusals": False}
    assert kept[4].question == "sum 2\u2028"
    for line in (tmp_path / "outcomes.jsonl").read_text(encoding="utf-8").split("\n")[:-1]:
        assert set(json.loads(line)) == {"task", "question", "reply", "answer", "counted"}


def test_many_questions_go_in_batches_and_are_counted_as_one() -> None:
    parrot = Parrot()
    found = evaluate(language_model(), suite(600), {}, SilentProgress(), stage="rl", seed=1, answering=parrot)
    assert found[0].n == 600
    assert found[0].value == 0.5
    assert max(call["n"] for call in parrot.calls) <= 256


def test_what_stands_after_the_last_user_message_is_not_asked() -> None:
    messages = [
        {"role": role, "content": role} for role in ("system", "user", "assistant", "user", "assistant", "tool")
    ]
    question = Question("unused", None, messages=messages[:0])
    question.messages[:] = messages
    assert [message["role"] for message in asked(question)] == ["system", "user", "assistant", "user"]
    question.messages[:] = messages[:1]
    with pytest.raises(ValueError, match="without a user message"):
        asked(question)
