"""`cutaway tokenizer merges`, `compare`, `unused` and `render`: looking into a vocabulary."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cutaway.cli.help import with_example
from cutaway.cli.options import Json
from cutaway.cli.plain import plain
from cutaway.cli.stdin import utf8_of
from cutaway.runs import BadInput

if TYPE_CHECKING:
    from cutaway.tokens import Tokenizer
    from cutaway.tokens.inspection import Compression, Passage, Step

MERGES = with_example(
    "cutaway tokenizer merges runs/demo beginning",
    """Replay the merges by which a word becomes tokens, one after another: which two neighbours are joined, and the
place of their merge among all that were learned. Spaces show as Ġ and line breaks as Ċ.""",
)
COMPARE = with_example(
    'cutaway tokenizer compare "Hello, world" runs/demo gpt2/vocab.bpe cl100k_base.tiktoken',
    """Show what several tokenizers make of a text, and how many bytes a token of each stands for. With --file, of a
corpus (text, JSONL, Parquet, a folder): by language and by domain too, where it has such columns. A tokenizer is a run,
a model directory, a tokenizer.json, a .tiktoken file, a merges file with its vocabulary beside it, or a .gguf file.""",
)
UNUSED = with_example(
    "cutaway tokenizer unused runs/demo novels/",
    """List the tokens that a corpus never uses. A model never learns what they mean, and may do anything on meeting
them (glitch tokens). Those that not even their own text becomes are marked.""",
)
RENDER = with_example(
    "cutaway tokenizer render runs/demo talk.json",
    """Show a conversation as the model reads it, special tokens and all, with what the assistant writes, and so learns,
underlined. The file holds a list of messages as OpenAI's API has them, or lines of {"messages": [...]}.""",
)
Where = Annotated[Path, typer.Argument(metavar="TOKENIZER", help="A run, a model directory, or a tokenizer's file.")]
COLOURS = ("on blue", "on magenta", "on dark_green", "on dark_orange3", "on deep_pink4")
SHOWN_ROWS = 12
DOMAIN = "domain"


def merges(
    where: Where,
    word: Annotated[str, typer.Argument(metavar="WORD", help="A word, or any text.")],
    as_json: Json = False,
) -> None:
    """Print the merges of a word."""
    from cutaway.tokens.formats import open_any
    from cutaway.tokens.inspection import Merges

    replays = Merges(open_any(where)).replay(word)
    if as_json:
        words = [
            {
                "word": each.word,
                "start": list(each.start),
                "steps": [step.__dict__ | {"symbols": list(step.symbols)} for step in each.steps],
                "whole": each.whole,
                "ids": list(each.ids),
            }
            for each in replays
        ]
        print(json.dumps({"words": words, "ids": [id_ for each in replays for id_ in each.ids]}, ensure_ascii=False))
        return
    console = Console(highlight=False)
    for each in replays:
        title = Text(plain(each.word), "bold")
        title.append(f"   {len(each.ids)} token{'s' * (len(each.ids) != 1)}: {_few(each.ids)}", "dim")
        console.print(title)
        console.print(Text("      ").append_text(_symbols(each.start)))
        if each.whole:
            console.print(Text("      taken whole: the word is a token, whatever the merges say", "dim"))
        for step in each.steps:
            console.print(_step(step), overflow="fold")
    n = sum(len(each.ids) for each in replays)
    console.print(Text(f"{len(word.encode()):,} bytes in {n:,} tokens", "dim"))


def _few(ids: Iterable[int], most: int = 12) -> str:
    all_ = list(ids)
    return " ".join(map(str, all_[:most])) + (" ..." if len(all_) > most else "")


def _step(step: Step) -> Text:
    line = Text(f"{step.rank:>5,}  "[-7:] if step.rank < 1e5 else f"{step.rank:,} ")
    line.stylize("dim")
    return line.append_text(_symbols(step.symbols, step.left + step.right))


def _symbols(symbols: Iterable[str], new: str = "") -> Text:
    text = Text()
    for i, symbol in enumerate(symbols):
        text.append(" " * (i > 0))
        text.append(plain(symbol) or symbol, "bold green" if symbol == new else "")
    return text


def compare(
    things: Annotated[
        list[str],
        typer.Argument(metavar="[TEXT] TOKENIZER...", help="The text (none with --file), then the tokenizers."),
    ],
    file: Annotated[
        Path | None, typer.Option("--file", metavar="PATH", help="A corpus to compare on, instead of a text.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what tokenizers make of a text or a corpus."""
    from cutaway.tokens.formats import open_any
    from cutaway.tokens.inspection import Passage, compression

    names = things if file else things[1:]
    if not names:
        raise BadInput(
            'name tokenizers to compare: cutaway tokenizer compare "some text" runs/demo cl100k_base.tiktoken'
        )
    if len(set(names)) < len(names):
        raise BadInput("a tokenizer is named twice; name each once")
    tokenizers = {name: open_any(Path(name)) for name in names}
    passages = passages_of(file) if file else [Passage(things[0])]
    found = compression(tokenizers, passages)
    if not any(each.n_bytes for each in found.values()):
        raise BadInput("there is no text to compare on")
    if as_json:
        print(json.dumps([_as_json(name, each) for name, each in found.items()], ensure_ascii=False))
        return
    console = Console(highlight=False)
    if not file:
        for name, tokenizer in tokenizers.items():
            console.print(Text(_short(name), "bold"))
            console.print(_coloured(tokenizer, things[0]))
            console.print()
    table = _table("tokenizer", "tokens in it", "tokens", "bytes a token")
    for name, each in found.items():
        size = f"{tokenizers[name].vocab_size:,}"
        table.add_row(_short(name), size, f"{each.n_tokens:,}", f"{each.bytes_per_token:.3f}")
    console.print(table)
    _print_groups(console, found)


def passages_of(path: Path) -> Iterator[Passage]:
    """The texts of a corpus; of Parquet with a column language, domain or url, with these as their groups."""
    from cutaway.corpus import read_documents
    from cutaway.corpus.documents import text_files
    from cutaway.tokens.inspection import Passage

    for file in (text_files(path) if path.is_dir() else []) or [path]:
        if file.suffix.lower() == ".parquet":
            yield from _rows(file)
        else:
            for document in read_documents(file):
                yield Passage(document.text)


def _rows(file: Path) -> Iterator[Passage]:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    from cutaway.tokens.inspection import Passage

    try:
        table = pq.ParquetFile(file)
        columns = [name for name in ("text", "language", DOMAIN, "url") if name in table.schema_arrow.names]
        if "text" not in columns:
            raise BadInput(f"{file} has no column text")
        for batch in table.iter_batches(1024, columns=columns):
            for row in cast("list[dict[str, Any]]", batch.to_pylist()):
                yield Passage(str(row["text"] or ""), tuple(_groups(row)))
    except (OSError, ArrowException) as error:
        raise BadInput(f"{file} cannot be read ({' '.join(str(error).split())})") from None


def _groups(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if row.get("language"):
        yield "language", str(row["language"])
    if row.get(DOMAIN):
        yield DOMAIN, str(row[DOMAIN])
    elif row.get("url"):
        yield DOMAIN, _host(str(row["url"]))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:  # not all that calls itself a URL is one
        return "?"


def _print_groups(console: Console, found: Mapping[str, Compression]) -> None:
    first = next(iter(found.values()))
    for kind in sorted({kind for kind, _ in first.groups}):
        largest = sorted(
            (name for of, name in first.groups if of == kind), key=lambda name: -first.groups[kind, name].n_bytes
        )
        table = _table(kind, "kB", *(f"{_short(name, 14)}" for name in found))
        for name in largest[:SHOWN_ROWS]:
            each = [compression.groups[kind, name].bytes_per_token for compression in found.values()]
            best = max(each)
            cells = [Text(f"{value:.3f}", "bold" if value == best else "") for value in each]
            table.add_row(plain(name)[:30], f"{first.groups[kind, name].n_bytes / 1000:,.0f}", *cells)
        console.print()
        console.print(Text(f"Bytes a token, by {kind}", "bold"))
        console.print(table)
        if len(largest) > SHOWN_ROWS:
            console.print(Text(f"and {len(largest) - SHOWN_ROWS:,} more, which --json has", "dim"))


def _as_json(name: str, found: Compression) -> dict[str, Any]:
    def figures(each: Compression) -> dict[str, Any]:
        return {"bytes": each.n_bytes, "tokens": each.n_tokens, "bytes_per_token": each.bytes_per_token}

    groups = [{"by": kind, "name": group, **figures(each)} for (kind, group), each in sorted(found.groups.items())]
    return {"tokenizer": name, **figures(found), "groups": groups}


def _coloured(tokenizer: Tokenizer, text: str) -> Text:
    """A text with its tokens in turning colours; a bar between them for those who see none."""
    shown = Text()
    for i, id_ in enumerate(tokenizer.encode(text)):
        shown.append("|" * (i > 0), "dim")
        shown.append(readable(tokenizer.token_bytes(id_)), COLOURS[i % len(COLOURS)])
    return shown


def readable(token: bytes) -> str:
    """A token's bytes for the terminal: a part of a character as its bytes, a line break as its sign."""
    try:
        text = token.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(f"<{byte:02X}>" for byte in token)
    return "".join(SIGNS.get(character) or plain(character, lines=True) for character in text)


SIGNS = {"\n": "⏎", "\t": "⇥", "\r": "␍"}


def _short(name: str, most: int = 34) -> str:
    named = plain(name)
    return named if len(named) <= most else "…" + named[1 - most :]


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left", overflow="fold")
    return table


def unused(
    where: Where,
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="Text, JSONL, Parquet, or a folder of them.")],
    most: Annotated[int, typer.Option("--most", min=1, help="Tokens to list.")] = 60,
    as_json: Json = False,
) -> None:
    """Print the tokens that a corpus never uses."""
    from cutaway.tokens.formats import open_any
    from cutaway.tokens.inspection import usage

    tokenizer = open_any(where)
    found = usage(tokenizer, (passage.text for passage in passages_of(corpus)))
    tokens = [{"id": id_, "bytes": list(tokenizer.token_bytes(id_))} for id_ in found.unused]
    if as_json:
        print(json.dumps({"tokens": int(found.counts.sum()), "unused": tokens, "unreachable": list(found.unreachable)}))
        return
    console = Console(highlight=False)
    total = len(tokenizer.backend.get_vocab(with_added_tokens=True))
    share = len(found.unused) / total
    console.print(
        f"{len(found.unused):,} of {total:,} tokens ({share:.1%}) never occur in {int(found.counts.sum()):,} tokens of "
        f"{plain(str(corpus))}."
    )
    if found.unreachable:
        console.print(f"{len(found.unreachable):,} of them (red) not even their own text becomes.")
    shown = Text()
    for id_ in found.unused[:most]:
        shown.append(f"{id_} ", "dim")
        shown.append(repr(readable(tokenizer.token_bytes(id_))), "red" if id_ in set(found.unreachable) else "")
        shown.append("   ")
    console.print(shown)
    if len(found.unused) > most:
        console.print(Text(f"and {len(found.unused) - most:,} more (--most)", "dim"))


def render(
    where: Where,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The conversation; else standard input.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a conversation as the model reads it."""
    from cutaway.tokens.formats import open_any

    tokenizer = open_any(where)
    console = Console(highlight=False)
    for messages in conversations_of(file):
        ids, learned = tokenizer.encode_chat_masked(messages)
        if as_json:
            print(json.dumps({"ids": ids, "learned": learned}))
            continue
        text, special = Text(), set(tokenizer.special.values())
        for id_, yes in zip(ids, learned, strict=True):
            token = tokenizer.token_bytes(id_).decode("utf-8", "replace")
            style = "cyan" if id_ in special else ""
            text.append(plain(token, lines=True), f"{style} underline" if yes else style)
        console.print(text)
        console.print(Text(f"{len(ids):,} tokens, {sum(learned):,} of them the assistant's (underlined)", "dim"))


def conversations_of(file: Path | None) -> Iterator[list[dict[str, Any]]]:
    """The conversations in a file or in standard input. Raises `BadInput` where it holds something else."""
    name = str(file or "standard input")
    try:
        text = file.read_text("utf-8") if file else utf8_of(sys.stdin).read()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{name} cannot be read ({error})") from None
    try:
        values: list[Any] = [json.loads(text)]
    except ValueError:
        try:
            values = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise BadInput(f"{name} is neither JSON nor JSON lines ({error})") from None
    for value in values:
        messages = cast("dict[str, Any]", value).get("messages") if isinstance(value, dict) else value
        if not isinstance(messages, list) or not all(
            isinstance(message, dict) and isinstance(cast("dict[str, Any]", message).get("role"), str)
            for message in cast("list[Any]", messages)
        ):
            raise BadInput(f'{name} should hold messages, as [{{"role": "user", "content": "Hi"}}]')
        yield cast("list[dict[str, Any]]", messages)
