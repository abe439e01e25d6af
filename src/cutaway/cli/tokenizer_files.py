"""`cutaway tokenizer learn`, `convert`, `pack` and `check`: tokenizers and shards as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from cutaway.cli.help import with_example
from cutaway.cli.options import Json
from cutaway.cli.tokenizer_views import conversations_of, passages_of
from cutaway.runs import BadInput

if TYPE_CHECKING:
    from cutaway.tokens import Tokenizer
    from cutaway.tokens.packing import Text

LEARN = with_example(
    "cutaway tokenizer learn novels/ --out words --vocab-size 32768 --split gpt2",
    """Learn a vocabulary from text files, apart from any run. The files stream, so that memory holds their different
words and no more; the same files give the same vocabulary to the byte.""",
)
CONVERT = with_example(
    "cutaway tokenizer convert runs/demo demo.tiktoken",
    """Write a tokenizer in another format: tokenizer.json (a name that ends in .json, or a directory), tiktoken's ranks
(.tiktoken), GGUF (.gguf, as llama.cpp reads vocabularies), or GPT-2's vocab.json and merges.txt (--to gpt2). It is
written only where the format can say what the tokenizer does, so that ids stay what they are.""",
)
PACK = with_example(
    "cutaway tokenizer pack runs/demo novels/ --out packed --row-length 1024",
    """Encode text, or with --conversations files of messages, and pack it into rows: best fit, so that few documents
are cut and every token is in one row. What is written is memory-mapped and checksummed.""",
)
CHECK = with_example(
    "cutaway tokenizer check packed",
    "See that a shard, or a packed directory, holds the very tokens that were written into it.",
)
Kind = Literal["bpe", "characters", "bytes", "words"]
SplitChoice = Annotated[
    str | None,
    typer.Option("--split", metavar="NAME", help="How text is cut: cutaway, gpt2, cl100k or o200k."),
]
Where = Annotated[Path, typer.Argument(metavar="TOKENIZER", help="A run, a model directory, or a tokenizer's file.")]


def learn(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Text, JSONL, Parquet, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIRECTORY", help="Where to write the tokenizer.")],
    vocab_size: Annotated[int, typer.Option("--vocab-size", help="Tokens, special ones included.")] = 4096,
    split: SplitChoice = None,
    digits: Annotated[
        int | None,
        typer.Option("--digits", help="Digits that may be one token; 0: any.", show_default="the pattern's own"),
    ] = None,
    special: Annotated[
        list[str] | None, typer.Option("--special", metavar="NAME", help="A special token of your own. Repeatable.")
    ] = None,
    kind: Annotated[str, typer.Option("--kind", help="bpe; or for teaching: characters, bytes or words.")] = "bpe",
    as_json: Json = False,
) -> None:
    """Learn a vocabulary and say where it is."""
    from cutaway.runs.recipe import load_recipe, quoted
    from cutaway.tokens import TokenizerSettings, character_tokenizer, train_tokenizer
    from cutaway.tokens.plain_kinds import byte_tokenizer, word_tokenizer
    from cutaway.tokens.train import LEAST_TOKENS, MOST_TOKENS

    if kind not in get_args(Kind):
        raise BadInput(f"there is no --kind {kind}; choose among {', '.join(get_args(Kind))}")
    if kind == "bpe" and not LEAST_TOKENS <= vocab_size <= MOST_TOKENS:
        raise BadInput(f"--vocab-size is {vocab_size:,}; choose {LEAST_TOKENS:,} to {MOST_TOKENS:,}")
    texts = (passage.text for path in paths for passage in passages_of(path))
    if kind == "bpe":
        chosen = [f"vocab_size={vocab_size}", f"special={quoted(special or [])}"]
        chosen += ([f"split={quoted(split)}"] if split else []) + [f"digits={digits}"] * (digits is not None)
        tokenizer = train_tokenizer(load_recipe(None, chosen, TokenizerSettings), texts, out)
    elif kind == "characters":
        tokenizer = character_tokenizer("".join(sorted({character for text in texts for character in text})), out)
    elif kind == "bytes":
        tokenizer = byte_tokenizer(out)
    else:
        tokenizer = word_tokenizer(texts, vocab_size, out)
    told = {"path": str(out), "tokens": tokenizer.vocab_size}
    fewer = kind in ("bpe", "words") and tokenizer.vocab_size < vocab_size
    why = f"\nof {vocab_size:,} that were asked for: the text holds no more to learn" * fewer
    print(json.dumps(told) if as_json else f"{tokenizer.vocab_size:,} tokens are in {out}{why}")


def convert(
    where: Where,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write it.")],
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="FORMAT", help="json, tiktoken, gpt2 or gguf.", show_default="as OUT's suffix says"
        ),
    ] = None,
    split: SplitChoice = None,
    as_json: Json = False,
) -> None:
    """Write a tokenizer in another format."""
    from cutaway.tokens.formats import Format, open_any, write_as
    from cutaway.tokens.splits import SplitName

    formats = {name: name for name in get_args(Format)}
    splits = {name: name for name in get_args(SplitName)}
    if (to and to not in formats) or (split and split not in splits):
        raise BadInput(f"--to is one of {', '.join(formats)}, and --split one of {', '.join(splits)}")
    files = write_as(open_any(where, splits[split] if split else None), out, formats[to] if to else None)
    print(json.dumps([str(file) for file in files]) if as_json else "\n".join(f"wrote {file}" for file in files))


def pack(
    where: Where,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Text, JSONL, Parquet, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIRECTORY", help="Where to write the rows.")],
    row_length: Annotated[int, typer.Option("--row-length", min=1, help="Tokens of a row.")] = 1024,
    conversations: Annotated[
        bool, typer.Option("--conversations", help="The files hold messages; only the assistant's are to be learned.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Encode and pack texts."""
    from cutaway.tokens.formats import open_any
    from cutaway.tokens.packing import write_packed

    if out.exists() and not (out / "packed.json").exists() and any(out.iterdir()):
        raise BadInput(f"{out} holds something else; give another --out")
    tokenizer = open_any(where)
    size = max(tokenizer.backend.get_vocab(with_added_tokens=True).values()) + 1
    texts = _talks(tokenizer, paths) if conversations else _documents(tokenizer, paths)
    told = write_packed(out, texts, row_length, vocab_size=size)
    filled = told["tokens"] / max(1, told["rows"] * row_length)
    if as_json:
        print(json.dumps(told | {"filled": filled}))
        return
    print(
        f"{told['documents']:,} documents, {told['tokens']:,} tokens, in {told['rows']:,} rows of {row_length:,}\n"
        f"{filled:.1%} of their room is filled; {told['cut']:,} documents are in more than one row\n"
        f"they are in {out}"
    )


def _documents(tokenizer: Tokenizer, paths: list[Path]) -> Iterator[Text]:
    import numpy as np

    from cutaway.tokens.packing import Text

    first = np.array([tokenizer.end_of_text], np.uint32)
    for ids in tokenizer.encode_stream(passage.text for path in paths for passage in passages_of(path)):
        yield Text(np.concatenate([first, ids]))


def _talks(tokenizer: Tokenizer, paths: list[Path]) -> Iterator[Text]:
    from cutaway.tokens.packing import Text

    for path in paths:
        for messages in conversations_of(path):
            yield Text(*tokenizer.encode_chat_masked(messages))


def check(
    shard: Annotated[Path, typer.Argument(metavar="SHARD", help="A .bin file of tokens, or what `pack` wrote.")],
    as_json: Json = False,
) -> None:
    """Compare a shard with its checksum."""
    from cutaway.tokens.packing import TOKENS, PackedShard
    from cutaway.tokens.shards import check_shard

    told: dict[str, Any] = {}
    if shard.is_dir():
        packed = PackedShard(shard)
        packed.check()
        told["rows"] = len(packed)
    info = check_shard(shard / TOKENS if shard.is_dir() else shard)
    told |= {"tokens": info.n_tokens, "bytes_a_token": info.dtype.itemsize, "checksum": info.checksum is not None}
    if as_json:
        print(json.dumps(told))
        return
    kept = "as they were written" if info.checksum else "without a checksum: the file is of earlier times"
    rows = f" in {told['rows']:,} rows" if "rows" in told else ""
    print(f"{info.n_tokens:,} tokens of {info.dtype.itemsize} bytes{rows}, {kept}")
