"""Texts of which some are to be stopped: what a filter learns from, read from people's own files or built in.

| what | form | to be found |
|---|---|---|
| nothing named | clauses of two Bibles, one in five from the King James Version | King James |
| `SMSSpamCollection`, or the zip it comes in | a line a message: label, tab, text (Almeida et al. 2011) | spam |
| `sentence_polarity.zip`, `movie_reviews.zip` | NLTK's archives (Pang and Lee 2005, 2004) | pos |
| `subjectivity.zip` | NLTK's archive (Pang and Lee 2004) | subjective |
| `.csv`, `.tsv`, `.jsonl`, `.json`, `.parquet` | columns or keys `text` and `label` | spam, or what is named |
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cutaway.corpus.examples import read_examples
from cutaway.ladder import rule_filter
from cutaway.ladder.rule_filter import Rule
from cutaway.pipeline.rungs.two_bibles import KING_JAMES_LABEL, pieces
from cutaway.runs import BadInput

Row = tuple[str, str, str]
"""A text, its label, and the group of texts that it belongs to."""
USUAL = ("spam", "pos", "positive", "subjective", "yes", "true", "1", KING_JAMES_LABEL)
"""Labels that, where one is among the labels, name what is to be found."""
RULES: dict[str, Sequence[Rule]] = {
    "spam": rule_filter.SPAM,
    "pos": rule_filter.PRAISE,
    "positive": rule_filter.PRAISE,
    "subjective": rule_filter.OPINION,
    KING_JAMES_LABEL: rule_filter.KING_JAMES,
}
"""By what is to be found, the rules written by hand."""
LONGEST_ARCHIVE = 256 * 2**20
"""Bytes of an archive's files when unpacked."""
HEADINGS = ("label", "class", "category", "v1")
"""What stands above the labels where a first line names the columns."""
FEWEST = 30
"""Texts of each of the two kinds, below which nothing can be held out."""

_TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
# Where an archive's texts are, and their labels: files with a text a line, or folders with a text a file.
_LINES = {
    "rt-polarity.pos": "pos",
    "rt-polarity.neg": "neg",
    "quote.tok.gt9.5000": "subjective",
    "plot.tok.gt9.5000": "objective",
}
_FILES = re.compile(r"(?:^|/)(pos|neg)/[^/]+\.txt$")
_SMS = "SMSSpamCollection"


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, each once, and which of them are to be stopped.

    Attributes:
        texts: `[text]`.
        targets: 1 for those to be stopped, 0 for the others, `[text]`.
        groups: what each belongs to; texts of one group must not be learned from and tested on.
        wanted: the label of those to be stopped.
        others: what the others are called.
        rules: the rules by hand for such texts; none, where there are none.
        repeated: how many texts were left out because they had been there before.
    """

    texts: list[str]
    targets: npt.NDArray[np.float64]
    groups: list[str]
    wanted: str
    others: str
    rules: Sequence[Rule]
    repeated: int


def read_labelled(
    data: Path | None, wanted: str | None, *, most: int, share: float, rules: Sequence[str], seed: int
) -> LabelledTexts:
    """The texts at `data` in any of the forms above; None means the two Bibles.

    Args:
        data: a file.
        wanted: the label to be found; None means the usual one, where there are two.
        most: texts that are taken, drawn by `seed`.
        share: of the built-in texts, how many are to be found; data of one's own are as they are.
        rules: patterns that take the place of the rules by hand, one point each.
        seed: what the order of texts follows from.

    Raises:
        BadInput: the file is absent, unreadable or of no such form; its labels leave open what is to be found; there
            are too few texts of either kind; or a rule is no pattern.
    """
    own = [_own_rule(pattern) for pattern in rules]
    rows = [(p.text, p.label, p.chapter) for p in pieces("clause")] if data is None else _read(data)
    where = "the built-in texts" if data is None else str(data)
    found = _label_to_find({label for _, label, _ in rows}, wanted, where)
    order = np.random.default_rng(seed).permutation(len(rows))
    once: dict[str, Row] = {}
    for row in (rows[i] for i in order):
        once.setdefault(" ".join(row[0].casefold().split()), row)
    kept = list(once.values())
    yes = [row for row in kept if row[1] == found]
    no = [row for row in kept if row[1] != found]
    if data is None:
        yes, no = yes[: round(most * share)], no[: most - round(most * share)]
    # In the order drawn again, so that a cut at `most` keeps both kinds as they are.
    chosen = {id(row) for row in (*yes, *no)}
    kept = [row for row in kept if id(row) in chosen][:most]
    targets = np.array([row[1] == found for row in kept], float)
    for label, number in ((found, int(targets.sum())), ("others", int((1 - targets).sum()))):
        if number < FEWEST:
            raise BadInput(
                f"{where} has {number} text{'s' * (number != 1)} of {label}; {FEWEST} are the fewest to learn from"
            )
    named = sorted({label for _, label, _ in kept} - {found})
    return LabelledTexts(
        texts=[row[0] for row in kept],
        targets=targets,
        groups=[row[2] for row in kept],
        wanted=found,
        others=named[0] if len(named) == 1 else f"not {found}",
        rules=own or RULES.get(found.casefold(), RULES.get(found, ())),
        repeated=len(rows) - len(once),
    )


def _own_rule(pattern: str) -> Rule:
    try:
        return Rule(pattern, re.compile(pattern, re.IGNORECASE))
    except re.error as error:
        raise BadInput(
            f"the rule {pattern!r} is no pattern ({error}); write it as a Python regular expression"
        ) from None


def _label_to_find(labels: set[str], wanted: str | None, where: str) -> str:
    told = ", ".join(sorted(labels)[:8]) + (" ..." if len(labels) > 8 else "")
    if not labels:
        raise BadInput(f"{where} holds no labelled text; give a table with text and label")
    if len(labels) < 2:
        raise BadInput(f"{where} has the single label {told}; texts of another are needed to tell it from")
    if wanted is not None:
        if wanted not in labels:
            raise BadInput(f"{where} has no text labelled {wanted!r}; the labels are {told}")
        return wanted
    usual = [label for label in sorted(labels) if label.casefold() in map(str.casefold, USUAL)]
    if len(usual) != 1:
        raise BadInput(f"{where} has the labels {told}; say which is to be found: --set 'spam.wanted=\"LABEL\"'")
    return usual[0]


def _read(path: Path) -> list[Row]:
    """Each text a group of its own."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise BadInput(f"{path} {what}; give a zip of NLTK, {_SMS}, or a table with text and label")
    if path.suffix.lower() in _TABLES:
        found = _of_table(path)
    elif zipfile.is_zipfile(path):
        found = _of_archive(path)
    else:
        found = _of_lines(_decoded(_bytes(path), str(path)), str(path))
    return [(text, label, str(number)) for number, (text, label) in enumerate(found) if text.strip()]


def _of_table(path: Path) -> Iterable[tuple[str, str]]:
    examples = read_examples([path])
    if examples.kind == "labels":
        return examples.items
    if examples.kind == "pairs":  # a .tsv without names in its first line
        return [(text, label) for label, text in examples.items]
    raise BadInput(f"{path} holds {examples.kind}; a filter learns from rows with text and label")


def _of_lines(text: str, where: str) -> list[tuple[str, str]]:
    """Of "label, tab, text" lines the texts and labels; a first line that names the columns is left out."""
    found: list[tuple[str, str]] = []
    for number, line in enumerate(_lines(text), 1):
        label, tab, message = line.partition("\t")
        if not tab:
            raise BadInput(
                f"{where} line {number} is no label, a tab and a text; a table with names ends in .csv or .tsv"
            )
        if number > 1 or label.strip().casefold() not in HEADINGS:
            found.append((message, label.strip()))
    return found


def _of_archive(path: Path) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LONGEST_ARCHIVE:
                raise BadInput(f"{path} unpacks to more than {LONGEST_ARCHIVE >> 20} MiB; give a smaller archive")
            for member in sorted(archive.namelist()):
                name, folder = member.rpartition("/")[2], _FILES.search(member)
                where = f"{path}: {member}"
                if name in _LINES:
                    lines = _lines(_decoded(archive.read(member), where))
                    found += [(line.strip(), _LINES[name]) for line in lines]
                elif folder is not None:
                    found.append((_decoded(archive.read(member), where).strip(), folder[1]))
                elif name == _SMS:
                    found += _of_lines(_decoded(archive.read(member), where), where)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadInput(f"{path} cannot be unpacked ({error}); fetch it again") from None
    if not found:
        raise BadInput(f"{path} holds none of {', '.join(_LINES)}, {_SMS}, pos/*.txt and neg/*.txt")
    return found


def _lines(text: str) -> list[str]:
    # Only what ends a line in such files: a character that Unicode calls a line break may stand inside a message.
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from None


def _decoded(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{where} is not UTF-8 (byte offset {error.start}); save it as UTF-8") from None
