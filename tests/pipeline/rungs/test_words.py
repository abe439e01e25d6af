"""The rung of word vectors end to end, on a made-up text."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from cutaway.ladder.word_lists import GENDER, PLURAL, WEAT
from cutaway.ladder.word_vectors import WordVectors
from cutaway.pipeline.rungs.words import RUNG, WordsSettings, passages_of
from cutaway.pipeline.stage import StageContext
from cutaway.runs import BadInput, RunDirectory, SilentProgress, read_results

TINY: dict[str, Any] = {"dimensions": 12, "epochs": 2, "batch": 64, "min_count": 2}


def climbed(directory: Path, changes: Mapping[str, Any], seed: int = 1) -> Path:
    directory.mkdir(parents=True)
    run, settings = RunDirectory(directory), WordsSettings.model_validate({**TINY, **changes})
    RUNG.stages[0].function(StageContext(run, directory, settings, seed, SilentProgress(), None))
    return directory


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of the words that are asked about, in no order."""
    rng = np.random.default_rng(0)
    words = [word for pair in (*GENDER, *PLURAL) for word in pair]
    words += [word for groups in WEAT.values() for _, group in groups for word in group]
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(" ".join(rng.choice(words, 12)) + "." for _ in range(400)))
    return path


def test_it_learns_asks_draws_and_saves(text: Path, tmp_path: Path) -> None:
    rated = tmp_path / "rated.tsv"
    rated.write_text("man\twoman\t8\nking\tqueen\t7\nday\tarmy\t1\nwar\thouse\t2\n")
    made = climbed(tmp_path / "one", {"data": text, "similarity": (rated,), "show": ("king", "nosuchword")})
    found = {result.metric: result for result in read_results(made / "evals.json")}
    for kind in ("skip-gram", "cbow"):
        for metric in ("analogies", "analogies_among_all", "gender_held_out", "spearman_rated", "weat_1"):
            assert f"{metric}/{kind}" in found
        n = found[f"analogies/{kind}"].n
        assert n >= len(GENDER) * (len(GENDER) - 1) + len(PLURAL) * (len(PLURAL) - 1)
        assert found[f"analogies/{kind}"].value >= found[f"analogies_among_all/{kind}"].value
        vectors = WordVectors.read(made / "model" / f"{kind}.txt")
        assert vectors.vectors.shape[1] == 12
        assert "king" in vectors.number
    report = (made / "report.md").read_text()
    pictures = re.findall(r"!\[\]\((\S+)\)", report)
    assert pictures == ["loss.svg", "plane.svg"]
    for name in pictures:
        ElementTree.parse(made / name)
    assert "nosuchword" not in report
    data = json.loads((made / "data.json").read_text())
    assert list(data["answers"]["cbow"]["neighbours"]) == ["king"]
    assert "queens" in data["answers"]["skip-gram"]["plane"]


def test_the_same_seed_gives_the_same_figures(text: Path, tmp_path: Path) -> None:
    one, same = (climbed(tmp_path / name, {"data": text, "kinds": ("cbow",)}) for name in ("one", "same"))
    for name in ("evals.json", "model/cbow.txt", "plane.svg"):
        assert (one / name).read_bytes() == (same / name).read_bytes()


def test_vectors_that_others_learned_are_asked(tmp_path: Path) -> None:
    names = [word for pair in GENDER[:6] for word in pair]
    rng = np.random.default_rng(0)
    male = rng.standard_normal((6, 20))
    # A woman is a man and one step more.
    rows = np.stack([male, male + 3 * np.eye(20)[0]], axis=1).reshape(12, 20).astype(np.float32)
    WordVectors(names, rows / np.linalg.norm(rows, axis=1, keepdims=True)).save(tmp_path / "others.txt")
    made = climbed(tmp_path / "one", {"vectors": tmp_path / "others.txt"})
    found = {result.metric: result.value for result in read_results(made / "evals.json")}
    assert found["analogies/others"] > 0.8
    assert found["gender_held_out/others"] == 1.0
    assert not (made / "loss.svg").exists()


def test_a_text_about_something_else_is_learned_without_analogies(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("eins zwei drei vier\n\n" * 50)
    made = climbed(tmp_path / "one", {"data": path})
    assert read_results(made / "evals.json") == []
    assert "Analogies" not in (made / "report.md").read_text()
    questions = tmp_path / "questions.txt"
    questions.write_text(": all\nAthens Greece Oslo Norway\n")
    with pytest.raises(BadInput, match="no analogy of"):
        climbed(tmp_path / "two", {"data": path, "analogies": questions})


def archive(path: Path, members: Mapping[str, bytes], mode: str = "w:xz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_an_archive_is_read_paragraph_by_paragraph(tmp_path: Path) -> None:
    members = {
        "novels/a.txt": b"One line,\nanother.\n\n\nNext\r\n",
        "novels/readme.md": b"not a novel",
        "novels/b.txt": "Last: é".encode(),
    }
    for name, mode in (("novels.tar.xz", "w:xz"), ("novels.tgz", "w:gz"), ("novels.tar", "w")):
        found = [" ".join(p.split()) for p in passages_of(archive(tmp_path / name, members, mode))]
        assert [passage for passage in found if passage] == ["One line, another.", "Next", "Last: é"]


def test_a_text_without_blank_lines_is_cut_somewhere(tmp_path: Path) -> None:
    path = archive(tmp_path / "novel.tar", {"a.txt": b"twelve words\n" * 10_000}, "w")
    lengths = [len(passage.split()) for passage in passages_of(path)]
    assert sum(lengths) == 20_000
    assert max(lengths) < 5000


def test_what_is_no_archive_of_texts_is_bad_input(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar.xz"
    broken.write_bytes(b"no archive at all")
    whole = archive(tmp_path / "whole.tar.xz", {"a.txt": np.random.default_rng(0).bytes(5000).hex().encode()})
    cut = tmp_path / "cut.tar.xz"
    cut.write_bytes(whole.read_bytes()[:2000])
    for path, said in (
        (broken, "cannot be read as an archive"),
        (cut, "cannot be read as an archive"),
        (tmp_path / "none.tar.xz", "No such file"),
        (archive(tmp_path / "empty.tar", {"a.jpg": b"x"}, "w"), "holds no .txt file"),
        (archive(tmp_path / "latin.tar", {"a.txt": "é".encode("latin-1")}, "w"), "a.txt in .* is not UTF-8"),
    ):
        with pytest.raises(BadInput, match=said):
            list(passages_of(path))


def test_without_a_path_the_packages_texts_are_read() -> None:
    first = next(passages_of(None))
    assert "first" in first
