"""How many sentences a line has, by the rule of spaCy's sentencizer, which datatrove's C4 filter counts with.

A sentence ends after one of the marks that end sentences and whatever marks follow it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from cutaway.corpus.steps.words import ChunkSplitter, SharedWords, WholeTextSplitter, readable

_ENDS_OF_SIMPLE = frozenset(".!?\u2026\u3002\uff01\uff1f")


def count_sentences(text: str, words: SharedWords, enough: int) -> int:
    """The sentences of a text, of which no more than `enough` need be counted. An empty text is one."""
    splitter = words.splitter
    if isinstance(splitter, WholeTextSplitter):
        from datatrove.utils.text import split_into_sentences

        return len(split_into_sentences(text, splitter.language))
    ends = _spacys_ends() if isinstance(splitter, ChunkSplitter) else _ENDS_OF_SIMPLE
    count, ended = 1, False
    for token in _tokens(readable(text), words):
        if token in ends:
            ended = True
        elif ended and not _is_punctuation(token):
            count, ended = count + 1, False
            if count >= enough:
                break
    return count


def _tokens(text: str, words: SharedWords) -> Iterator[str]:
    """The words and, as spaCy has it, the white space between them but for one blank after a word."""
    end = 0
    for word in words.splitter.split(text):
        start = text.find(word, end)
        yield from _white_space(text[end:start], end)
        yield word
        end = start + len(word)
    yield from _white_space(text[end:], end)


def _white_space(gap: str, start: int) -> tuple[str, ...]:
    space = gap[1:] if start and gap.startswith(" ") else gap
    return (space,) if space.isspace() else ()


@lru_cache(maxsize=1)
def _spacys_ends() -> frozenset[str]:
    from spacy.pipeline.sentencizer import Sentencizer

    return frozenset(Sentencizer.default_punct_chars)


def _is_punctuation(token: str) -> bool:
    return all(unicodedata.category(character).startswith("P") for character in token)
