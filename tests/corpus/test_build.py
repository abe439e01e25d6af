from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from cutaway.corpus import CorpusSettings, World, WorldSettings, build_corpus, corpus_sizes, read_documents, read_texts
from cutaway.corpus.split import check_no_leaks
from cutaway.runs.errors import BadInput
from cutaway.runs.progress import SilentProgress
from cutaway.runs.recipe import load_recipe

SMALL_WORLD = WorldSettings(people=4, places=2, tellings_per_entity=3)
NO_WORLD = WorldSettings(people=0)


class Listener(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def build(directory: Path, seed: int = 0, progress: SilentProgress | None = None, **settings: Any) -> dict[str, Any]:
    return build_corpus(CorpusSettings(**settings), seed, directory, progress or SilentProgress())


@pytest.fixture
def story(tmp_path: Path) -> Path:
    rng = random.Random(0)
    words = [a + b for a in "bdfgklmnprst" for b in ("an", "el", "ir", "op", "us")]
    path = tmp_path / "story.txt"
    path.write_text("\n\n".join(" ".join(rng.choices(words, k=60)) + "." for _ in range(200)), encoding="utf-8")
    return path


def test_built_in_text_and_world(tmp_path: Path) -> None:
    listener = Listener()
    stats = build(tmp_path / "corpus", built_in=["pydoc"], world=SMALL_WORLD, progress=listener)
    training, heldout = read_texts(tmp_path / "corpus/train.parquet"), read_texts(tmp_path / "corpus/heldout.parquet")
    assert {d.source for d in training} == {"pydoc", "world"}
    assert {d.source for d in heldout} == {"pydoc"}
    assert not {d.id for d in training} & {d.id for d in heldout}
    assert len({d.id for d in training}) == len(training)
    check_no_leaks(training, heldout)
    share = stats["heldout"]["pydoc"]["bytes"] / stats["steps"][1]["sources"]["pydoc"]["bytes"]
    assert 0.02 < share < 0.06

    world = World.from_json((tmp_path / "corpus/world.json").read_text(encoding="utf-8"))
    assert world == World.generate(0, 4, 2)
    told = [d.text for d in training if d.source == "world"]
    assert len(told) == 6 * 3
    for entity in world.entities:
        assert sum(entity.name in text for text in told) >= 3

    assert json.loads((tmp_path / "corpus/stats.json").read_text(encoding="utf-8")) == stats
    assert stats["train"] == corpus_sizes(training)
    assert [step["step"] for step in stats["steps"]] == [
        "read",
        "duplicates removed",
        "held out",
        "overlap with held-out removed",
    ]
    assert stats["removed"]["exact duplicates"]["paragraphs"] > 50
    assert stats["removed"]["exact duplicates"]["samples"]
    assert "bytes to train on" in listener.said[0]


def test_the_same_seed_gives_the_same_files(tmp_path: Path, story: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build(tmp_path / name, seed, built_in=False, text=[str(story)], world=SMALL_WORLD)
    for name in ("train.parquet", "heldout.parquet", "world.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert read_texts(tmp_path / "a/heldout.parquet") != read_texts(tmp_path / "c/heldout.parquet")


def test_own_text_joins_the_built_in_text(tmp_path: Path, story: Path) -> None:
    other = tmp_path / "more" / "story.txt"
    other.parent.mkdir()
    other.write_text("Quite another story, told in a single paragraph.", encoding="utf-8")
    stats = build(tmp_path / "corpus", built_in=["pydoc"], text=[str(story), str(other.parent)], world=NO_WORLD)
    assert set(stats["train"]) == {"pydoc", "user"}
    assert "user" in stats["heldout"]
    assert not (tmp_path / "corpus/world.json").exists()
    training = read_texts(tmp_path / "corpus/train.parquet")
    assert {d.id.partition("/")[0] for d in training} == {"pydoc", "user1", "user2"}


def test_a_text_given_twice_counts_once(tmp_path: Path, story: Path) -> None:
    once = build(tmp_path / "once", built_in=False, text=[str(story)], world=NO_WORLD)
    twice = build(tmp_path / "twice", built_in=False, text=[str(story), str(story)], world=NO_WORLD)
    assert twice["train"] == once["train"]
    assert twice["removed"]["exact duplicates"]["paragraphs"] >= 200


def test_what_was_written_can_be_read_as_text(tmp_path: Path, story: Path) -> None:
    build(tmp_path / "corpus", built_in=False, text=[str(story)], world=NO_WORLD)
    written = read_texts(tmp_path / "corpus/train.parquet")
    assert [d.text for d in read_documents(tmp_path / "corpus/train.parquet")] == [d.text for d in written]


@pytest.mark.parametrize("lines", [30, 80, 200, 3_000, 50_000])
def test_one_repeated_line_is_refused(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "repeated.txt"
    path.write_text("All work and no play makes Jack a dull boy.\n" * lines, encoding="utf-8")
    with pytest.raises(
        BadInput, match=r"after removing duplicates only \d+ bytes|too small to hold out|repeats itself"
    ):
        build(tmp_path / "corpus", built_in=False, text=[str(path)], world=NO_WORLD)
    assert not (tmp_path / "corpus").exists()


def test_no_text_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no text: give files with --text"):
        build(tmp_path / "corpus", built_in=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no text"):
        build(tmp_path / "corpus", text=[str(tmp_path / "empty")])


def test_a_bad_text_leaves_the_corpus_that_was_there(tmp_path: Path, story: Path) -> None:
    build(tmp_path / "corpus", built_in=False, text=[str(story)], world=NO_WORLD)
    before = (tmp_path / "corpus/train.parquet").read_bytes()
    story.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="not UTF-8"):
        build(tmp_path / "corpus", built_in=False, text=[str(story)], world=NO_WORLD)
    assert (tmp_path / "corpus/train.parquet").read_bytes() == before


def test_a_file_that_is_no_corpus_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="build the corpus again"):
        read_texts(tmp_path / "train.parquet")
    (tmp_path / "train.parquet").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="build the corpus again"):
        read_texts(tmp_path / "train.parquet")


def test_settings_come_from_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('built_in = ["bbe"]\ntext = ["a.txt"]\nworld.people = 0\n', encoding="utf-8")
    settings = load_recipe(path, ["heldout_fraction=0.1"], CorpusSettings)
    assert settings == CorpusSettings(built_in=["bbe"], text=["a.txt"], world=NO_WORLD, heldout_fraction=0.1)
    with pytest.raises(BadInput, match="heldout_fraction"):
        load_recipe(path, ["heldout_fraction=1.5"], CorpusSettings)
