"""PDF files: ones written by hand to the letter of ISO 32000, and broken, locked, endless ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources import read_pages

pypdf = pytest.importorskip("pypdf")


def pdf(*sheets: str, kids: str | None = None, body: bytes = b"") -> bytes:
    """A PDF with a line of text on each sheet."""
    first = 4
    numbers = range(first, first + 2 * len(sheets), 2)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(sheets)} /Kids [{kids or ' '.join(f'{n} 0 R' for n in numbers)}] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in zip(numbers, sheets, strict=True):
        stream = body or f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {number + 1} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >> stream\n%s\nendstream" % (len(stream), stream))
    data = b"%PDF-1.4\n"
    places: list[int] = []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF"
    return data + end % (len(objects) + 1, table, len(objects) + 1, len(data))


def read(tmp_path: Path, data: bytes) -> Page | Skipped:
    (tmp_path / "x.pdf").write_bytes(data)
    (item,) = read_pages(tmp_path / "x.pdf", "f")
    return item


def test_sheets_follow_one_another(tmp_path: Path):
    item = read(tmp_path, pdf("Hello there", "and goodbye"))
    assert isinstance(item, Page)
    assert (item.text, item.id) == ("Hello there\n\nand goodbye", "f")


def test_pages_that_are_their_own_children_end(tmp_path: Path):
    assert isinstance(read(tmp_path, pdf("x", kids="2 0 R 2 0 R")), Skipped)


def test_a_form_that_draws_itself_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cutaway.corpus.sources.pdf.SECONDS", 5.0)
    data = pdf("x", body=b"/X Do BT /F1 12 Tf (words) Tj ET")
    data = data.replace(b"/Resources <<", b"/Resources 6 0 R /Unused <<", 1)
    form = b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources 6 0 R /Length 5 >> stream\n/X Do\nendstream"
    fonts = b"<< /Font << /F1 3 0 R >> /XObject << /X 7 0 R >> >>"
    data = data.replace(b"xref\n", b"6 0 obj\n%s\nendobj\n7 0 obj\n%s\nendobj\nxref\n" % (fonts, form), 1)
    item = read(tmp_path, data)
    assert isinstance(item, Skipped) or "words" in item.text


def test_one_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cutaway.corpus.sources.pdf.SECONDS", 1.0)
    item = read(tmp_path, pdf(*["x"] * 20, body=b"BT /F1 12 Tf " + b"(words) Tj 1 0 Td " * 20_000 + b"ET"))
    assert item == Skipped("f", "reading it takes more than 1 s")
    assert isinstance(read(tmp_path, pdf("again")), Page)


def test_broken_empty_locked_and_huge_ones_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.write(tmp_path / "blank.pdf")
    blank = read(tmp_path, (tmp_path / "blank.pdf").read_bytes())
    assert blank == Skipped("f", "it holds no text, only pictures perhaps")
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    assert read(tmp_path, (tmp_path / "locked.pdf").read_bytes()) == Skipped("f", "it is locked with a password")
    for broken in (b"", b"no PDF", pdf("x")[:200], b"%PDF-1.4\n" + bytes(range(256)) * 50):
        assert isinstance(read(tmp_path, broken), Skipped)
    monkeypatch.setattr("cutaway.corpus.sources.pdf.LARGEST_FILE", 100)
    assert "larger" in str(read(tmp_path, pdf("x")))
