"""Files of every other kind: what is read from each, and what is skipped and said of the broken ones."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources import find_inputs, read_pages
from cutaway.runs.errors import BadInput


def read(file: Path, data: bytes | None = None) -> list[Page | Skipped]:
    if data is not None:
        file.write_bytes(data)
    return list(read_pages(file, "f"))


def only(file: Path, data: bytes | None = None) -> Page:
    (page,) = read(file, data)
    assert isinstance(page, Page), page
    return page


def reason(file: Path, data: bytes | None = None) -> str:
    (skipped,) = read(file, data)
    assert isinstance(skipped, Skipped), skipped
    return skipped.reason


@contextmanager
def less_memory_than(mebibytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < mebibytes * 2**20
    finally:
        tracemalloc.stop()


# Finding


def test_folders_are_read_recursively_in_sorted_order_without_hidden_and_unknown_files(tmp_path: Path):
    for name in ("b/z.txt", "b/a.jsonl.gz", "a.HTML", ".git/x.txt", "c/.x.md", "d.exe", "e.csv", "f.pdf.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    names = [file.relative_to(tmp_path).as_posix() for file in find_inputs([tmp_path])]
    assert names == ["a.HTML", "b/a.jsonl.gz", "b/z.txt"]
    assert find_inputs([tmp_path / "e.csv", tmp_path / "a.HTML", tmp_path])[0] == tmp_path / "e.csv"
    assert len(find_inputs([tmp_path / "a.HTML", tmp_path])) == 3


@pytest.mark.parametrize(
    ("name", "said"), [("nothing", "does not exist"), ("x.exe", "no kind of file"), ("empty", "holds nothing to read")]
)
def test_bad_inputs_are_refused_in_a_line(tmp_path: Path, name: str, said: str):
    (tmp_path / "x.exe").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=said):
        find_inputs([tmp_path / name])


def test_a_name_that_is_no_data_set_is_refused():
    with pytest.raises(BadInput, match="no data set of the hub"):
        find_inputs(["hub:../../etc"])


def test_a_data_set_of_the_hub_is_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text('{"text": "a"}\n')
    asked: list[object] = []

    def download(name: str, **options: object) -> str:
        asked.append((name, options["repo_type"], options["revision"]))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find_inputs(["hub:some/set@main"]) == [tmp_path / "data" / "a.jsonl"]
    assert asked == [("some/set", "dataset", "main")]


# Text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-32"])
def test_text_in_any_common_encoding(tmp_path: Path, encoding: str):
    text = "Grüße aus Köln, schöne Straße, 'ça va' – déjà vu. " * 40
    page = only(tmp_path / "t.txt", text.encode(encoding))
    assert (page.text, page.id, page.source) == (text.strip(), "f/0", "f")


def test_text_is_freed_of_what_no_reader_sees(tmp_path: Path):
    assert only(tmp_path / "t.md", b"a\x00b\x07c\r\nd\x0ce\r" + b"f" * 100).text == "abc\nd\ne\n" + "f" * 100


def test_a_few_broken_bytes_are_marked_and_binaries_are_refused(tmp_path: Path):
    assert only(tmp_path / "t.txt", "Grüße ".encode() * 100 + b"\xff" + b"x" * 100).text.count("\ufffd") == 1
    assert "no text" in reason(tmp_path / "t.txt", bytes(range(256)) * 100)
    assert "no text" in reason(tmp_path / "t.txt", b"\0" * 5000)
    assert read(tmp_path / "t.txt", b" \n") == []


def test_long_text_is_a_stream_of_pieces(tmp_path: Path):
    file = tmp_path / "long.txt.gz"
    file.write_bytes(gzip.compress(b"one line without end " * 400_000))
    with less_memory_than(4):
        pages = read_pages(file, "f")
        assert sum(len(page.text) for page in pages if isinstance(page, Page)) > 8_000_000


# Rows


def test_json_lines_with_text_html_and_urls_where_others_keep_them(tmp_path: Path):
    rows = [
        {"text": "one", "url": "http://a.com"},
        {"html": "<p>zwei ü", "metadata": {"url": "http://b.com"}},
        {"text": "", "metadata": None},
        {"title": "none"},
        ["list"],
    ]
    data = "\n".join(map(json.dumps, rows)) + '\nnot json\n\n{"text": "\\ud800\\u0000last"}\n' + "[" * 5000
    first, second, *skipped, last, deep = read(tmp_path / "r.jsonl", data.encode() + b"\n")
    assert isinstance(first, Page)
    assert isinstance(second, Page)
    assert isinstance(last, Page)
    assert (first.text, first.url, first.id) == ("one", "http://a.com", "f/0")
    assert (second.html, second.encoding, second.url) == ("<p>zwei ü".encode(), "utf-8", "http://b.com")
    assert (last.text, last.id) == ("last", "f/7")
    assert [item.where for item in skipped if isinstance(item, Skipped)] == ["f/2", "f/3", "f/4", "f/5"]
    assert isinstance(deep, Skipped)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.bz2", ".jsonl.zst"])
def test_json_lines_are_read_compressed_too(tmp_path: Path, suffix: str):
    data = b'{"text": "one"}\n' * 3
    file = tmp_path / f"r{suffix}"
    if suffix.endswith("zst"):
        with pa.CompressedOutputStream(str(file), "zstd") as out:
            out.write(data)
    else:
        file.write_bytes({".gz": gzip.compress, ".bz2": bz2.compress}.get(file.suffix, bytes)(data))
    assert [page.text for page in read(file) if isinstance(page, Page)] == ["one"] * 3


@pytest.mark.parametrize("suffix", ["gz", "bz2"])
def test_compressed_files_that_end_early_or_are_bombs(tmp_path: Path, suffix: str):
    pack = gzip.compress if suffix == "gz" else bz2.compress
    rows = b"".join(json.dumps({"text": f"{n} {n * 7919 % 1009}"}).encode() + b"\n" for n in range(50_000))
    pages = read(tmp_path / f"cut.jsonl.{suffix}", pack(rows)[:-100])
    assert isinstance(pages[0], Page)
    assert isinstance(pages[-1], Skipped)
    assert "compressed data are broken" in pages[-1].reason
    bomb = tmp_path / f"bomb.jsonl.{suffix}"
    bomb.write_bytes(pack(b'{"text": "a"}\n' + b" " * 80_000_000))
    with less_memory_than(80):  # a line is held up to its bound, and copied when it is whole
        items = read(bomb)
    assert any(isinstance(item, Skipped) and "bomb" in item.reason for item in items)
    assert isinstance(items[0], Page)


def test_a_line_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cutaway.corpus.sources.json_lines.LONGEST_LINE", 1000)
    items = read(tmp_path / "r.jsonl", b'{"text": "a"}\n{"text": "' + b"x" * 200_000 + b'"}\n{"text": "b"}\n')
    assert [item.text if isinstance(item, Page) else item.where for item in items] == ["a", "f/1", "b"]


def test_parquet_with_text_html_and_url(tmp_path: Path):
    file = tmp_path / "p.parquet"
    table = pa.table(
        {"text": ["a", None, None], "html": [b"", b"<p>b", None], "url": ["u", None, None], "id": [1, 2, 3]}
    )
    pq.write_table(table, file, row_group_size=2)
    first, second, third = read(file)
    assert isinstance(first, Page)
    assert isinstance(second, Page)
    assert (first.text, first.url, first.id) == ("a", "u", "f/0")
    assert (second.html, second.id) == (b"<p>b", "f/1")
    assert isinstance(third, Skipped)


def test_parquet_that_is_none_or_lacks_the_columns(tmp_path: Path):
    assert "no readable Parquet" in reason(tmp_path / "p.parquet", b"PAR1 not at all PAR1")
    pq.write_table(pa.table({"words": ["a"]}), tmp_path / "q.parquet")
    assert "'words'" in reason(tmp_path / "q.parquet")


def test_parquet_is_a_stream(tmp_path: Path):
    file = tmp_path / "p.parquet"
    texts = [f"{number} " * 2000 for number in range(4000)]
    pq.write_table(pa.table({"text": texts}), file)
    before = pa.total_allocated_bytes()
    most = 0
    for _ in read_pages(file, "f"):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 24 * 2**20 < sum(map(len, texts))


# Single files and lists of them


def test_html_files_have_their_bytes_and_a_bound(tmp_path: Path):
    assert only(tmp_path / "h.html", b"<p>x").html == b"<p>x"
    assert only(tmp_path / "h.htm.gz", gzip.compress(b"<p>x")).html == b"<p>x"
    assert reason(tmp_path / "h.html", b"\0\0 ") == "it is empty"
    with (tmp_path / "huge.html").open("wb") as file:
        file.truncate(200_000_000)
    with less_memory_than(40):
        assert reason(tmp_path / "huge.html") == "it is larger than 16 MiB"


def test_a_list_of_urls_names_files_below_it_only(tmp_path: Path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "1.html").write_bytes(b"<p>one")
    (tmp_path / "saved" / "page").write_bytes(b"<p>two")
    (tmp_path / "secret.txt").write_text("secret")
    rows = ["url,path", "http://a.com/1,1.html", "http://a.com/2,page", "http://a.com/3,../secret.txt", "x,/etc/passwd"]
    rows += ["x,none.html", "x,list.csv", "x,", '"broken', "x," + "\0" + "a" * 5000]
    items = read(tmp_path / "saved" / "list.csv", "\n".join(rows).encode())
    first, second, *skipped = items
    assert isinstance(first, Page)
    assert isinstance(second, Page)
    assert (first.url, first.html, first.id, first.source) == ("http://a.com/1", b"<p>one", "f/0", "f")
    assert second.url == "http://a.com/2"
    assert len(skipped) == 7
    reasons = [item.reason for item in skipped if isinstance(item, Skipped)]
    assert ["outside" in line for line in reasons[:2]] == [True, True]
    assert "no file" in reasons[2]
    assert "no kind of file" in reasons[3]
    assert "url and path" in reason(tmp_path / "table.tsv", b"name\tage\nx\t1\n")


def test_json_lines_may_be_such_a_list(tmp_path: Path):
    (tmp_path / "1.html").write_bytes(b"<p>one")
    page = only(tmp_path / "list.jsonl", b'{"url": "http://a.com/1", "path": "1.html"}\n')
    assert (page.url, page.html) == ("http://a.com/1", b"<p>one")


# DOCX


def test_docx_as_word_processors_write_it(tmp_path: Path):
    docx = pytest.importorskip("docx")
    document = docx.Document()
    document.add_heading("A title", 1)
    document.add_paragraph("First & foremost").add_run(" and more")
    document.add_table(1, 2).rows[0].cells[1].text = "cell"
    document.save(str(tmp_path / "d.docx"))
    assert only(tmp_path / "d.docx").text == "A title\n\nFirst & foremost and more\n\ncell"


def archive(document: bytes, name: str = "word/document.xml") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(name, document)
    return data.getvalue()


W = b'<w:document xmlns:w="urn:w">'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK no zip", "no readable DOCX"),
        (archive(b"<x/>", "other.xml"), "no DOCX file"),
        (archive(W + b"<w:p>"), "well-formed"),
        (archive(W + b"</w:document>"), "no text"),
        (
            archive(b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + W + b"<w:t>&b;</w:t></w:document>"),
            "attacks",
        ),
        (archive(W + b"<w:p>" * 100_000), "nested"),
        (archive(W + b"<w:t>" + b"x" * 20_000_000), "longer than 16"),
        (archive(W + b" " * 70_000_000), "zip bomb"),
        (archive(W + b"<w:t a='" + b"x" * 2_000_000), "one of its tags"),
        (archive(W + b"<w:p><w:t>hi</w:t></w:p></w:document>")[:-30], "no readable DOCX"),
    ],
)
def test_docx_that_is_broken_or_an_attack(tmp_path: Path, data: bytes, said: str):
    assert said in reason(tmp_path / "d.docx", data)


def test_a_zip_that_lies_about_its_size_is_stopped_at_the_bound(tmp_path: Path):
    data = archive(W + b" " * 70_000_000)
    true, lie = (70_000_000 + len(W)).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    assert true in data
    assert "DOCX" in reason(tmp_path / "d.docx", data.replace(true, lie))
