"""WARC and WET: hand-made records after ISO 28500, fastwarc's own reader as the oracle, and what hostile files hold."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from pathlib import Path

import pytest

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources import read_pages

SAMPLE = Path(__file__).resolve().parents[4] / "shared" / "data" / "web/sample-0000.warc.gz"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=%s\r\n"


def record(
    number: int, block: bytes, length: int | str | None = None, kind: str = "response", extra: str = ""
) -> bytes:
    content = {"response": "application/http; msgtype=response", "conversion": "text/plain"}.get(kind, "text/html")
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{number}>\r\nWARC-Target-URI: "
        f"<http://example.com/{number}>\r\nContent-Type: {content}\r\n{extra}"
        f"Content-Length: {len(block) if length is None else length}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def page(number: int, text: bytes = b"", **more: object) -> bytes:
    return record(number, OK % b"utf-8" + b"\r\n<p>page %d %s" % (number, text), **more)  # pyright: ignore[reportArgumentType]


def read(path: Path, *records: bytes, packed: bool | None = None) -> list[Page | Skipped]:
    file = path / ("crawl.warc.gz" if packed else "crawl.warc")
    file.write_bytes(b"".join(map(gzip.compress, records)) if packed else b"".join(records))
    return list(read_pages(file, "crawl"))


def summary(items: list[Page | Skipped]) -> list[str]:
    """`page N` for a page, the reason for what was skipped."""
    return [(i.html or i.text.encode()).decode()[3:9] if isinstance(i, Page) else i.reason for i in items]


@pytest.mark.parametrize("packed", [False, True])
def test_reads_responses_and_conversions_and_passes_over_the_rest(tmp_path: Path, packed: bool):
    request = record(7, b"GET / HTTP/1.1\r\n\r\n", kind="request")
    wet = record(8, "Grüße\r\nzwei".encode(), kind="conversion")
    items = read(tmp_path, page(1), request, wet, packed=packed)
    assert [i.id if isinstance(i, Page) else i.where for i in items] == ["crawl/0", "crawl/2"]
    first, second = items
    assert isinstance(first, Page)
    assert isinstance(second, Page)
    assert (first.url, first.encoding, first.html) == ("http://example.com/1", "utf-8", b"<p>page 1 ")
    assert (second.url, second.text, second.html) == ("http://example.com/8", "Grüße\nzwei", None)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Encoding: gzip\r\n", gzip.compress(b"<p>hello", mtime=0)),
        (b"Content-Encoding: deflate\r\n", zlib.compress(b"<p>hello")),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\n<p>\r\n5\r\nhello\r\n0\r\n\r\n"),
        # Headers from before decoding, the body from after it, as some crawlers write them.
        (b"Content-Encoding: gzip\r\n", b"<p>hello"),
        (b"Transfer-Encoding: chunked\r\n", b"<p>hello"),
    ],
)
def test_undoes_what_http_did_to_a_body(tmp_path: Path, headers: bytes, body: bytes):
    (item,) = read(tmp_path, record(1, OK % b"iso-8859-1" + headers + b"\r\n" + body))
    assert isinstance(item, Page)
    assert (item.html, item.encoding) == (b"<p>hello", "iso-8859-1")


def test_skips_what_is_no_page(tmp_path: Path):
    image = record(1, b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n\x89PNG")
    missing = record(2, b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<p>gone")
    said = page(3, extra="WARC-Identified-Payload-Type: application/pdf\r\n")
    empty = record(4, OK % b"utf-8" + b"\r\n")
    words = record(5, b"no HTTP at all")
    items = read(tmp_path, image, missing, said, empty, words, page(6))
    assert summary(items) == [
        "it is image/png, not HTML",
        "HTTP status 404",
        "it is application/pdf, not HTML",
        "it is empty",
        "it holds no HTTP response",
        "page 6",
    ]


@pytest.mark.parametrize("length", [900, 10**12, 260])
@pytest.mark.parametrize("packed", [False, True])
def test_a_length_that_is_too_long_costs_that_record_only(tmp_path: Path, length: int, packed: bool):
    items = read(tmp_path, page(1), page(2, length=length), page(3), page(4), packed=packed)
    assert [line for line in summary(items) if line.startswith("page")] == ["page 1", "page 3", "page 4"]
    (skipped,) = [item for item in items if isinstance(item, Skipped)]
    assert skipped.where == "crawl/1"
    assert f"it says that it holds {length} bytes" in skipped.reason


@pytest.mark.parametrize("length", [0, 60, -5, "many"])
def test_a_length_that_is_too_short_or_none_costs_that_record_only(tmp_path: Path, length: int | str):
    items = read(tmp_path, page(1), page(2, b"x" * 500, length=length), page(3))
    lines = summary(items)
    assert (lines[0], lines[-1], len(lines)) == ("page 1", "page 3", 3)


def test_every_wrong_length_is_noticed_and_the_next_records_are_found(tmp_path: Path):
    whole = len(OK % b"utf-8" + b"\r\n<p>page 2 ")
    for length in range(whole + 400):
        if length == whole:
            continue
        lines = summary(read(tmp_path, page(1), page(2, length=length), page(3), page(4)))
        assert [line for line in lines if line.startswith("page")] == ["page 1", "page 3", "page 4"], length


def test_bytes_between_records_are_told_of_once(tmp_path: Path):
    items = read(tmp_path, b"junk\n" * 5, page(1), b"\0" * 100_000, page(2))
    assert summary(items) == [
        "25 bytes that are no WARC record",
        "page 1",
        "100000 bytes that are no WARC record",
        "page 2",
    ]


@pytest.mark.parametrize("cut", [1, 9, 60, 150])
def test_a_file_that_ends_early_gives_what_came_before(tmp_path: Path, cut: int):
    file = tmp_path / "crawl.warc.gz"
    file.write_bytes(b"".join(gzip.compress(page(number)) for number in (1, 2, 3))[:-cut])
    lines = summary(list(read_pages(file, "crawl")))
    assert lines[:2] == ["page 1", "page 2"]
    assert "the file ends" in lines[2]


def test_a_broken_gzip_member_does_not_end_the_file(tmp_path: Path):
    members = [bytearray(gzip.compress(page(number))) for number in (1, 2, 3, 4)]
    members[1][40:60] = b"\0" * 20
    del members[2][50:]
    file = tmp_path / "crawl.warc.gz"
    file.write_bytes(b"".join(members))
    lines = summary(list(read_pages(file, "crawl")))
    assert (lines[0], lines[-1]) == ("page 1", "page 4")
    assert all("gzip" in line or "ends" in line for line in lines[1:-1])


def test_one_gzip_member_for_the_whole_file_is_a_stream(tmp_path: Path):
    file = tmp_path / "crawl.warc.gz"
    file.write_bytes(gzip.compress(b"".join(page(number % 10, b"x" * 10_000) for number in range(1_000))))
    tracemalloc.start()
    assert sum(isinstance(item, Page) for item in read_pages(file, "crawl")) == 1_000
    assert tracemalloc.get_traced_memory()[1] < 3 * 2**20
    tracemalloc.stop()


def test_bombs_cost_neither_memory_nor_the_next_record(tmp_path: Path):
    zeros = zlib.compressobj(wbits=31)
    bomb = zeros.compress(record(2, b"", length=10**9)[:-4])
    bomb += b"".join(zeros.compress(b"\0" * 2**20) for _ in range(70)) + zeros.flush()
    inner = zlib.compressobj(wbits=31)
    nested = OK % b"utf-8" + b"Content-Encoding: gzip\r\n\r\n"
    nested += b"".join(inner.compress(b"\0" * 2**20) for _ in range(20)) + inner.flush()
    file = tmp_path / "crawl.warc.gz"
    file.write_bytes(gzip.compress(page(1)) + bomb + gzip.compress(record(3, nested)) + gzip.compress(page(4)))
    tracemalloc.start()
    lines = summary(list(read_pages(file, "crawl")))
    assert tracemalloc.get_traced_memory()[1] < 48 * 2**20
    tracemalloc.stop()
    assert (lines[0], lines[-1]) == ("page 1", "page 4")
    assert any("bomb" in line for line in lines)
    assert "its page is larger than 16 MiB" in lines


@pytest.mark.skipif(not SAMPLE.exists(), reason="the shared data are not here")
def test_a_real_crawl_is_read_as_fastwarc_reads_it():
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    with SAMPLE.open("rb") as file:
        expected = [
            (record.headers["WARC-Target-URI"].strip("<>"), record.http_charset, record.reader.read())
            for record in ArchiveIterator(file, record_types=WarcRecordType.response, auto_decode="all")
            if record.http_content_type == "text/html"
        ]
    found = [item for item in read_pages(SAMPLE, "s") if isinstance(item, Page)]
    assert len(found) == 22
    assert [(page.url, page.encoding, page.html) for page in found] == expected
    assert len({page.id for page in found}) == 22
