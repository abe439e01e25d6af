"""Examples to fine-tune on, read from people's own files: texts, conversations, pairs of texts, labelled texts."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from cutaway.corpus.documents import read_documents
from cutaway.runs.errors import BadInput

Kind = Literal["text", "chat", "pairs", "labels"]
LONGEST_FIELD = 1 << 28
"""Characters of one field of a table."""
ROLES = {"human": "user", "gpt": "assistant", "model": "assistant"}
"""What ShareGPT's files call them."""


@dataclass(frozen=True)
class Examples:
    """Examples of one kind.

    `text`: strings. `chat`: lists of messages with `role` and `content`. `pairs`: (source, target). `labels`: (text,
    label).
    """

    kind: Kind
    items: tuple[Any, ...]


def read_examples(paths: Sequence[Path], kind: Kind | None = None) -> Examples:
    """All examples of some files, of the `kind` given or else of the one that their keys speak of.

    `.txt`, `.md` and folders are texts. `.jsonl`, `.json` (a list), `.csv`, `.tsv` and `.parquet` have rows with one
    of: `messages` or `conversations`; `instruction`, perhaps `input`, and `output`; `prompt` and `response` (or
    `completion`); `question` and `answer`; `source` and `target`; `text` and `label`; `text`. A `.tsv` file without
    such names in its first line holds pairs.

    Raises:
        BadInput: a file is absent, of another kind, or damaged; a row has none of these; or rows are of several kinds.
    """
    kinds: dict[Kind, str] = {}
    items: list[Any] = []
    for path in paths:
        for where, found, item in _examples_of(path, kind):
            items.append(item)
            kinds.setdefault(found, where)
    if not items:
        raise BadInput(f"{', '.join(map(str, paths)) or 'no file'} holds no examples to learn from")
    if len(kinds) > 1:
        told = " and ".join(f"{found} ({where})" for found, where in kinds.items())
        raise BadInput(f"the examples are of several kinds, {told}; give files of one kind")
    return Examples(next(iter(kinds)), tuple(items))


def _examples_of(path: Path, kind: Kind | None) -> Iterator[tuple[str, Kind, Any]]:
    if path.is_dir() or path.suffix.lower() in (".txt", ".md"):
        for document in read_documents(path):
            yield str(path), "text", document.text
        return
    if not path.exists():
        raise BadInput(f"there is no file or folder {path}")
    readers: dict[str, Callable[[Path], Iterator[tuple[str, Any]]]] = {
        ".jsonl": _json_lines,
        ".json": _json_list,
        ".csv": _csv,
        ".tsv": _tsv,
        ".parquet": _parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadInput(f"{path} cannot be read; give .txt, .md, {', '.join(readers)} or a folder of texts")
    try:
        for where, row in reader(path):
            if not isinstance(row, dict):
                raise BadInput(f"{where} is no object with keys, such as text, or prompt and response")
            yield where, *_read(where, cast("dict[str, Any]", row), kind)
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 (byte offset {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from None


def _read(where: str, row: Mapping[str, Any], kind: Kind | None) -> tuple[Kind, Any]:
    """A row's kind, and what it holds."""
    for of, keys, make in SHAPES:
        if kind in (None, of) and all(row.get(key) not in (None, "") for key in keys):
            try:
                return of, make(row)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise BadInput(f"{where} has {' and '.join(keys)}, but not as they should be ({error!r})") from None
    for of, keys, _ in SHAPES:
        if kind in (None, of) and set(keys) <= set(row):
            empty = next(key for key in keys if row[key] in (None, ""))
            raise BadInput(f"{where} has an empty {empty}; fill it, or leave the row out")
    wanted = f" for {kind}" if kind else ""
    known = "; ".join(" and ".join(keys) for of, keys, _ in SHAPES if kind in (None, of))
    raise BadInput(f"{where} has the keys {', '.join(map(str, row)) or 'none'}; needed{wanted} is one of: {known}")


def _messages(turns: Any) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    for turn in turns:
        role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
        if not isinstance(role, str) or not isinstance(content, str):
            raise ValueError("a message needs a role and a content")
        messages.append({"role": ROLES.get(role, role), "content": _text(content)})
    if not any(message["role"] == "assistant" for message in messages):
        raise ValueError("no message is the assistant's")
    return messages


def _asked(question: Any, answer: Any) -> list[dict[str, str]]:
    return [{"role": "user", "content": _text(question)}, {"role": "assistant", "content": _text(answer)}]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    # Halves of surrogate pairs, which JSON can smuggle in, are no text either.
    return value.encode("utf-8", "ignore").decode()


def _instructed(row: Mapping[str, Any]) -> list[dict[str, str]]:
    given = row.get("input")
    return _asked(_text(row["instruction"]) + (f"\n\n{_text(given)}" if given else ""), row["output"])


SHAPES: tuple[tuple[Kind, tuple[str, ...], Callable[[Mapping[str, Any]], Any]], ...] = (
    ("chat", ("messages",), lambda row: _messages(row["messages"])),
    ("chat", ("conversations",), lambda row: _messages(row["conversations"])),
    ("chat", ("instruction", "output"), _instructed),
    ("chat", ("prompt", "response"), lambda row: _asked(row["prompt"], row["response"])),
    ("chat", ("prompt", "completion"), lambda row: _asked(row["prompt"], row["completion"])),
    ("chat", ("question", "answer"), lambda row: _asked(row["question"], row["answer"])),
    ("pairs", ("source", "target"), lambda row: (_text(row["source"]), _text(row["target"]))),
    ("labels", ("text", "label"), lambda row: (_text(row["text"]), str(row["label"]))),
    ("text", ("text",), lambda row: _text(row["text"])),
)
"""The keys that a row may have, the most telling first, and what is made of it."""


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield f"{path} line {number}", json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise BadInput(f"{path} line {number} is not JSON ({error})") from None


def _json_list(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        rows = json.loads(path.read_text("utf-8-sig"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON ({error})") from None
    if not isinstance(rows, list):
        raise BadInput(f"{path} must hold a list of objects; one object a line goes into a .jsonl file")
    yield from ((f"{path} entry {number}", row) for number, row in enumerate(cast("list[Any]", rows), 1))


def _csv(path: Path) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from ((f"{path} row {number}", row) for number, row in enumerate(csv.DictReader(file), 1))
    except csv.Error as error:
        raise BadInput(f"{path} is not CSV ({error})") from None


def _tsv(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        names: list[str] | None = None
        for number, line in enumerate(file, 1):
            columns = line.rstrip("\r\n").split("\t")
            if number == 1:
                named = any(set(keys) <= set(columns) for _, keys, _ in SHAPES)
                names = columns if named else ["source", "target"]
                if named:
                    continue
            if line.strip():
                yield f"{path} line {number}", dict(zip(names or [], columns, strict=False))


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            number = 0
            for batch in table.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", row
    except pa.ArrowInvalid as error:
        raise BadInput(f"{path} is not a readable Parquet file ({str(error).splitlines()[0]})") from None
