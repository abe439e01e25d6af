"""`cutaway corpus index`, `count`, `next` and `trace`."""

from __future__ import annotations

import errno
import io
import json
from pathlib import Path
from typing import Any

import pytest

from cutaway.cli.main import run_command
from cutaway.tokens import TokenizerSettings, train_tokenizer

TEXT = ["the cat sat on the mat. " * 3, "a dog sat on the log and the cat sat on the mat."]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for i, text in enumerate(TEXT):
        (tmp_path / f"{i}.txt").write_text(text)
    train_tokenizer(TokenizerSettings(vocab_size=300), TEXT, tmp_path / "words")
    return tmp_path


@pytest.fixture
def index(place: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    files = [str(place / "0.txt"), str(place / "1.txt")]
    assert (
        run_command(["corpus", "index", *files, "--tokenizer", str(place / "words"), "--out", str(place / "index")])
        == 0
    )
    assert "2 documents" in capsys.readouterr().out
    return place / "index"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run_command(["corpus", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_counts_are_those_of_the_text(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "count", str(index), " cat sat on")["count"] == 4
    assert told(capsys, "count", str(index), " log and the cat")["count"] == 1
    assert told(capsys, "count", str(index), " no such thing")["count"] == 0


def test_what_follows_is_what_follows_in_the_text(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["corpus", "next", str(index), " sat on the"]) == 0
    said = capsys.readouterr().out
    assert "occurs 5 times" in said
    assert "80.0%" in said
    assert "20.0%" in said


def test_a_text_is_traced_to_its_documents(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["corpus", "trace", str(index), "Yesterday a dog sat on the log and the bird flew."]) == 0
    said = capsys.readouterr().out
    assert "1.txt" in said
    assert "once" in said
    assert all(len(line) <= 80 for line in said.splitlines())


def test_a_run_is_indexed_with_its_own_tokenizer(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    run = place / "run"
    (run / "corpus").mkdir(parents=True)
    (run / "recipe.toml").write_text("")
    long = [TEXT[0], "It was not long. " * 3_000]
    rows = {"id": ["a", "b"], "source": ["s"] * 2, "text": long, "url": [None, "http://an.org/b"]}
    pq.write_table(pa.table(rows), run / "corpus" / "train-00000.parquet")
    assert run_command(["corpus", "index", str(run)]) == 2
    assert "has no tokenizer of its own; name one with --tokenizer" in " ".join(capsys.readouterr().err.split())
    train_tokenizer(TokenizerSettings(vocab_size=300), TEXT, run / "tokenizer")
    assert run_command(["corpus", "count", str(run), "cat"]) == 2
    assert f"cutaway corpus index {run}" in capsys.readouterr().err.replace("\n", "")
    assert run_command(["corpus", "index", str(run)]) == 0
    assert "2 documents" in capsys.readouterr().out  # however long they are
    assert told(capsys, "count", str(run / "index"), " cat sat on")["count"] == 3
    assert told(capsys, "count", str(run), " cat sat on")["count"] == 3
    names = [told(capsys, "trace", str(run), text[:60])["spans"][0]["places"][0]["document"] for text in long]
    assert names == ["a", "http://an.org/b"]


def test_a_text_comes_through_a_pipe(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("count", "next", "trace"):
        expected = told(capsys, verb, str(index), " a dog sat")
        monkeypatch.setattr("sys.stdin", io.StringIO(" a dog sat\n"))
        assert told(capsys, verb, str(index), "-") == expected


def test_a_full_disk_is_told(index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    words = ["--tokenizer", str(index.parent / "words"), "--out", str(index.parent / "other")]
    assert run_command(["corpus", "index", str(index.parent / "0.txt"), *words]) == 1
    assert "no space left on the disk" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "0.txt"], "files need --tokenizer TOKENIZER and --out DIR"),
        (["index", "nowhere"], "nowhere does not exist"),
        (["count", "nowhere", "x"], "no finished index"),
        (["index", "absent.txt", "--tokenizer", "words", "--out", "x"], "absent.txt does not exist"),
    ],
)
def test_bad_input(
    place: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert run_command(["corpus", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
