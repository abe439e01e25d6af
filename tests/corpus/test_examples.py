"""Reading people's own examples."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cutaway.corpus.examples import read_examples
from cutaway.runs import BadInput

ASKED = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]
ROWS = {
    "messages": ({"messages": ASKED}, "chat", ASKED),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}]},
        "chat",
        ASKED,
    ),
    "alpaca": ({"instruction": "a?", "input": "", "output": "b"}, "chat", ASKED),
    "dolly": ({"prompt": "a?", "response": "b"}, "chat", ASKED),
    "completion": ({"prompt": "a?", "completion": "b"}, "chat", ASKED),
    "gsm8k": ({"question": "a?", "answer": "b"}, "chat", ASKED),
    "pairs": ({"source": "a", "target": "b"}, "pairs", ("a", "b")),
    "labels": ({"text": "a", "label": 1}, "labels", ("a", "1")),
    "text": ({"text": "a", "id": 7}, "text", "a"),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet", "csv"])
def test_each_shape_of_row_in_each_kind_of_file(tmp_path: Path, name: str, suffix: str) -> None:
    row, kind, item = ROWS[name]
    path = tmp_path / f"it.{suffix}"
    if suffix == "csv":
        if any(isinstance(value, list) for value in row.values()):
            pytest.skip("no lists in CSV")
        path.write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    elif suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    else:
        path.write_text(json.dumps(row if suffix == "jsonl" else [row]))
    found = read_examples([path])
    assert (found.kind, found.items) == (kind, (item,))


def test_an_input_follows_its_instruction(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    path.write_text(json.dumps({"instruction": "Sort.", "input": "2 1", "output": "1 2"}))
    assert read_examples([path]).items[0][0]["content"] == "Sort.\n\n2 1"


def test_tables_with_tabs_are_pairs_unless_their_first_line_says_otherwise(tmp_path: Path) -> None:
    bare, named = tmp_path / "bare.tsv", tmp_path / "named.tsv"
    bare.write_text("Go.\tVa !\tCC-BY\nRun!\tCours !\n")
    named.write_text("label\ttext\nspam\tbuy\n")
    assert read_examples([bare]).items == (("Go.", "Va !"), ("Run!", "Cours !"))
    assert read_examples([named]).items == (("buy", "spam"),)


def test_the_kind_given_decides(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n\n{"text": "b", "label": "y"}\n')
    assert read_examples([path], "text").items == ("a", "b")
    assert read_examples([path]).kind == "labels"
    with pytest.raises(
        BadInput, match=r"line 1 has the keys text, label; needed for pairs is one of: source and target"
    ):
        read_examples([path], "pairs")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": ', r"a\.jsonl line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is no object"),
        ("a.jsonl", '{"prompt": "a", "response": 3}', "line 1 has prompt and response, but not as they should be"),
        ("a.jsonl", '{"messages": [{"role": "user", "content": "a"}]}', "no message is the assistant's"),
        ("a.jsonl", '{"prompt": "a", "response": ""}', "line 1 has an empty response"),
        ("a.jsonl", "", "holds no examples"),
        ("a.jsonl", '{"text": "a"}\n{"source": "a", "target": "b"}', "several kinds, text .* and pairs"),
        ("a.json", "{}", "must hold a list"),
        ("a.docx", "x", r"cannot be read; give \.txt"),
        ("a.parquet", "x", "is not a readable Parquet file"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(BadInput, match=message) as caught:
        read_examples([path])
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf8_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "é"}'.encode("latin-1"))
    with pytest.raises(BadInput, match="not UTF-8"):
        read_examples([path])
    with pytest.raises(BadInput, match="there is no file"):
        read_examples([tmp_path / "none.jsonl"])
