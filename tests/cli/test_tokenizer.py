"""`cutaway tokenizer`: what each verb prints, in 80 columns and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cutaway.cli.main import run_command
from cutaway.tokens import Tokenizer

TEXT = "In the beginning God created the heaven and the earth. It's 48 + 37 = 85.\n\n" * 30
TALK = [{"role": "user", "content": "Hi <|end|>"}, {"role": "assistant", "content": "In the heaven"}]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "talk.json").write_text(json.dumps(TALK))
    rows = {"text": [TEXT, "le ciel"], "language": ["en", "fr"], "url": ["https://a.org/x", "not a url ["]}
    pq.write_table(pa.table(rows), tmp_path / "web.parquet")
    assert run_command(["tokenizer", "learn", "text.txt", "--out", "t", "--vocab-size", "300", "--special", "<x>"]) == 0
    assert "300 tokens are in t" in capsys.readouterr().out
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What a verb prints as JSON; in words it must fit 80 columns."""
    assert run_command(["tokenizer", *arguments]) == 0
    printed = capsys.readouterr().out
    assert printed.strip()
    assert all(len(line) <= 80 for line in printed.splitlines())
    assert run_command(["tokenizer", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_merges_compare_and_unused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = Tokenizer.load(place / "t").encode("the beginning")
    assert said(capsys, "merges", "t", "the beginning")["ids"] == ids
    assert run_command(["tokenizer", "convert", "t", "t.tiktoken"]) == 0
    capsys.readouterr()
    both = said(capsys, "compare", "the beginning\x1b[31m", "t", "t.tiktoken")
    assert both[0]["tokens"] == both[1]["tokens"]
    found = said(capsys, "compare", "t", "--file", "web.parquet")[0]
    assert {(group["by"], group["name"]) for group in found["groups"]} == {
        ("language", "en"), ("language", "fr"), ("domain", "a.org"), ("domain", "?"),
    }  # fmt: skip
    told = said(capsys, "unused", "t", "text.txt")
    assert {"id": Tokenizer.load(place / "t").encode("z")[0], "bytes": [122]} in told["unused"]


def test_convert_pack_check_and_render(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, to in (("m", ["--to", "gpt2"]), ("t.gguf", []), ("t2.json", []), ("t.tiktoken", [])):
        assert said(capsys, "convert", "t", name, *to)
        capsys.readouterr()
        assert (
            said(capsys, "encode", name, "the beginning")["ids"] == said(capsys, "encode", "t", "the beginning")["ids"]
        )
    packed = said(capsys, "pack", "t", "text.txt", "--out", "p", "--row-length", "32")
    assert said(capsys, "check", "p") == {
        "rows": packed["rows"], "tokens": packed["tokens"], "bytes_a_token": 2, "checksum": True,
    }  # fmt: skip
    talk = said(capsys, "render", "t", "talk.json")
    learned = [id_ for id_, yes in zip(talk["ids"], talk["learned"], strict=True) if yes]
    assert Tokenizer.load(place / "t").decode(learned) == "In the heaven<|end|>"
    packed = said(capsys, "pack", "t", "talk.json", "--out", "c", "--conversations")
    assert (packed["documents"], packed["tokens"]) == (1, len(talk["ids"]))


@pytest.mark.parametrize("kind", ["characters", "bytes", "words"])
def test_kinds_for_teaching(place: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        said(capsys, "learn", "text.txt", "--out", kind, "--kind", kind)["tokens"]
        == Tokenizer.load(place / kind).vocab_size
    )
    assert said(capsys, "encode", kind, "God")["ids"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learn", "text.txt", "--out", "x", "--kind", "glyphs"], "no --kind glyphs"),
        (["learn", "text.txt", "--out", "x", "--split", "gpt9"], "split"),
        (
            ["learn", "text.txt", "--out", "x", "--vocab-size", "200001"],
            "is 200,001; choose 263 to 200,000",
        ),
        (["learn", "text.txt", "--out", "x", "--vocab-size", "10"], "is 10; choose 263 to 200,000"),
        (["compare", "only text"], "name tokenizers"),
        (["convert", "t", "x", "--to", "pdf"], "--to is one of"),
        (["pack", "t", "text.txt", "--out", "."], "holds something else"),
        (["render", "t", "text.txt"], "neither JSON"),
        (["compare", "t", "--file", "nowhere"], "does not exist"),
    ],
)
def test_bad_input_is_told(place: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run_command(["tokenizer", *arguments])
    err = capsys.readouterr().err
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_place_that_cannot_be_written_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["tokenizer", "convert", "t", "t", "--to", "tiktoken"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: t cannot be used (Is a directory)")


def test_less_text_than_tokens(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["tokenizer", "learn", "text.txt", "--out", "x", "--vocab-size", "100000"]) == 0
    assert "of 100,000 that were asked for: the text holds no more to learn" in capsys.readouterr().out
    assert run_command(["tokenizer", "learn", "text.txt", "--out", "x", "--vocab-size", "270"]) == 0
    assert capsys.readouterr().out == "270 tokens are in x\n"
