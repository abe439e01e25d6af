"""`cutaway tokenizer`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cutaway.cli.bring import bring
from cutaway.cli.help import with_example
from cutaway.cli.options import Again, Json, Out, Recipe, Seed, Set, Text
from cutaway.cli.stdin import utf8_of
from cutaway.cli.tokenizer_files import CHECK, CONVERT, LEARN, PACK, check, convert, learn, pack
from cutaway.cli.tokenizer_views import COMPARE, MERGES, RENDER, UNUSED, compare, merges, render, unused
from cutaway.runs import BadInput

if TYPE_CHECKING:
    from cutaway.tokens import Tokenizer

app = typer.Typer(
    name="tokenizer",
    help=with_example(
        'cutaway tokenizer encode runs/demo "In the beginning"', "Train a tokenizer, use it, and look into it."
    ),
    short_help="Train a tokenizer, use it, and look into it.",
)

Where = Annotated[
    Path, typer.Argument(metavar="TOKENIZER", help="A run (runs/demo), a model directory or a tokenizer.json.")
]

TRAIN = with_example(
    "cutaway tokenizer train demo --set tokenizer.vocab_size=8192 --out runs/wider",
    """Bring a run up to its tokenizer: the corpus, if it is not there yet, then byte-level BPE trained on it.""",
)
ENCODE = with_example(
    'cutaway tokenizer encode runs/demo "In the beginning"',
    """Show a text as the tokens that a model sees: each token's id and its text. Without TEXT, standard input is
read.""",
)
DECODE = with_example(
    "cutaway tokenizer decode runs/demo 301 287",
    """Show token ids as the text they stand for. Without ids, they are read from standard input.""",
)


@app.command("train", help=TRAIN, short_help="Train a run's tokenizer.")
def train(
    recipe: Recipe, out: Out = None, seed: Seed = None, text: Text = None, sets: Set = None, again: Again = False
) -> None:
    """Run a recipe up to its tokenizer."""
    bring(recipe, until="tokenizer", out=out, seed=seed, text=text, sets=sets, again=again)


@app.command("encode", help=ENCODE, short_help="Show a text as tokens.")
def encode(
    where: Where,
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="The text.")] = None,
    as_json: Json = False,
) -> None:
    """Print the tokens of a text."""
    tokenizer = open_tokenizer(where)
    ids = tokenizer.encode(utf8_of(sys.stdin).read() if text is None else text)
    if as_json:
        tokens = [{"id": id_, "bytes": list(tokenizer.token_bytes(id_))} for id_ in ids]
        print(json.dumps({"ids": ids, "tokens": tokens}))
        return
    for id_ in ids:
        # repr: a token may be a space, a line break, or part of a character.
        raw = tokenizer.token_bytes(id_)
        try:
            shown = repr(raw.decode("utf-8"))
        except UnicodeDecodeError:
            shown = repr(raw)
        print(f"{id_:>7}  {shown}")


@app.command("decode", help=DECODE, short_help="Show token ids as text.")
def decode(
    where: Where,
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Token ids.")] = None,
    as_json: Json = False,
) -> None:
    """Print the text of token ids."""
    tokenizer = open_tokenizer(where)
    given = ids or _read_ids(sys.stdin.read())
    for id_ in given:
        if not 0 <= id_ < tokenizer.vocab_size:
            raise BadInput(f"{id_} is no token; they go from 0 to {tokenizer.vocab_size - 1}")
    text = tokenizer.decode(given)
    print(json.dumps({"ids": given, "text": text}, ensure_ascii=False) if as_json else text)


def open_tokenizer(where: Path) -> Tokenizer:
    """The tokenizer of a run, of a model directory, or in a file of any format."""
    from cutaway.tokens.formats import open_any

    return open_any(where)


def _read_ids(text: str) -> list[int]:
    words = text.replace(",", " ").replace("[", " ").replace("]", " ").split()
    try:
        return [int(word) for word in words]
    except ValueError as error:
        raise BadInput(f"standard input holds something that is no token id ({error}); give whole numbers") from None


app.command("learn", help=LEARN, short_help="Learn a vocabulary from text files.")(learn)
app.command("merges", help=MERGES, short_help="Replay a word's merges step by step.")(merges)
app.command("compare", help=COMPARE, short_help="Compare tokenizers on a text or a corpus.")(compare)
app.command("unused", help=UNUSED, short_help="List the tokens that a corpus never uses.")(unused)
app.command("render", help=RENDER, short_help="Show a conversation as the model reads it.")(render)
app.command("convert", help=CONVERT, short_help="Write a tokenizer in another format.")(convert)
app.command("pack", help=PACK, short_help="Pack texts or conversations into rows.")(pack)
app.command("check", help=CHECK, short_help="Compare a shard with its checksum.")(check)
