"""The corpus stage: real text in, clean train and held-out documents and the generated world out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from cutaway.corpus.built_in import NAMES, built_in_documents
from cutaway.corpus.deduplicate import paragraphs, remove_exact, remove_near
from cutaway.corpus.documents import Document, read_documents
from cutaway.corpus.split import check_no_leaks, hold_out, remove_leaks
from cutaway.corpus.tellings import tellings
from cutaway.corpus.world import World
from cutaway.runs import atomic
from cutaway.runs.errors import BadInput
from cutaway.runs.progress import Progress
from cutaway.runs.recipe import Settings

SMALLEST = 1_000
"""Bytes of real text that must be left after removing duplicates; nothing can be learned from less."""

_COLUMNS = ("id", "source", "text")


class WorldSettings(Settings):
    """The generated world of invented people and places."""

    people: int = Field(default=200, ge=0, le=1000)
    """How many people; 0 leaves the world out."""
    places: int = Field(default=40, ge=1, le=300)
    """How many places."""
    tellings_per_entity: int = Field(default=54, ge=1)
    """How many texts tell of each person and place."""


class CorpusSettings(Settings):
    """What the model reads."""

    text: list[str] = Field(default=[])
    """Your own files or folders (.txt, .md, .jsonl, .parquet)."""
    built_in: bool | list[str] = True
    """The texts that come with the package: true for all, false for none, or some of bbe, kjv, pydoc."""
    heldout_fraction: float = Field(default=0.04, gt=0, lt=1)
    """Share of the bytes of each source that is never trained on."""
    near_duplicate_threshold: float = Field(default=0.8, ge=0.5, le=1)
    """Jaccard similarity of 5-word shingles from which on two paragraphs count as the same."""
    world: WorldSettings = WorldSettings()


def build_corpus(settings: CorpusSettings, seed: int, directory: str | Path, progress: Progress) -> dict[str, Any]:
    """Read, deduplicate, split and check; write `directory` in one atomic step and return the statistics.

    The directory holds train.parquet and heldout.parquet (columns id, source, text; one document a row), world.json
    (`World.to_json`; absent without a world) and stats.json. Held-out documents are real text only. The same settings,
    seed and texts give the same documents.

    Raises:
        BadInput: text that cannot be read, or too little of it.
    """
    steps: list[dict[str, Any]] = []
    with progress.task("corpus", total=5, unit="steps") as task:
        documents = _read(settings)
        steps.append({"step": "read", "sources": corpus_sizes(documents)})
        task.update(1)

        documents, exact = remove_exact(documents)
        documents, near = remove_near(documents, settings.near_duplicate_threshold)
        steps.append({"step": "duplicates removed", "sources": corpus_sizes(documents)})
        left = sum(len(document.text.encode()) for document in documents)
        if left < SMALLEST:
            raise BadInput(
                f"after removing duplicates only {left} bytes of text remain of {_bytes(steps[0]['sources'])}:"
                f" give at least {SMALLEST} bytes of text that does not repeat itself"
            )
        task.update(2)

        training, heldout = hold_out(documents, settings.heldout_fraction, seed)
        steps.append({"step": "held out", "sources": corpus_sizes(heldout)})
        training, leaks = remove_leaks(training, heldout)
        steps.append({"step": "overlap with held-out removed", "sources": corpus_sizes(training)})
        task.update(3)

        world = None
        if settings.world.people:
            world = World.generate(seed, settings.world.people, settings.world.places)
            told = tellings(world, seed, settings.world.tellings_per_entity)
            training += [Document(f"world/{number}", text, "world") for number, text in enumerate(told)]
        check_no_leaks(training, heldout)
        task.update(4)

        stats: dict[str, Any] = {
            "seed": seed,
            "settings": settings.model_dump(mode="json"),
            "train": corpus_sizes(training),
            "heldout": corpus_sizes(heldout),
            "steps": steps,
            "removed": {
                "exact duplicates": asdict(exact),
                "near duplicates": asdict(near),
                "overlap with held-out": asdict(leaks),
            },
        }
        with atomic.directory(directory) as place:
            _write(place / "train.parquet", training)
            _write(place / "heldout.parquet", heldout)
            if world:
                atomic.write_text(place / "world.json", world.to_json())
            atomic.write_json(place / "stats.json", stats)
        task.update(5)
    removed = exact.paragraphs + near.paragraphs
    progress.say(
        f"corpus: {_bytes(stats['train']):,} bytes to train on, {_bytes(stats['heldout']):,} held out; removed"
        f" {removed:,} repeated paragraphs and {leaks.paragraphs:,} that overlap with what is held out"
    )
    return stats


def read_texts(path: str | Path) -> list[Document]:
    """The documents of a train.parquet or heldout.parquet, in order; see `stream_texts`."""
    return list(stream_texts(path))


def stream_texts(path: str | Path) -> Iterator[Document]:
    """The documents of a train.parquet or heldout.parquet, in order, some hundred of them in memory at a time.

    Raises:
        BadInput: while iterating: there is no such file, or it is another kind of file.
    """
    import pyarrow as pa  # here and below, because whoever only names a setting should not wait for it
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            missing = [name for name in _COLUMNS if name not in table.schema_arrow.names]
            if missing:
                raise BadInput(f"{path} is no corpus (it lacks {', '.join(missing)}): build the corpus again")
            names = [*_COLUMNS, *(["url"] if "url" in table.schema_arrow.names else [])]
            for batch in table.iter_batches(batch_size=256, columns=names):
                for row in batch.to_pylist():
                    yield Document(**row)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{path} cannot be read as a corpus ({reason}): build the corpus again") from None


def corpus_sizes(documents: Iterable[Document]) -> dict[str, dict[str, int]]:
    """By source: number of documents, of paragraphs, and UTF-8 bytes of text."""
    found: dict[str, dict[str, int]] = {}
    for document in documents:
        entry = found.setdefault(document.source, {"documents": 0, "paragraphs": 0, "bytes": 0})
        entry["documents"] += 1
        entry["paragraphs"] += len(paragraphs(document.text))
        entry["bytes"] += len(document.text.encode())
    return found


def _read(settings: CorpusSettings) -> list[Document]:
    names = NAMES if settings.built_in is True else settings.built_in or ()
    own: list[Document] = []  # read first, so that what is wrong with it is said at once
    for number, path in enumerate(settings.text):
        own += read_documents(path, "user" if len(settings.text) == 1 else f"user{number + 1}")
    documents = [*built_in_documents(names), *own]
    if not documents:
        raise BadInput("the corpus has no text: give files with --text, or leave corpus.built_in on")
    return documents


def _bytes(sizes: dict[str, dict[str, int]]) -> int:
    return sum(entry["bytes"] for entry in sizes.values())


def _write(path: Path, documents: Sequence[Document]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [getattr(document, name) for document in documents] for name in _COLUMNS}
    table = pa.table(columns, pa.schema([(name, pa.string()) for name in _COLUMNS]))
    pq.write_table(table, path, compression="zstd", row_group_size=4096)
