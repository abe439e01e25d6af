"""The rung of translation from end to end on a language that takes seconds to learn, and its figures."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from cutaway.infer import load
from cutaway.ladder.parallel_text import Pair, read_parallel
from cutaway.pipeline.run import run_recipe
from cutaway.pipeline.rungs import rung_named, translation
from cutaway.pipeline.rungs.translation import TranslationSettings, inversions, scorer, texts
from cutaway.pipeline.rungs.translators import Size
from cutaway.runs import BadInput, RunDirectory, SilentProgress, load_recipe, read_results

NUMBERS = {"eins": "one", "zwei": "two", "drei": "three", "vier": "four", "fünf": "five"}
scored = pytest.mark.skipif(importlib.util.find_spec("sacrebleu") is None, reason="sacreBLEU is not installed")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A language of numbers, whose words stand the other way round in the other one."""
    rng = np.random.default_rng(1)
    lines: list[str] = []
    for _ in range(160):
        words = rng.choice(list(NUMBERS), int(rng.integers(1, 9))).tolist()
        lines.append(" ".join(words) + "\t" + " ".join(NUMBERS[word] for word in reversed(words)))
    path = tmp_path / "numbers.tsv"
    path.write_text("\n".join(lines), "utf-8")
    return path


def climbed(table: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny = Size(width=32, layers=1, heads=2, d_mlp=64, vocab_size=300, rows=8, dropout=0.0)
    monkeypatch.setitem(translation.SIZES, "small", tiny)
    rung = rung_named("translation")
    overrides = [f'translation.data="{table}"', "translation.epochs=3", "translation.beam=2"]
    recipe = load_recipe(None, [*overrides, 'translation.models=["bahdanau", "transformer"]'], rung.recipe)
    run_recipe(recipe, rung.stages, RunDirectory(out), SilentProgress())
    return out / "translation"


@scored
def test_the_rung_from_end_to_end(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sacrebleu.metrics import BLEU

    found = climbed(table, tmp_path / "run", monkeypatch)
    results = {(result.stage, result.metric): result for result in read_results(found / "evals.json")}
    heldout = read_parallel(table, "de", "en", heldout=translation.HELD_OUT, seed=1).heldout
    for name in ("bahdanau", "transformer"):
        assert 0 <= results[name, "bleu"].value <= 100
        assert results[name, "bleu"].n == len(heldout)
        assert results[name, "nats_per_token"].value < 6
    report = (found / "report.md").read_text("utf-8")
    pictures = re.findall(r"\]\((.+?\.svg)\)", report)
    assert set(pictures) == {path.name for path in found.glob("*.svg")}
    assert {"by-length.svg", "learning.svg", "alignment-bahdanau.svg", "alignment-transformer.svg"} == set(pictures)
    data = json.loads((found / "data.json").read_text())
    assert sum(part["n"] for part in data["by_length"]) == len(heldout)
    for one in data["alignments"].values():
        assert np.array(one["weights"]).shape == (len(one["target"]), len(one["source"]))
    assert not (found / "checkpoints").exists()

    # The model that was kept translates as the rung did, by another way.
    lm = load(str(found / "model"))
    wrote = [lm.generate(pair.source, max_tokens=40).strip() for pair in heldout]
    bleu = BLEU().corpus_score(wrote, [[pair.target for pair in heldout]]).score
    assert bleu == pytest.approx(results["transformer", "bleu_greedy"].value, abs=0.5)

    again = climbed(table, tmp_path / "again", monkeypatch)
    for result in read_results(again / "evals.json"):
        assert result == results[result.stage, result.metric] or result.metric == "train_seconds"


@scored
def test_scores_are_those_of_the_papers() -> None:
    scores = scorer()
    assert scores(["the cat sat on the mat"], ["the cat sat on the mat"]) == pytest.approx((100.0, 100.0))
    # 3 of 4 words, 2 of 3 pairs, 1 of 2 triples, and no quadruple of 1, which is smoothed to a half; no penalty.
    bleu, _ = scores(["a b c d"], ["a b c e"])
    assert bleu == pytest.approx(100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25)


def test_without_sacrebleu_one_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(BadInput, match=r"cutaway\[ladder\]"):
        scorer()


def test_texts_may_be_fewer_and_turned_round(table: Path) -> None:
    plain = texts(TranslationSettings(data=table), seed=1)
    turned = texts(TranslationSettings(data=table, backwards=True, pairs=10), seed=1)
    assert len(turned.train) == 10
    assert turned.train[0] == Pair(plain.train[0].target, plain.train[0].source)
    assert [pair.source for pair in turned.heldout] == [pair.target for pair in plain.heldout]


def test_inversions_are_pairs_in_the_opposite_order() -> None:
    # Main sources 2, 0, 1 and then the end's: (2, 0) and (2, 1) are turned round.
    assert inversions(np.array([[0.1, 0.2, 0.7], [0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])) == 2
    assert inversions(np.eye(4)) == 0
