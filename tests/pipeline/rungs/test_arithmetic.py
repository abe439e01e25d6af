"""The arithmetic transformer end to end, on sums of one digit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from cutaway.ladder.arithmetic import Form, Problem, draw_problems, tokenizer_of
from cutaway.pipeline.rungs.arithmetic import RUNG, ArithmeticSettings, ask, rows_of
from cutaway.pipeline.stage import StageContext
from cutaway.runs import BadInput, RunDirectory, SilentProgress, load_recipe, read_results

TINY: dict[str, Any] = {
    "digits": 2, "problems": 1500, "asked": 40, "steps": 60, "rows": 32, "depth": 1, "width": 32, "looks": 2,
    "pieces": 40,
}  # fmt: skip


def climbed(directory: Path, changes: Mapping[str, Any], seed: int = 1) -> Path:
    directory.mkdir(parents=True)
    run, settings = RunDirectory(directory), ArithmeticSettings.model_validate({**TINY, **changes})
    RUNG.stages[0].function(StageContext(run, directory, settings, seed, SilentProgress(), None))
    return directory


def test_it_trains_asks_draws_and_keeps_a_model_that_others_open(tmp_path: Path) -> None:
    forms = ("characters plain", "characters steps", "bpe answer-reversed", "numbers plain")
    made = climbed(tmp_path / "one", {"forms": forms})
    found = {result.metric: result for result in read_results(made / "evals.json")}
    assert {metric.split("/")[1] for metric in found} == set(forms)
    assert {metric.split("/")[0] for metric in found} == {"seen", "heldout", "commuted", "longer"}
    assert all(0 <= result.value <= 1 for result in found.values())
    report = (made / "report.md").read_text()
    for name in re.findall(r"!\[\]\((\S+)\)", report):
        ElementTree.parse(made / name)
    assert len(list(made.glob("*.svg"))) == 4
    answers = json.loads((made / "data.json").read_text())["answers"]
    right = np.mean([a + b == answer for a, b, answer in answers["characters plain"]["heldout"]])
    assert right == pytest.approx(found["heldout/characters plain"].value)
    assert not list(made.rglob("checkpoints"))
    model = AutoModelForCausalLM.from_pretrained(made / "model")
    tokenizer = AutoTokenizer.from_pretrained(made / "model")
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)


def test_the_same_seed_gives_the_same_answers(tmp_path: Path) -> None:
    changes = {"forms": ("characters plain",), "steps": 10}
    one, same, other = (
        climbed(tmp_path / name, changes, seed) for name, seed in (("one", 1), ("same", 1), ("other", 2))
    )
    assert (one / "data.json").read_bytes() == (same / "data.json").read_bytes()
    assert (one / "data.json").read_bytes() != (other / "data.json").read_bytes()


@pytest.mark.slow
def test_sums_of_one_digit_are_learned(tmp_path: Path) -> None:
    changes = {"digits": 1, "problems": 25, "asked": 2, "forms": ("characters plain",), "steps": 400}
    settings = ArithmeticSettings.model_construct(
        **ArithmeticSettings.model_validate({**TINY, "asked": 10}).model_dump()
    )
    settings = settings.model_copy(update=changes)
    directory = tmp_path / "one"
    directory.mkdir()
    RUNG.stages[0].function(StageContext(RunDirectory(directory), directory, settings, 1, SilentProgress(), None))
    found = {result.metric: result.value for result in read_results(directory / "evals.json")}
    assert found["seen/characters plain"] == 1.0


def test_a_row_is_a_problem_and_only_its_reply_is_learned() -> None:
    form, problems = Form.named("characters plain"), [Problem(12, 9), Problem(3, 4)]
    tokenizer = tokenizer_of("characters", ["0123456789+="], 0)
    rows = rows_of(form, tokenizer, problems, 5, seed=1)
    assert rows.tokens.shape == rows.learned.shape == (5, 17)
    texts = {"12+9=21": "21", "3+4=7": "7"}
    seen: list[str] = []
    for tokens, learned in zip(rows.tokens, rows.learned, strict=True):
        text = tokenizer.decode(tokens, skip_special=True)
        seen.append(text)
        assert tokenizer.decode(tokens[learned], skip_special=True) == texts[text]
        assert tokens[learned][-1] == 0
        assert learned.sum() == len(texts[text]) + 1
    # Each pass holds each problem once.
    assert sorted(seen[:2]) == sorted(seen[2:4]) == sorted(texts)


def test_asking_reads_what_the_model_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    form, problems = Form.named("characters answer-reversed"), draw_problems(2, 20, 8, seed=1).training
    tokenizer = tokenizer_of("characters", ["0123456789+="], 0)

    def written(model: Any, questions: list[list[int]], **kwargs: Any) -> list[list[int]]:
        replies: list[list[int]] = []
        for ids in questions:
            a, b = map(int, tokenizer.decode(ids).removesuffix("=").split("+"))
            replies.append([*tokenizer.encode(str(a + b)[::-1]), 0])
        return replies

    monkeypatch.setattr("cutaway.pipeline.rungs.arithmetic.generate_batch", written)
    answers = ask(None, tokenizer, form, problems)  # type: ignore[arg-type]
    assert answers == [(problem, problem.answer) for problem in problems]


def test_a_form_that_there_is_not_is_told_as_bad_input() -> None:
    with pytest.raises(BadInput, match=r"arithmetic\.forms: 'words' is no way to write sums"):
        load_recipe(None, ['arithmetic.forms=["words"]'], RUNG.recipe)


def test_too_few_problems_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="too few to hold 500 out"):
        climbed(tmp_path / "one", {"digits": 1, "asked": 500})
