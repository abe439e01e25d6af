"""Every run of a ladder is the run that it would be alone, however often the ladder was stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from cutaway.model import Transformer
from cutaway.runs import BadInput, MetricsLog, SilentProgress
from cutaway.train import Example, Rows, train, unwatched
from cutaway.train import scaling_ladder as module
from cutaway.train.scaling_ladder import TRUNKS, Ladder, Measured, new_model, read_runs, rows_of_text
from cutaway.train.scaling_settings import (
    HeldOutRun,
    LadderSettings,
    Size,
    check_text,
    level_steps,
    settings_of,
    trunk_of,
)

VOCAB = 64
SIZES = ({"depth": 1, "width": 32}, {"depth": 1, "width": 48}, {"depth": 2, "width": 32})
GIVEN: dict[str, Any] = {
    "sizes": SIZES, "tokens": (10_000, 6_000, 16_000), "warmup_tokens": 1_500, "row_length": 32, "compile": False,
    "precision": "float32", "checkpoint_seconds": 1e-6,
}  # fmt: skip
SETTINGS = LadderSettings.model_validate(GIVEN)


@pytest.fixture(scope="module")
def rows() -> Rows:
    rng = np.random.default_rng(0)
    # Words of four tokens, so that there is something to learn.
    words = rng.integers(1, VOCAB, (40, 4))
    return rows_of_text([Example(words[rng.integers(40, size=60)].ravel()) for _ in range(80)], 32, seed=1)


class Models:
    """Measures nothing, but keeps what it is given."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []

    def __call__(self, model: Transformer) -> Measured:
        assert not model.training
        self.weights.append({name: weight.clone() for name, weight in model.named_parameters()})
        return Measured(float(len(self.weights)), 1.5, 100)


class Counted(SilentProgress):
    """Notes how much is done, and breaks off after so many updates."""

    def __init__(self, most: int | None = None) -> None:
        self.done: list[int] = []
        self.total, self.most = 0, most

    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Any]:
        assert total
        self.total = total
        yield self

    def update(self, done: int, **figures: float | str) -> None:
        self.done.append(done)
        if len(self.done) == self.most:
            raise OSError("the power was cut")


def ladder(rows: Rows, directory: Path, models: Models) -> Ladder:
    return Ladder(SETTINGS, VOCAB, rows, directory, models, seed=4)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def whole(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Models, Counted]:
    directory, models, progress = tmp_path_factory.mktemp("ladder"), Models(), Counted()
    ladder(rows, directory, models).train(progress)
    return directory, models, progress


def test_each_run_ends_with_the_bits_of_the_same_run_alone(
    whole: tuple[Path, Models, Counted], rows: Rows, tmp_path: Path
) -> None:
    directory, models, _ = whole
    assert len(models.weights) == 9
    number = 0
    for size in SETTINGS.sizes:
        for tokens in sorted(SETTINGS.tokens):
            settings = settings_of(size, tokens, SETTINGS)
            model = new_model(settings.config(VOCAB), 4)
            train(model, rows, settings, tmp_path / str(number), SilentProgress(), unwatched(), "alone")
            assert same(dict(model.named_parameters()), models.weights[number]), (size.name, tokens)
            alone = MetricsLog.read(tmp_path / str(number) / "metrics.jsonl")
            branched = MetricsLog.read(directory / f"{size.name}-{tokens}" / "metrics.jsonl")
            assert [(row["step"], row["loss"], row["lr"]) for row in branched] == [
                (row["step"], row["loss"], row["lr"]) for row in alone
            ]
            number += 1
    assert not same(models.weights[0], models.weights[1])


def test_what_is_on_record(whole: tuple[Path, Models, Counted]) -> None:
    directory, models, progress = whole
    runs = read_runs(directory)
    assert [(run.name, run.loss) for run in runs] == [
        (size, 3.0 * i + j + 1) for i, size in enumerate(("1x32", "1x48", "2x32")) for j in range(3)
    ]
    for run, weights in zip(runs, models.weights, strict=True):
        assert run.parameters == sum(weight.numel() for weight in weights.values())
        assert run.embeddings == VOCAB * run.width
        # Attention's own products come on top.
        assert 1 < run.flops / (6 * run.parameters * run.tokens) < 1.5
        assert run.seconds > 0
        assert (run.bits_per_byte, run.n) == (1.5, 100)
    assert runs[0].tokens < runs[1].tokens < runs[2].tokens <= 16_000
    assert not list(directory.glob("*x*/checkpoints"))
    # As much was done as was said beforehand, and it never went back.
    assert progress.done == sorted(progress.done)
    assert progress.done[-1] == progress.total


def test_what_runs_share_is_trained_once(whole: tuple[Path, Models, Counted]) -> None:
    directory, _, _ = whole
    several = [settings_of(SETTINGS.sizes[0], tokens, SETTINGS) for tokens in sorted(SETTINGS.tokens)]
    trunk = MetricsLog.read(directory / TRUNKS / "1x32" / "metrics.jsonl")
    assert [row["step"] for row in trunk] == list(range(1, level_steps(several[-1]) + 1))
    for settings in several:
        branched = MetricsLog.read(directory / f"1x32-{settings.tokens}" / "metrics.jsonl")
        level = level_steps(settings)
        # Down to the time that a step took: they are the trunk's own lines.
        assert branched[:level] == trunk[:level]
        assert all(row["lr"] == branched[level - 1]["lr"] for row in branched[level - 1 : level + 1])
        assert branched[-1]["lr"] < branched[level]["lr"]


def test_the_level_part_is_that_of_the_whole_run() -> None:
    for tokens in (6_000, 16_000, 100_000):
        settings = settings_of(SETTINGS.sizes[2], tokens, SETTINGS)
        level, trunk = level_steps(settings), trunk_of(settings)
        assert trunk.steps == level
        assert [trunk.scale(step) for step in range(level)] == pytest.approx(
            [settings.scale(step) for step in range(level)], abs=0
        )
        assert settings.scale(level) == 1.0
        assert settings.scale(level + 1) < 1.0


def test_finished_runs_are_not_trained_again(
    whole: tuple[Path, Models, Counted], rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "ladder"
    shutil.copytree(whole[0], directory)
    (directory / "runs.json").unlink()
    monkeypatch.setattr(module, "train", lambda *_: pytest.fail("trained again"))
    progress = Counted()
    assert ladder(rows, directory, Models()).train(progress) == read_runs(whole[0])
    assert progress.done[-1] == progress.total


@pytest.mark.parametrize("stops", [[3, 2, 9, 1, 30], [12, 14, 16, 18], [25, 26, 1, 1]], ids=str)
def test_a_ladder_that_was_killed_goes_on_to_the_same_bits(
    stops: list[int], whole: tuple[Path, Models, Counted], rows: Rows, tmp_path: Path
) -> None:
    models = Models()
    for most in stops:
        # As after a kill, nothing is saved at that moment: what there is are the checkpoints that were due before.
        with pytest.raises(OSError, match="the power was cut"):
            ladder(rows, tmp_path, models).train(Counted(most))
    ladder(rows, tmp_path, models).train(Counted())
    assert len(models.weights) == 9
    assert all(same(first, second) for first, second in zip(models.weights, whole[1].weights, strict=True))
    names = {path.name for path in whole[0].iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == names
    for path in sorted(whole[0].glob("*x*/metrics.jsonl")):
        losses = [(row["step"], row["loss"]) for row in MetricsLog.read(path)]
        assert [(row["step"], row["loss"]) for row in MetricsLog.read(tmp_path / path.relative_to(whole[0]))] == losses


def test_no_token_is_in_two_rows() -> None:
    tokens = np.arange(1000)
    rows = rows_of_text([Example(part) for part in np.array_split(tokens, 7)], 32, seed=3)
    assert len(rows) == 1000 // 33
    assert len(np.unique(rows.tokens)) == rows.tokens.size
    assert rows.learned.all()


def test_a_run_that_would_read_twice_is_refused(rows: Rows) -> None:
    text = rows.tokens[:, 1:].size
    enough = settings_of(SETTINGS.sizes[0], text, SETTINGS)
    check_text({"ladder.tokens": enough}, rows)
    more = settings_of(SETTINGS.sizes[0], text + 1024, SETTINGS)
    with pytest.raises(BadInput, match=rf"heldout.tokens asks for {text + 1024:,} tokens, but the text has {text:,}"):
        check_text({"ladder.tokens": enough, "heldout.tokens": more}, rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": SIZES[:2]}, "there are 6, of 2 and 3"),
        ({"tokens": (6_000, 16_000)}, "there are 6, of 3 and 2"),
        ({"sizes": ()}, "there are 0, of 0 and 0"),
        ({"sizes": (*SIZES, SIZES[0])}, "must be there once"),
        ({"tokens": (6_000, 6_000, 10_000, 16_000)}, "must be there once"),
        ({"tokens": (0, 10_000, 16_000)}, "numbers above 0"),
        ({"warmup_tokens": 6_000}, "6,000 tokens are 5 steps of 1x32: too few for a rise over 6,000 tokens"),
        ({"tokens": (600, 10_000, 16_000)}, "600 tokens are 1 steps"),
        ({"sizes": ({"depth": 1, "width": 32, "heads": 40}, *SIZES[1:])}, "width 32 is too little for 40 heads"),
        ({"decay": 1.0}, "less than 1"),
    ],
    ids=str,
)
def test_ladders_that_no_law_can_be_fitted_to(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LadderSettings.model_validate(GIVEN | change)


def test_a_size_follows_the_depth_dial() -> None:
    settings = settings_of(Size(depth=9, width=128), 100_000, SETTINGS)
    assert (settings.optimizer.muon_lr, settings.optimizer.adamw_lr) == (0.013333, 0.002667)
    assert settings.heads == 4
    assert settings_of(HeldOutRun(depth=4, width=192, heads=12, tokens=5), 100_000, SETTINGS).heads == 12
    assert json.loads(HeldOutRun(depth=4, width=192, tokens=5).model_dump_json())["heads"] == 0
