"""Parallel text: sentences and their translations, from files as their publishers have them, or from two Bibles.

A corpus of translations is a pair of files, in which line n of the one translates line n of the other (Multi30k, and
all of WMT), or a table with a source and a target in each line (Tatoeba). Without either there are two English Bibles
that come with packages: the King James Version of 1611, and one of 1965 in Basic English, of about a thousand different
words. Verse by verse they say the same, so that going from one to the other is translation, from old English to simple.
"""

from __future__ import annotations

import gzip
import importlib
import random
import re
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutaway.runs.errors import BadInput

TABLES = (".tsv", ".txt")
HELD_OUT = ("val", "valid", "dev")
"""What stands in the names of held-out files where those to learn from have `train`."""
VERSIONS = ("kjv", "bbe")

# As `cutaway.corpus.built_in` has it: a verse begins with its number; where a Bible counts otherwise than most do, the
# usual chapter and verse stand behind that between backslashes; other marks are of the making.
_VERSE = re.compile(r"(?<!\d)(\d+)\. ?(?:\\(\d+):(\d+)\\)?")
_MARKS = re.compile(r"\\(?:\d+:\d+\\)?|\*+|[+\[\]]")
_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "\xa0": " "})


@dataclass(frozen=True)
class Pair:
    """A text and its translation."""

    source: str
    target: str


@dataclass(frozen=True)
class ParallelText:
    """Pairs to learn from and others to be judged by; what they are, in a few words."""

    about: str
    train: Sequence[Pair]
    heldout: Sequence[Pair]


def read_parallel(path: Path, source: str, target: str, *, heldout: float, seed: int) -> ParallelText:
    """The pairs of a folder, of a pair of files, or of a table.

    A folder or pair has files that end with the languages `source` and `target` (train.de and train.en, or compressed,
    train.de.gz); those called val, valid or dev are the held-out ones. A table (.tsv, .txt) has the source in the first
    column and the target in the second, whatever the languages. Where nothing is held out by its publisher, a share
    `heldout` of the sources is drawn by `seed`, each with all of its translations.

    Raises:
        BadInput: there are no such files, they are not UTF-8, or lines are wanting.
    """
    train, *others = parallel_files(path, source, target)
    pairs = _table(train[0]) if len(train) == 1 else _lines(*train)
    if others:
        return ParallelText(f"{_stem(train[0], source)}, {source} to {target}", pairs, _lines(*others[0]))
    about = train[0].name if len(train) == 1 else f"{_stem(train[0], source)}, {source} to {target}"
    try:
        return held_out(about, pairs, [pair.source for pair in pairs], heldout, seed)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None


def parallel_files(path: Path, source: str, target: str) -> list[tuple[Path, ...]]:
    """The files that `read_parallel` reads: those to learn from and perhaps those held out, each a pair or one table.

    Raises:
        BadInput: there are none.
    """
    if path.is_file() and path.name.removesuffix(".gz").endswith(TABLES):
        return [(path,)]
    folder, stem = (path, "") if path.is_dir() else (path.parent, _stem(path, source, target))
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        for language in (source, target):
            if file.name.removesuffix(".gz").endswith(f".{language}"):
                found[_stem(file, language)].setdefault(language, file)
    pairs = {name: (each[source], each[target]) for name, each in found.items() if len(each) == 2}
    training = [name for name in pairs if (name == stem if stem else "train" in name)]
    if not training and not stem and len(pairs) == 1:
        training = list(pairs)
    if len(training) != 1:
        said = f"several ({', '.join(training)}); name one of them" if training else "none"
        raise BadInput(
            f"{path} must lead to one pair of files such as train.{source} and train.{target} (or .gz), or be a table "
            f"(.tsv, .txt) with source and target in its columns; there are {said}. Other languages are chosen with "
            "--set translation.source=... and translation.target=..."
        )
    (name,) = training
    beside = [name.replace("train", word) for word in HELD_OUT if "train" in name]
    return [pairs[name], *[pairs[other] for other in beside if other in pairs][:1]]


def bible_pairs(longest: int, *, heldout: float, seed: int) -> ParallelText:
    """Verses of the King James Version and the same in Basic English, of at most `longest` words each.

    Held out are whole chapters, for verses beside each other say similar things.

    Raises:
        BadInput: the Bibles' packages are not installed.
    """
    old, new = (verses(version) for version in VERSIONS)
    places = [place for place, text in old.items() if place in new and max(_words(text), _words(new[place])) <= longest]
    pairs = [Pair(old[place], new[place]) for place in places]
    chapters = [f"{book} {chapter}" for book, chapter, _ in places]
    about = f"verses of at most {longest} words, King James Version to Basic English"
    return held_out(about, pairs, chapters, heldout, seed)


def verses(version: str) -> dict[tuple[str, int, int], str]:
    """The verses of a Bible ("kjv" or "bbe") by book, chapter and number, as they are usually counted.

    Raises:
        BadInput: its package is not installed.
    """
    try:
        bible: Any = importlib.import_module(f"pythonbible_{version}.plain_text_bible").bible
    except ImportError:
        package = f"pythonbible-{version}"
        raise BadInput(f"the built-in text {version!r} needs a package: pip install pythonbible {package}") from None
    chapters = [(book.title, chapter) for book, counts in bible.max_verses.items() for chapter in counts]
    content: str = bible.scripture_content
    beginnings = list(_VERSE.finditer(content))
    found: dict[tuple[str, int, int], str] = {}
    chapter = -1
    for beginning, end in zip(beginnings, [*(b.start() for b in beginnings[1:]), len(content)], strict=True):
        chapter += beginning[1] == "1"
        book, number = chapters[chapter]
        if version == "bbe" and book == "Isaiah" and number > 64:
            number -= 1  # here chapter 64 is counted twice: its first verse is set apart
        place = (book, int(beginning[2] or number), int(beginning[3] or beginning[1]))
        text = " ".join(_MARKS.sub(" ", content[beginning.end() : end].translate(_STRAIGHT)).split())
        text = text.replace("( ", "(").replace(" ,", ",")
        if text:
            found.setdefault(place, text)
    return found


def held_out(about: str, pairs: Sequence[Pair], groups: Sequence[str], share: float, seed: int) -> ParallelText:
    """The pairs with about a `share` of them held out by whole groups; `groups` says which group each is of.

    None is held out whose source is also learned from.

    Raises:
        BadInput: either side would be empty.
    """
    members: dict[str, list[Pair]] = defaultdict(list)
    for pair, group in zip(pairs, groups, strict=True):
        members[group].append(pair)
    names = sorted(members)
    random.Random(seed).shuffle(names)
    train: list[Pair] = []
    heldout: list[Pair] = []
    for name in names:
        side = heldout if len(heldout) + len(members[name]) / 2 <= share * len(pairs) else train
        side += members[name]
    known = {pair.source for pair in train}
    heldout = [pair for pair in heldout if pair.source not in known]
    if not train or not heldout:
        few = "1 pair is" if len(pairs) == 1 else f"{len(pairs)} pairs are"
        raise BadInput(f"{few} too few to hold some of them out; give more")
    return ParallelText(about, train, heldout)


def _stem(file: Path, *languages: str) -> str:
    """A file's name without its language."""
    name = file.name.removesuffix(".gz")
    for language in languages:
        name = name.removesuffix(f".{language}")
    return name


def _words(text: str) -> int:
    return len(text.split())


def _table(file: Path) -> list[Pair]:
    """The pairs of a table: its first two columns, with tabs between."""
    pairs: list[Pair] = []
    for number, line in enumerate(_read(file), 1):
        columns = [column.strip() for column in line.split("\t")]
        if not line.strip():
            continue
        if len(columns) < 2 or not all(columns[:2]):
            raise BadInput(f"{file} line {number} has no source and target; write both, with a tab between them")
        pairs.append(Pair(*columns[:2]))
    return pairs


def _lines(source: Path, target: Path) -> list[Pair]:
    """The pairs of two files, line by line; those of which one side is empty are left out."""
    sources, targets = _read(source), _read(target)
    if len(sources) != len(targets):
        raise BadInput(
            f"{source} has {len(sources):,} lines and {target} {len(targets):,}; line n of one must translate line n "
            "of the other"
        )
    pairs = [Pair(a.strip(), b.strip()) for a, b in zip(sources, targets, strict=True)]
    pairs = [pair for pair in pairs if pair.source and pair.target]
    if not pairs:
        raise BadInput(f"{source} and {target} hold no sentences; give files with a sentence a line")
    return pairs


def _read(file: Path) -> list[str]:
    """The lines of a file, which may be compressed."""
    try:
        data = file.read_bytes()
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(f"{file} cannot be unpacked ({error}); get it again") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not UTF-8 (byte offset {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror}); check the path and its permissions") from None
    # Only what ends a line in such files: a character that Unicode calls a line break may stand inside a sentence.
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")
