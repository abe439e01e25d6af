"""Packing: every token in exactly one row, whatever the documents, and boundaries where documents begin."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.runs import BadInput
from cutaway.tokens.packing import TOKENS, PackedShard, Text, best_fit, write_packed

LENGTHS = st.lists(st.integers(0, 40), max_size=30)


@given(LENGTHS, st.integers(1, 16))
def test_no_token_is_lost_and_none_is_there_twice(lengths: list[int], row_length: int) -> None:
    rows = best_fit(lengths, row_length)
    seen = sorted((piece.document, at) for row in rows for piece in row for at in range(piece.start, piece.end))
    assert seen == [(document, at) for document, length in enumerate(lengths) for at in range(length)]
    assert all(0 < sum(piece.end - piece.start for piece in row) <= row_length for row in rows)
    # Only what is longer than a row is cut.
    assert sum(map(len, rows)) == sum(-(-length // row_length) for length in lengths)
    # No two rows would fit into one: else the second would not have been begun.
    sizes = sorted(sum(piece.end - piece.start for piece in row) for row in rows)
    assert len(sizes) < 2 or sizes[0] + sizes[1] > row_length


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_is_read_is_what_was_written(data: st.DataObject) -> None:
    lengths, row_length = data.draw(LENGTHS), data.draw(st.integers(1, 16))
    window = data.draw(st.integers(1, 8))
    texts: list[Text] = []
    for document, length in enumerate(lengths):
        marks = data.draw(st.none() | st.lists(st.booleans(), min_size=length, max_size=length))
        texts.append(Text([document * 100 + i for i in range(length)], marks))
    with tempfile.TemporaryDirectory() as place:
        counts = write_packed(Path(place) / "p", texts, row_length, vocab_size=70_000, window=window)
        packed = PackedShard(Path(place) / "p")
        packed.check()
        again: dict[int, list[tuple[int, bool]]] = {document: [] for document in range(len(lengths))}
        for number in range(len(packed)):
            row = packed[number]
            ends = [*row.starts[1:].tolist(), len(row.tokens)]
            for document, start, end in zip(row.documents.tolist(), row.starts.tolist(), ends, strict=True):
                tokens, learned = row.tokens[start:end].tolist(), row.learned[start:end].tolist()
                again[document] += zip(tokens, learned, strict=True)
        for document, text in enumerate(texts):
            marks = text.learned if text.learned is not None else [True] * len(text.ids)
            assert sorted(again[document]) == sorted(zip(list(text.ids), marks, strict=True))
    assert (counts["documents"], counts["tokens"], counts["rows"]) == (len(texts), sum(lengths), len(packed))


def test_damage_and_strangers_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no packed shard"):
        PackedShard(tmp_path)
    with pytest.raises(BadInput, match="marks"):
        write_packed(tmp_path / "p", [Text([1, 2], [True])], 4, vocab_size=9)
    write_packed(tmp_path / "p", [Text(np.arange(9))], 4, vocab_size=9)
    file = tmp_path / "p" / TOKENS
    file.write_bytes(b"\1" + file.read_bytes()[1:])
    with pytest.raises(BadInput, match="damaged"):
        PackedShard(tmp_path / "p").check()
