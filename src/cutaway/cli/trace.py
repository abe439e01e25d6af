"""`cutaway corpus index`, `count`, `next` and `trace`: where a corpus says something, and what it says after it."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from cutaway.cli.help import with_example
from cutaway.cli.options import Json
from cutaway.cli.plain import plain
from cutaway.cli.progress import TerminalProgress
from cutaway.cli.stdin import utf8_of
from cutaway.runs import BadInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cutaway.corpus.spans import Span
    from cutaway.corpus.suffix_array import Index
    from cutaway.tokens import Tokenizer

INDEX = with_example(
    "cutaway corpus index runs/demo",
    """Index the tokens of a run's training text, or of files with --tokenizer, so that count, next and trace can look
anything up in milliseconds. Killed, the same command carries on after the last finished part.""",
)
COUNT = with_example('cutaway corpus count runs/demo "the old man"', "Count how often a text is in a corpus.")
NEXT = with_example(
    'cutaway corpus next runs/demo "Once upon a"',
    """Show what follows a text in a corpus: the ∞-gram's distribution, after the longest end of the text that
occurs.""",
)
TRACE = with_example(
    'cutaway corpus trace runs/demo "It was the best of times"',
    """Show which stretches of a text are in a corpus, how often, and in which documents; the longest first.""",
)
STYLES = ("bold cyan", "bold green", "bold yellow", "bold magenta", "bold blue", "bold red")
WIDTH = 80

Where = Annotated[
    Path,
    typer.Argument(metavar="INDEX", help="A directory that `cutaway corpus index` made, or a run that has one."),
]
Given = Annotated[str, typer.Argument(metavar="TEXT", help="The text; - reads it from a pipe.")]


def index(
    things: Annotated[list[Path], typer.Argument(metavar="RUN|FILE...", help="A run, or text files and folders.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to.", show_default="RUN/index")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="TOKENIZER", help="A tokenizer, for files and for a run without one: a run, directory or file."
        ),
    ] = None,
    part_tokens: Annotated[
        int, typer.Option(metavar="N", help="Tokens sorted at once; about 23 to 45 bytes of memory each.")
    ] = 1 << 25,
) -> None:
    """Make an index."""
    from cutaway.corpus.suffix_array import Index, write_index
    from cutaway.tokens.formats import open_any

    run = things[0] if len(things) == 1 and (things[0] / "recipe.toml").is_file() else None
    missing = next((thing for thing in things if not thing.exists()), None)
    if missing:
        raise BadInput(f"{missing} does not exist: give a run, or text files and folders")
    if run is None and (tokenizer is None or out is None):
        raise BadInput("files need --tokenizer TOKENIZER and --out DIR; or name a run, such as runs/demo")
    if run and tokenizer is None and not (run / "tokenizer" / "tokenizer.json").is_file():
        raise BadInput(f"{run} has no tokenizer of its own; name one with --tokenizer, such as runs/demo")
    files = sorted((run / "corpus").glob("train*.parquet")) if run else things
    if not files:
        if (things[0] / "corpus" / "stats.json").is_file():
            raise BadInput(f"the corpus of {run} holds no document; cutaway corpus stats {run} says why")
        raise BadInput(f"{run} has no corpus yet; make it: cutaway corpus build {run}")
    target = out or things[0] / "index"
    words = open_any(tokenizer or things[0])
    with TerminalProgress() as progress:
        passages = _of_corpus(files) if run else _of_files(files)
        write_index(target, _encoded(passages, words), words.vocab_size, part_tokens=part_tokens, progress=progress)
    words.save(target)
    made = Index(target)
    print(
        f"{target}: {_counted(made.n_documents, 'document')}, {_counted(made.n_tokens, 'token')}, "
        f"{_counted(len(made.parts), 'part')}"
    )


def _of_corpus(files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Name and text of each document of a run's corpus: a page's name is its URL, where it has one."""
    from cutaway.corpus.build import stream_texts

    for file in files:
        for document in stream_texts(file):
            yield document.url or document.id, document.text


def _of_files(files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    from cutaway.corpus.documents import read_documents

    for file in files:
        for document in read_documents(file, file.name if file.is_dir() else file.resolve().parent.name):
            yield document.id, document.text


def _encoded(passages: Iterator[tuple[str, str]], tokenizer: Tokenizer) -> Iterator[tuple[str, NDArray[Any]]]:
    names: deque[str] = deque()  # of the texts that the encoder has taken and not yet given back

    def texts() -> Iterator[str]:
        for name, text in passages:
            names.append(name)
            yield text

    for ids in tokenizer.encode_stream(texts()):
        yield names.popleft(), ids


def open_index(path: Path) -> tuple[Index, Tokenizer]:
    """An index, or that of a run, and its tokenizer. Raises `BadInput`."""
    from cutaway.corpus.suffix_array import Index
    from cutaway.tokens.formats import open_any

    if (path / "recipe.toml").is_file():
        path = path / "index"
        if not path.exists():
            raise BadInput(f"{path.parent} has no index yet; make one: cutaway corpus index {path.parent}")
    found = Index(path)
    return found, open_any(path)


def count(where: Where, text: Given, as_json: Json = False) -> None:
    """Print how often a text occurs."""
    found, tokenizer = open_index(where)
    ids = _some(tokenizer.encode(_given(text)))
    times = int(found.counts([ids])[0])
    if as_json:
        print(json.dumps({"tokens": ids, "count": times}))
        return
    print(f"{_times(times)}, as {_counted(len(ids), 'token')}, in {found.n_tokens:,}")


def following(
    where: Where,
    text: Given,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Print the ∞-gram's distribution."""
    found, tokenizer = open_index(where)
    ids = tokenizer.encode(_given(text))
    length = found.longest_suffix(ids)
    counts, ended = found.following(ids[len(ids) - length :])
    total = max(1, int(counts.sum()) + ended)
    best = [int(token) for token in counts.argsort(kind="stable")[::-1][:top] if counts[token]]
    if as_json:
        rows = [{"id": i, "text": tokenizer.decode([i]), "count": int(counts[i])} for i in best]
        print(json.dumps({"suffix": length, "count": total, "document_ends": ended, "next": rows}, ensure_ascii=False))
        return
    suffix = tokenizer.decode(ids[len(ids) - length :])
    print(f"after {plain(suffix)!r} ({length} of {len(ids)} tokens), which occurs {_times(total)}")
    for token in best:
        print(f"{counts[token] / total:>7.1%}  {int(counts[token]):>9,}  {tokenizer.decode([token])!r}")
    if ended:
        print(f"{ended / total:>7.1%}  {ended:>9,}  the document's end")


def trace(
    where: Where,
    text: Given,
    shortest: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens of a span at least.")] = 4,
    most: Annotated[int, typer.Option(metavar="N", min=1, help="Spans to show at most.")] = 10,
    as_json: Json = False,
) -> None:
    """Print a text's spans and their documents."""
    from cutaway.corpus.spans import MOST_TOKENS
    from cutaway.corpus.spans import trace as spans_of

    found, tokenizer = open_index(where)
    ids = _some(tokenizer.encode(_given(text)))
    if len(ids) > MOST_TOKENS:
        raise BadInput(f"the text has {len(ids):,} tokens; trace at most {MOST_TOKENS:,} at once")
    spans = spans_of(found, ids, shortest=shortest, most=most)
    if as_json:
        rows = [asdict(span) | {"text": tokenizer.decode(ids[span.start : span.end])} for span in spans]
        print(json.dumps({"tokens": len(ids), "spans": rows}, ensure_ascii=False))
        return
    _show(spans, ids, tokenizer)


def _show(spans: Sequence[Span], ids: Sequence[int], tokenizer: Tokenizer) -> None:
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH)
    number = {span: i for i, span in enumerate(spans, 1)}
    shown, at = Text(), 0
    for span in sorted(spans, key=lambda span: span.start):
        shown.append(_line(tokenizer, ids[at : span.start]))
        piece = f"[{number[span]}:{_line(tokenizer, ids[span.start : span.end])}]"
        shown.append(piece, f"{STYLES[(number[span] - 1) % len(STYLES)]} underline")
        at = span.end
    shown.append(_line(tokenizer, ids[at:]))
    console.print(shown)
    covered = sum(span.end - span.start for span in spans)
    spread = _counted(len(spans), "span")
    console.print(f"\n{covered} of {len(ids)} tokens stand in the corpus in {spread}", markup=False)
    for span, i in number.items():
        style = STYLES[(i - 1) % len(STYLES)]
        console.print(Text(f"\n[{i}] {span.end - span.start} tokens, {_times(span.count)}", style))
        inside = _line(tokenizer, ids[span.start : span.end])
        for place in span.places:
            console.print(Text(f"    {plain(place.document)}, token {place.start:,}", "dim"))
            before, after = _line(tokenizer, place.before), _line(tokenizer, place.after)
            line = Text.assemble("      …", before, (inside, f"{style} underline"), after, "…")
            console.print(line)


def _line(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Tokens as a piece of one line; the spaces at its ends stay, for other pieces stand beside it."""
    return plain(tokenizer.decode(ids).replace("\n", " ").replace("\t", " "), lines=True)


def _given(text: str) -> str:
    return utf8_of(sys.stdin).read().removesuffix("\n") if text == "-" else text


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _some(ids: list[int]) -> list[int]:
    if not ids:
        raise BadInput("the text is empty: give one to look up")
    return ids
