"""Documents, and the user's own files read into them.

A document is the unit that is held out: a chapter, a help topic, a row of a table, or a piece of a long file. Files are
streamed, so that a file far larger than memory, or one without a single line break, costs the memory of one piece.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cutaway.runs.errors import BadInput

LONGEST_DOCUMENT = 20_000
"""Characters. A longer text becomes several documents, so that a held-out share of one file means something."""

SHORTEST_PIECE = 1_000
"""Characters. Pieces of a small file are not cut below this."""

PIECES_OF_A_FILE = 50
"""A small text is cut in about this many pieces, so that a few percent of it can be held out."""

LONGEST_JSON_LINE = 256 * 2**20
"""Bytes. JSON has to be held whole to be read, so a line without end is refused rather than swallowed."""

SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")

_CHUNK = 1 << 20
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_SENTENCE = re.compile(r"[.!?][\"')\]]*\s")

# Nothing a reader sees: C0 and C1 controls, DEL, byte order marks, and halves of surrogate pairs, which JSON can
# smuggle in as \ud800 and which cannot be written as UTF-8. A form feed ends a page, so it becomes a line break.
_REMOVED: dict[int, str | None] = {
    **dict.fromkeys([*range(9), 11, *range(14, 32), *range(127, 160), *range(0xD800, 0xE000), 0xFEFF]),
    12: "\n",
}


@dataclass(frozen=True)
class Document:
    """One text of the corpus.

    `id` is unique in a corpus and reads `origin/rest`; documents with the same rest are versions of one another
    (`bbe/genesis/1` and `kjv/genesis/1`). `source` says what kind of text it is: bbe, kjv, pydoc, world, user. A page
    of the web has a `url`.
    """

    id: str
    text: str
    source: str
    url: str | None = None


def read_documents(path: str | Path, name: str = "user") -> Iterator[Document]:
    """The documents of a file (.txt, .md, .jsonl, .parquet) or of a folder of them.

    JSONL needs a key "text" in each line, Parquet a column "text". Folders are read recursively in sorted order without
    hidden files; of a run what it trains on is read. Ids start with `name`; the source is "user".

    Raises:
        BadInput: while iterating: a missing path, another kind of file, bytes that are not UTF-8 (with their offset),
            a row without text, a path that holds no text at all.
    """
    path = Path(path)
    try:
        if path.is_dir():
            files = text_files(path)
            if not files:
                raise BadInput(f"{path} holds no text: give a folder with {', '.join(SUFFIXES)} files")
            named = [(file, f"{name}/{file.relative_to(path).as_posix()}") for file in files]
        elif not path.exists():
            raise BadInput(f"{path} does not exist: give a text file or a folder of text files")
        elif path.suffix.lower() not in SUFFIXES:
            raise BadInput(
                f"{path} is not a kind of file that can be read as text: give {', '.join(SUFFIXES)} or a folder"
            )
        else:
            named = [(path, f"{name}/{path.name}")]
        found = False
        # By the size of all files together: a folder of many small files is held out by the file, not in crumbs.
        piece = sum(file.stat().st_size for file, _ in named) // PIECES_OF_A_FILE
        piece = min(LONGEST_DOCUMENT, max(SHORTEST_PIECE, piece))
        for file, label in named:
            for number, text in enumerate(_texts(file, piece)):
                found = True
                yield Document(f"{label}/{number}", text, "user")
    except OSError as error:
        raise BadInput(
            f"{error.filename or path} cannot be read ({error.strerror}): check the path and its permissions"
        ) from None
    if not found:
        raise BadInput(f"{path} holds no text: it is empty or only white space")


def text_files(folder: Path) -> list[Path]:
    """The text files below a folder, sorted, without hidden ones; of a run, those that it trains on."""
    if (folder / "recipe.toml").is_file() and (folder / "corpus").is_dir():
        return sorted((folder / "corpus").glob("train*.parquet"))
    return sorted(_files_below(folder))


def pieces(texts: Iterable[str], size: int = LONGEST_DOCUMENT) -> Iterator[str]:
    """The running text that arrives in `texts`, in pieces of at most `size` characters.

    A piece ends at the last blank line that fits, else a line break, else the end of a sentence, else a space, else
    anywhere. Pieces are stripped at both ends and never empty.
    """
    waiting = ""
    for text in texts:
        waiting += text
        start = 0
        while len(waiting) - start > size:
            cut = _last_border(waiting, start, start + size)
            piece = waiting[start:cut].strip()
            if piece:
                yield piece
            start = cut
        waiting = waiting[start:]
    if waiting.strip():
        yield waiting.strip()


def _last_border(text: str, start: int, end: int) -> int:
    earliest = start + (end - start) // 2  # a border in the first half would make needlessly small pieces
    for pattern in (_BLANK_LINE, re.compile("\n"), _SENTENCE, re.compile(" ")):
        cut = 0
        for match in pattern.finditer(text, earliest, end):
            cut = match.end()
        if cut:
            return cut
    return end


def _refuse(error: OSError) -> NoReturn:
    """A folder that cannot be read is told of; to leave it out would be silent."""
    raise BadInput(f"{error.filename} cannot be read ({error.strerror}): check its permissions") from None


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file = Path(parent, name)
            if not name.startswith(".") and file.suffix.lower() in SUFFIXES and file.is_file():
                yield file


def _texts(file: Path, piece: int) -> Iterator[str]:
    """The texts of one file, cleaned, none empty: running text in pieces, rows as they are up to LONGEST_DOCUMENT."""
    suffix = file.suffix.lower()
    if suffix in (".txt", ".md"):
        yield from pieces(_decoded(file), piece)
        return
    rows = _json_lines(file) if suffix == ".jsonl" else _parquet_rows(file)
    for row in rows:
        yield from pieces([_cleaned(row.replace("\r\n", "\n").replace("\r", "\n"))])


def _cleaned(text: str) -> str:
    return text.translate(_REMOVED)


def _decoded(file: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    read = 0
    with file.open("rb") as stream:
        while True:
            chunk = stream.read(_CHUNK)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise not_utf8(file, read - pending + error.start) from None
            yield _cleaned(newlines.decode(text, final=not chunk))
            if not chunk:
                return
            read += len(chunk)


def not_utf8(file: Path, offset: int) -> BadInput:
    """What is to be said of a file whose bytes from `offset` on are not UTF-8."""
    with file.open("rb") as stream:
        head = stream.read(4096)
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    if not wide and b"\0" in head:
        return BadInput(f"{file} is no text but binary data; give a text file in UTF-8")
    encoding = "UTF-16" if wide else "ISO-8859-1"
    return BadInput(
        f"{file} is not UTF-8 (byte offset {offset}): save it as UTF-8, for example with `iconv -f {encoding} -t UTF-8`"
    )


def _json_lines(file: Path) -> Iterator[str]:
    offset = 0
    with file.open("rb") as stream:
        number = 0
        while line := stream.readline(LONGEST_JSON_LINE):
            number += 1
            if len(line) == LONGEST_JSON_LINE and not line.endswith(b"\n"):
                raise BadInput(
                    f"{file} line {number} is longer than {LONGEST_JSON_LINE >> 20} MiB: put one document on a line"
                )
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise not_utf8(file, offset + error.start) from None
            offset += len(line)
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise BadInput(f"{file} line {number} is not JSON ({error}): write one JSON object a line") from None
            value = row.get("text") if isinstance(row, dict) else None
            if not isinstance(value, str):
                keys = ", ".join(map(repr, row)) if isinstance(row, dict) else ""
                raise BadInput(
                    f'{file} line {number} has no text (its keys are: {keys or "none"}): each line needs a key "text"'
                    " with the text as a string"
                )
            yield value


def _parquet_rows(file: Path) -> Iterator[str]:
    import pyarrow as pa  # here, because only those who bring such files should wait for it
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            if "text" not in table.schema_arrow.names:
                columns = ", ".join(map(repr, table.schema_arrow.names))
                raise BadInput(f'{file} has the columns {columns}: it needs a column "text" of strings')
            kind = table.schema_arrow.field("text").type
            if pa.types.is_dictionary(kind):
                kind = kind.value_type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
                raise BadInput(f'{file} column "text" is of type {kind}: it must hold strings')
            for batch in table.iter_batches(batch_size=256, columns=["text"]):
                for value in batch.column(0).to_pylist():
                    if value:
                        yield value
    except pa.ArrowInvalid as error:
        raise BadInput(
            f"{file} is not a readable Parquet file ({str(error).splitlines()[0]}): write it again"
        ) from None
    except UnicodeDecodeError:
        raise BadInput(f'{file} column "text" holds bytes that are not UTF-8: write it again from UTF-8 text') from None
