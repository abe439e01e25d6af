"""Documents packed into rows of equal length, so that few are cut and little room is lost.

Rows filled end to end cut a document wherever a row happens to end. Best-fit packing (Ding et al. 2024, "Fewer
truncations improve language modeling") cuts only what is longer than a row: each piece, the longest first, goes where
it leaves the least room.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutaway.runs import atomic
from cutaway.runs.errors import BadInput
from cutaway.tokens.shards import Ids, check_shard, read_shard, write_shard

WINDOW = 16_384
"""Documents that are packed together: memory holds so many, and rows take documents from no further apart."""
TOKENS, ROWS, PIECES, DOCUMENTS, LEARNED = "tokens.bin", "rows.bin", "pieces.bin", "documents.bin", "learned.bin"


@dataclass(frozen=True)
class Text:
    """A document's or a conversation's tokens, and for each whether it is to be learned; None: all are."""

    ids: Ids
    learned: Sequence[bool] | None = None


@dataclass(frozen=True)
class Piece:
    """Tokens `start` to `end` of a document, by its number."""

    document: int
    start: int
    end: int


@dataclass(frozen=True)
class Row:
    """A row of a packed shard.

    Attributes:
        tokens: `[position]`, at most as many as a row is long.
        learned: `[position]`, whether to learn to write each.
        starts: `[piece]`, where its pieces begin; attention may be kept from crossing these.
        documents: `[piece]`, the number of the document of each.
    """

    tokens: NDArray[Any]
    learned: NDArray[np.bool_]
    starts: NDArray[np.int64]
    documents: NDArray[np.int64]


def best_fit(lengths: Sequence[int], row_length: int) -> list[list[Piece]]:
    """Rows of pieces of documents of these lengths, none longer than `row_length`; every token in exactly one.

    A longer document gives whole rows of its own, and what is left is packed with the rest. Rows are in the order of
    their first document.
    """
    rows: list[list[Piece]] = []
    left: list[Piece] = []
    for document, length in enumerate(lengths):
        whole = length - length % row_length
        rows += [[Piece(document, start, start + row_length)] for start in range(0, whole, row_length)]
        if whole < length:
            left.append(Piece(document, whole, length))
    left.sort(key=lambda piece: piece.start - piece.end)
    room: dict[int, list[int]] = {}  # rows by the room that they have
    sizes: list[int] = []  # the rooms that there are, in order
    for piece in left:
        need = piece.end - piece.start
        at = bisect_left(sizes, need)
        if at < len(sizes):
            size = sizes[at]
            row = room[size].pop()
            if not room[size]:
                del room[size], sizes[at]
        else:
            size, row = row_length, len(rows)
            rows.append([])
        rows[row].append(piece)
        if size > need:
            if size - need not in room:
                room[size - need] = []
                insort(sizes, size - need)
            room[size - need].append(row)
    return sorted(rows, key=lambda row: (row[0].document, row[0].start))


def write_packed(
    directory: Path, texts: Iterable[Text], row_length: int, *, vocab_size: int, window: int = WINDOW
) -> dict[str, int]:
    """Pack texts into a directory of memory-mapped arrays; give the numbers of `documents`, `tokens`, `rows`, `cut`.

    `cut` counts documents that are in more than one row. The texts stream: `window` of them are held at a time. An
    empty one takes no room. Raises `BadInput` if a row is too short or a text has more or fewer marks than tokens.
    """
    if row_length < 1:
        raise BadInput(f"a row of {row_length} tokens holds nothing; give --row-length 1 or more")
    counts: dict[str, int] = dict.fromkeys(("documents", "tokens", "rows", "cut"), 0)
    rows, pieces, documents, spans = array("Q", [0]), array("Q"), array("Q"), array("Q")

    def packed() -> Iterator[NDArray[Any]]:
        stream = iter(texts)
        while part := list(islice(stream, window)):
            for text in part:
                if text.learned is not None and len(text.learned) != len(text.ids):
                    raise BadInput(f"a text has {len(text.ids)} tokens, but {len(text.learned)} marks")
            arrays = [np.asarray(text.ids, np.int64) for text in part]
            for row in best_fit([len(ids) for ids in arrays], row_length):
                for piece in row:
                    pieces.append(counts["tokens"])
                    documents.append(counts["documents"] + piece.document)
                    _add_spans(spans, part[piece.document].learned, piece, counts["tokens"])
                    counts["tokens"] += piece.end - piece.start
                    counts["cut"] += piece.start == 0 and piece.end < len(arrays[piece.document])
                    yield arrays[piece.document][piece.start : piece.end]
                rows.append(counts["tokens"])
            counts["documents"] += len(part)

    with atomic.directory(directory) as place:
        write_shard(place / TOKENS, packed(), vocab_size=vocab_size)
        counts["rows"] = len(rows) - 1
        for name, values in ((ROWS, rows), (PIECES, pieces), (DOCUMENTS, documents), (LEARNED, spans)):
            # Two halves of 32 bits a number, so that one format serves all.
            write_shard(place / name, [np.array(values, "<u8").view("<u4")], vocab_size=2**32)
        atomic.write_json(place / "packed.json", {"row_length": row_length, **counts})
    return counts


def _add_spans(spans: array[int], marks: Sequence[bool] | None, piece: Piece, at: int) -> None:
    """Add where what is to be learned of a piece begins and ends in the shard, in which it stands at `at`."""
    learned = np.ones(piece.end - piece.start, np.int8)
    if marks is not None:
        learned = np.asarray(marks[piece.start : piece.end], np.int8)
    borders = np.flatnonzero(np.diff(learned, prepend=0, append=0)) + at
    for start, end in borders.reshape(-1, 2).tolist():
        if spans and spans[-1] == start:
            spans[-1] = end
        else:
            spans.extend((start, end))


class PackedShard:
    """A directory that `write_packed` left: rows of tokens, with where each document begins. Nothing is read ahead."""

    def __init__(self, directory: Path) -> None:
        """Raises `BadInput` if it is none, or a part of it is missing or torn."""
        if not (directory / "packed.json").is_file():
            raise BadInput(f"there is no packed shard in {directory}; make one with `cutaway tokenizer pack`")
        self.directory = directory
        self.tokens = read_shard(directory / TOKENS)
        self.rows, self.pieces, self.documents, self.spans = (
            read_shard(directory / name).view("<u8") for name in (ROWS, PIECES, DOCUMENTS, LEARNED)
        )
        if len(self.tokens) != int(self.rows[-1]) or len(self.pieces) != len(self.documents):
            raise BadInput(f"the parts of the packed shard {directory} do not belong together; make it again")

    def __len__(self) -> int:
        return len(self.rows) - 1

    def __getitem__(self, number: int) -> Row:
        """One row. Raises `IndexError` beyond the last."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        start, end = int(self.rows[number]), int(self.rows[number + 1])
        first, last = np.searchsorted(self.pieces, [start, end])
        learned = np.zeros(end - start, np.bool_)
        # Spans do not overlap, so their borders are in order.
        touching = np.searchsorted(self.spans, start, "right") // 2, -(-np.searchsorted(self.spans, end, "left") // 2)
        for a, b in self.spans[2 * touching[0] : 2 * touching[1]].reshape(-1, 2).tolist():
            learned[max(0, a - start) : b - start] = True
        return Row(
            self.tokens[start:end],
            learned,
            self.pieces[first:last].astype(np.int64) - start,
            self.documents[first:last].astype(np.int64),
        )

    def check(self) -> None:
        """See that every part is as it was written. Raises `BadInput`."""
        for name in (TOKENS, ROWS, PIECES, DOCUMENTS, LEARNED):
            check_shard(self.directory / name)
