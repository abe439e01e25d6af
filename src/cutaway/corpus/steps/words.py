"""Words, as the published filters count them, split once a page and shared by every step.

datatrove splits English with spaCy's rule tokenizer, and so do we: on every text the words are the same. That
tokenizer works on one white-space-delimited chunk at a time, and most chunks of a page have been seen before, so its
answers are kept in a bounded table and only new chunks are sent to it.

One thing in it looks across chunks: a special case such as ":)" inside a chunk stays unmerged where a longer one,
written with spaces, lies over it ("x:) )"). A chunk in which a special case was merged is therefore marked, and where
a marked chunk meets neighbours that could belong to a special case with it, these go to spaCy together. Only where
chunks are so long and so full of marks that spaCy would need seconds (its rules take quadratic time: 10,000 brackets
in a row, 18 s) do the words differ: such chunks are cut into pieces of LONG characters first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import chain, pairwise
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from cutaway.corpus.steps.concatenation import Concatenation
from cutaway.runs import Settings
from cutaway.runs.errors import BadInput

LONG = 32
"""Characters. Longer chunks (addresses, blobs) are not kept, and are what COST is counted over."""
COST = 10_000_000
"""Bound on the sum over a text's different long chunks of length times marks in it: two seconds of spaCy's time."""
KEPT = 100_000
"""Chunks whose words are kept: some 30 MB."""


class WordSettings(Settings):
    """How words are split; every step that counts words has these two settings."""

    language: str = "en"
    """ISO 639 code that datatrove knows a word splitter for."""
    splitter: Literal["spacy", "simple"] = "spacy"
    """spacy: datatrove's choice for the language. simple: runs of letters and digits, single marks; needs no package,
    and gives other counts than the published thresholds were set with."""


class Words:
    """The words of one text, and arrays over them that are made when first asked for."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def joined(self) -> Concatenation:
        """All words without anything between them, as characters with word borders."""
        return Concatenation(self.words)

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """A 64-bit hash of each word, the same in every process: shape [words]."""
        return self.joined.gram_hashes(1)


class Splitter(Protocol):
    """Splits a text into tokens."""

    def split(self, text: str) -> list[str]:
        """The words, marks being words too; never with white space at their ends, never empty."""
        ...


class SimpleSplitter:
    """Runs of letters, digits and underscores, and single marks."""

    def split(self, text: str) -> list[str]:
        """See `Splitter`."""
        return _SIMPLE.findall(text)


_SIMPLE = re.compile(r"\w+|[^\w\s]")
_GAP = re.compile(r"(?<=\S)\s+(?=\S)")


class WholeTextSplitter:
    """Whatever datatrove has for a language that spaCy's rules do not serve, a whole text at a time."""

    def __init__(self, language: str, tokenize: Callable[[str], list[str]]) -> None:
        self.language = language
        self._tokenize = tokenize

    def split(self, text: str) -> list[str]:
        """See `Splitter`."""
        return self._tokenize(text)


class ChunkSplitter:
    """spaCy's rule tokenizer behind a table of chunks. `nlp` is the blank pipeline that holds it."""

    def __init__(self, nlp: Any) -> None:
        from spacy.tokenizer import Tokenizer

        self._nlp = nlp
        rules = nlp.tokenizer
        self._without_rules = Tokenizer(
            nlp.vocab,
            prefix_search=rules.prefix_search,
            suffix_search=rules.suffix_search,
            infix_finditer=rules.infix_finditer,
            token_match=rules.token_match,
            url_match=rules.url_match,
        )
        self._rules = rules.rules
        self._english = nlp.lang == "en"
        self._heads, self._borders = self._merged_rules()
        self._known: dict[str, tuple[str, ...]] = {}
        self._marked: set[str] = set()

    def split(self, text: str) -> list[str]:
        """See `Splitter`."""
        text = readable(text)
        return self._split(text, text.split())

    def _split(self, text: str, chunks: list[str]) -> list[str]:
        known = self._known
        new = set(chunks).difference(known)
        long = {chunk for chunk in new if len(chunk) > LONG}
        if long and sum(len(chunk) * (1 + marks(chunk)) for chunk in long) > COST:
            return self.split(" ".join(chain.from_iterable(map(pieces, chunks))))
        if len(known) + len(new) > KEPT:
            known.clear()
            self._marked.clear()
            new = set(chunks)
        self._learn(list(new))
        if self._marked.isdisjoint(chunks):
            words = list(chain.from_iterable(map(known.__getitem__, chunks)))
        else:
            words = self._with_neighbours(text, chunks)
        for chunk in long:
            del known[chunk]
            self._marked.discard(chunk)
        return words

    def _learn(self, new: list[str]) -> None:
        hard: list[str] = []
        for chunk in new:
            if words := self._plain(chunk):
                self._known[chunk] = words
            else:
                hard.append(chunk)
        found = dict(zip(hard, self._of_chunks(self._nlp.tokenizer, hard), strict=True))
        suspects = [c for c, words in found.items() if len(words) > 1 and not self._heads.isdisjoint(words)]
        for chunk, plain in zip(suspects, self._of_chunks(self._without_rules, suspects), strict=True):
            if plain != found[chunk]:
                self._marked.add(chunk)
        self._known.update(found)

    def _plain(self, chunk: str) -> tuple[str, ...] | None:
        """The words of a chunk of English that no rule but one says anything of: a full stop or comma is split off."""
        if not self._english or not chunk.isascii() or chunk in self._rules:
            return None
        if chunk.isalpha() or chunk.isdigit():
            return (chunk,)
        word, mark = chunk[:-1], chunk[-1]
        if not word.isalpha() or word in self._rules or not (mark == "," or (mark == "." and word[-1].islower())):
            return None
        return word, mark

    def _of_chunks(self, tokenizer: Any, chunks: Sequence[str]) -> Iterable[tuple[str, ...]]:
        """The tokens of each chunk. A line break keeps chunks apart: no special case goes across one."""
        words: list[str] = []
        for word in self._tokens(tokenizer, "\n".join(chunks)) if chunks else ():
            if word == "\n":
                yield tuple(words)
                words = []
            else:
                words.append(word)
        if chunks:
            yield tuple(words)

    def _tokens(self, tokenizer: Any, text: str) -> list[str]:
        # Without a zone the vocabulary would grow with the corpus.
        with self._nlp.memory_zone():
            return [token.text for token in tokenizer(text)]

    def _with_neighbours(self, text: str, chunks: list[str]) -> list[str]:
        """The words of a text with marked chunks.

        With such neighbours as could belong to a special case with them, they go to spaCy as they stand.
        """
        gaps: list[str] = []
        words: list[str] = []
        done = 0
        for place in [place for place, chunk in enumerate(chunks) if chunk in self._marked]:
            if place < done:
                continue
            first, last = place, place
            while first > done and self._may_touch(chunks[first - 1], chunks[first]):
                first -= 1
            while last + 1 < len(chunks) and self._may_touch(chunks[last], chunks[last + 1]):
                last += 1
            if first < last:
                gaps = gaps or _GAP.findall(text)
                words += chain.from_iterable(map(self._known.__getitem__, chunks[done:first]))
                pieces = chain.from_iterable(zip(chunks[first : last + 1], [*gaps[first:last], ""], strict=True))
                words += [word for word in self._tokens(self._nlp.tokenizer, "".join(pieces)) if not word.isspace()]
                done = last + 1
        words += chain.from_iterable(map(self._known.__getitem__, chunks[done:]))
        return words

    def _may_touch(self, first: str, second: str) -> bool:
        """Whether two neighbouring chunks could both have a part in one special case."""
        return first[-1] + second[0] in self._borders

    def _merged_rules(self) -> tuple[set[str], set[str]]:
        """What begins the words of a special case that is looked for among finished tokens, and which two characters
        can meet at a border inside of one.
        """
        rules = self._nlp.tokenizer
        heads: set[str] = set()
        borders: set[str] = set()
        for rule in rules.rules:
            if rules.find_prefix(rule) or rules.find_infix(rule) or rules.find_suffix(rule) or " " in rule:
                before, after = (self._tokens(each, rule) for each in (self._without_rules, rules))
                heads.update(after[:1] if before != after else ())
                borders.update(a[-1] + b[0] for a, b in pairwise(before))
        return heads, borders


def readable(text: str) -> str:
    """The text without what spaCy trips over.

    That is halves of surrogate pairs, which become question marks, and the name of its attribute 0, which it takes for
    a number: whether it raises depends on what it read before. datatrove takes the name out where it raises.
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    while "IS_ALPHA" in text:
        text = text.replace("IS_ALPHA", "")
    return text


def marks(chunk: str) -> int:
    """Characters of a chunk that are neither letters nor digits."""
    return len(chunk) - sum(map(str.isalnum, chunk))


def pieces(chunk: str) -> list[str]:
    """A chunk in pieces of at most LONG characters."""
    return [chunk[start : start + LONG] for start in range(0, len(chunk), LONG)]


class SharedWords:
    """One splitter, and the words of the text that it split last, for the steps that follow on the same page."""

    def __init__(self, splitter: Splitter) -> None:
        self.splitter = splitter
        self._text: str | None = None
        self._words = Words([])

    def __call__(self, text: str) -> Words:
        """The words of a text."""
        if text != self._text:
            self._text, self._words = text, Words(self.splitter.split(text))
        return self._words


def shared_words(settings: WordSettings) -> SharedWords:
    """The one splitter of this process for a language.

    Raises:
        BadInput: datatrove has no splitter for the language, or a package that it needs is missing.
    """
    return _shared_words(settings.language, settings.splitter)


@lru_cache(maxsize=8)
def _shared_words(language: str, splitter: str) -> SharedWords:
    if splitter == "simple":
        return SharedWords(SimpleSplitter())
    try:
        from datatrove.utils.word_tokenizers import SpaCyTokenizer, load_word_tokenizer
        from spacy.tokenizer import Tokenizer

        tokenizer = load_word_tokenizer(language)
        if isinstance(tokenizer, SpaCyTokenizer) and type(tokenizer.tokenizer.tokenizer) is Tokenizer:
            return SharedWords(ChunkSplitter(tokenizer.tokenizer))
        return SharedWords(WholeTextSplitter(language, tokenizer.word_tokenize))
    except ImportError as error:
        missing = " ".join(str(error).split())
        raise BadInput(
            f'splitting words of "{language}" needs packages that are not installed ({missing}): '
            "pip install 'cutaway[corpus]', or set splitter = \"simple\" and take other counts than the papers'"
        ) from None
    except ValueError:
        raise BadInput(
            f'datatrove has no word splitter for the language "{language}"; give its ISO 639 code, such as en or deu, '
            'or set splitter = "simple"'
        ) from None
