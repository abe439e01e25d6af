"""Pages that repeat themselves: lines, paragraphs and runs of words that occur again and again.

Rae et al., "Scaling language models: methods, analysis and insights from training Gopher" (2021), table A1; in the
order and with the words of datatrove's filter of the same name, with which every decision agrees.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cutaway.corpus.deduplicate import gram_hashes
from cutaway.corpus.page import Page, Removal
from cutaway.corpus.steps.words import WordSettings, shared_words


class GopherRepetitionSettings(WordSettings):
    """Most that a page may repeat, each as a share of the page; 0 turns one of the first four off."""

    duplicate_lines: float = 0.30
    """Of the lines, those that occurred before."""
    duplicate_paragraphs: float = 0.30
    duplicate_line_characters: float = 0.20
    """Of the characters, those in lines that occurred before."""
    duplicate_paragraph_characters: float = 0.20
    top_grams: tuple[tuple[int, float], ...] = ((2, 0.20), (3, 0.18), (4, 0.16))
    """Pairs of n and the most characters that the commonest run of n words may cover."""
    duplicate_grams: tuple[tuple[int, float], ...] = (
        (5, 0.15),
        (6, 0.14),
        (7, 0.13),
        (8, 0.12),
        (9, 0.11),
        (10, 0.10),
    )
    """Pairs of n and the most characters that runs of n words which occurred before may cover."""


class GopherRepetitionFilter:
    """Removes a page by the first rule that it breaks."""

    name = "gopher_repetition"

    def __init__(self, settings: GopherRepetitionSettings) -> None:
        self._settings = settings
        self._words = shared_words(settings)

    def __call__(self, page: Page) -> Removal | None:
        """See `Step`. The rules' names are datatrove's."""
        settings, text = self._settings, page.text
        if not text:
            return Removal("empty", 0, 1)
        paragraphs = paragraphs_of(text)
        count, characters = duplicates(paragraphs)
        if broken := _over("dup_para_frac", count / len(paragraphs), settings.duplicate_paragraphs):
            return broken
        if broken := _over("dup_para_char_frac", characters / len(text), settings.duplicate_paragraph_characters):
            return broken
        lines = lines_of(text)
        count, characters = duplicates(lines)
        if broken := _over("dup_line_frac", count / len(lines), settings.duplicate_lines):
            return broken
        if broken := _over("dup_line_char_frac", characters / len(text), settings.duplicate_line_characters):
            return broken
        return self._repeated_grams(text)

    def _repeated_grams(self, text: str) -> Removal | None:
        words = self._words(text)
        for n, most in self._settings.top_grams:
            if len(words) >= n:
                grams = gram_hashes(words.hashes, n)
                share = top_gram_characters(grams, words.joined.gram_lengths(n) + (n - 1)) / len(text)
                if share > most:
                    return Removal(f"top_{n}_gram", share, most)
        for n, most in self._settings.duplicate_grams:
            if len(words) >= n:
                joined = words.joined
                share = duplicate_gram_characters(joined.gram_hashes(n), joined.gram_lengths(n), n) / len(text)
                if share > most:
                    return Removal(f"duplicated_{n}_n_grams", share, most)
        return None


def paragraphs_of(text: str) -> list[str]:
    """What stands between two line breaks or more; white space around the text does not count."""
    parts = [part for part in (each.lstrip("\n") for each in text.strip().split("\n\n")) if part]
    return parts or [""]


def lines_of(text: str) -> list[str]:
    """What stands between line breaks, any number of them; empty at the ends if the text begins or ends with one."""
    lines = [line for line in text.split("\n") if line]
    return [""] * text.startswith("\n") + lines + [""] * text.endswith("\n")


def duplicates(parts: Sequence[str]) -> tuple[int, int]:
    """How many of the parts occurred before, and their characters."""
    different = set(parts)
    if len(different) == len(parts):
        return 0, 0
    return len(parts) - len(different), sum(map(len, parts)) - sum(map(len, different))


def top_gram_characters(grams: npt.NDArray[np.uint64], lengths: npt.NDArray[np.int64]) -> int:
    """Characters that the commonest gram covers with all its occurrences; of equally common ones, the first counts.

    `grams` are the hashes of the grams in the order of the text and `lengths` their characters: shape [grams].
    """
    ordered = np.sort(grams)
    borders = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    counts = np.diff(borders)
    most = int(counts.max())
    commonest = ordered[borders[:-1][counts == most]]
    first = 0 if most == 1 else int(np.isin(grams, commonest).argmax())
    return int(lengths[first]) * most


def duplicate_gram_characters(grams: npt.NDArray[np.uint64], lengths: npt.NDArray[np.int64], n: int) -> int:
    """Characters in grams that occurred before, no word counted twice.

    Reading goes on behind a repeated gram, and what lies across its border is not taken for a gram that was seen.
    """
    ordered = np.sort(grams)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(repeated):
        return 0
    places = np.flatnonzero(np.isin(grams, repeated))
    seen: set[int] = set()
    characters, resume = 0, 0
    for place, gram, length in zip(places.tolist(), grams[places].tolist(), lengths[places].tolist(), strict=True):
        if place < resume:
            continue
        if gram in seen:
            characters += length
            resume = place + n
        else:
            seen.add(gram)
    return characters


def _over(rule: str, share: float, most: float) -> Removal | None:
    return Removal(rule, share, most) if most and share > most else None
