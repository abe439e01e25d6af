"""WARC and WET files, such as Common Crawl's: HTML as it was fetched, or the text that was taken from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources.bounds import CHUNK, LARGEST_PAGE, Unreadable
from cutaway.corpus.sources.decoding import decoded, missing_extra, printable
from cutaway.corpus.sources.gzip_members import GzipMembers
from cutaway.corpus.sources.opened import opened
from cutaway.corpus.sources.warc_records import OPENING, records

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

HTML_TYPES = ("text/html", "application/xhtml+xml")
"""Media types of pages. Anything else that was fetched is skipped and named."""


def read_warc(path: Path, name: str) -> Iterator[Page | Skipped]:
    """The pages of a .warc, .warc.gz, .wet or .wet.gz file; a page's id has the number of its record.

    Responses and resources that are HTML become pages with `html`, conversions (WET) pages with `text`. Requests,
    metadata and revisits pass without a word.
    """
    for number, record in enumerate(_records(path)):
        where = f"{name}/{number}"
        try:
            if isinstance(record, Unreadable):
                raise record
            page = _page(record, where, name)
        except Unreadable as reason:
            yield Skipped(where, str(reason))
        else:
            if page is not None:
                yield page


def _records(path: Path) -> Iterator[bytes | Unreadable]:
    if path.suffix.lower() != ".gz":
        with opened(path) as stream:
            yield from records(iter(lambda: stream.read(CHUNK), b""))
        return
    with path.open("rb") as file:
        members = GzipMembers(file, OPENING)
        while members.more():
            try:
                yield from records(members.member())
            except Unreadable as reason:
                yield reason


def _page(record: bytes, where: str, source: str) -> Page | None:
    try:
        from fastwarc.warc import WarcRecord
    except ImportError as error:
        raise missing_extra(error) from None
    try:
        parsed = WarcRecord.from_bytes(record)
    except (OSError, ValueError) as error:
        raise Unreadable(f"its headers cannot be read ({error})") from None
    kind = (parsed.headers.get("WARC-Type") or "").lower()
    url = (parsed.headers.get("WARC-Target-URI") or "").strip().removeprefix("<").removesuffix(">") or None
    if kind == "conversion":
        text = printable(decoded(_body(parsed)))
        return Page(where, source, text=text, url=url)
    if kind not in ("response", "resource"):
        return None
    declared, media_type = None, parsed.headers.get("Content-Type")
    if kind == "response":
        if not (media_type or "").lower().startswith("application/http"):
            return None  # a response of another protocol, such as DNS
        parsed = _without_transfer(parsed, record)
        if not parsed.is_http_parsed or parsed.http_headers.status_code is None:
            raise Unreadable("it holds no HTTP response")
        if parsed.http_headers.status_code != 200:
            raise Unreadable(f"HTTP status {parsed.http_headers.status_code}")
        declared, media_type = parsed.http_charset, parsed.http_content_type
    body = _body(parsed)
    media_type = _media_type(parsed.headers.get("WARC-Identified-Payload-Type") or media_type, body)
    if media_type not in HTML_TYPES:
        raise Unreadable(f"it is {media_type}, not HTML")
    return Page(where, source, html=body, encoding=declared, url=url)


def _without_transfer(parsed: WarcRecord, record: bytes) -> WarcRecord:
    """The record with its HTTP headers read and its body decompressed, if it is compressed.

    Some crawlers keep a body as it was after decoding with headers from before; such a body is taken as it is.
    """
    try:
        parsed.parse_http(auto_decode="all")
    except (OSError, ValueError):
        parsed = type(parsed).from_bytes(record)
        try:
            parsed.parse_http(auto_decode="none")
        except (OSError, ValueError) as error:
            raise Unreadable(f"its HTTP headers cannot be read ({error})") from None
    return parsed


def _body(parsed: WarcRecord) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        while data := parsed.reader.read(LARGEST_PAGE + 1 - size):
            parts.append(data)
            size += len(data)
            if size > LARGEST_PAGE:
                raise Unreadable(f"its page is larger than {LARGEST_PAGE >> 20} MiB")
    except (OSError, ValueError) as error:
        raise Unreadable(f"its body cannot be decompressed ({error})") from None
    if not size:
        raise Unreadable("it is empty")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _media_type(declared: str | None, body: bytes) -> str:
    if declared:
        return declared.partition(";")[0].strip().lower()[:100]
    from resiliparse.parse.encoding import detect_mime

    return detect_mime(body)
