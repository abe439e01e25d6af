"""Pages that are no prose: too short or long, of odd words, hashes, bullets, or without common English words.

Rae et al., "Scaling language models: methods, analysis and insights from training Gopher" (2021), section A1.1; in the
order and with the words of datatrove's filter of the same name, with which every decision agrees.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cutaway.corpus.page import Page, Removal
from cutaway.corpus.steps.words import Words, WordSettings, shared_words

_MARK, _LETTER = 1, 2


class GopherQualitySettings(WordSettings):
    """What a page must be like; 0 turns a rule off."""

    min_words: int = 50
    """Words that are not only marks."""
    max_words: int = 100_000
    min_word_length: float = 3.0
    """Mean length in characters of the words that are not only marks."""
    max_word_length: float = 10.0
    max_symbols: float = 0.1
    """Hash signs, and ellipses, per word."""
    max_bullet_lines: float = 0.9
    """Share of lines that begin with a bullet or a hyphen."""
    max_ellipsis_lines: float = 0.3
    """Share of lines that end with an ellipsis."""
    min_letter_words: float = 0.8
    """Share of words with at least one letter."""
    min_stop_words: int = 2
    """Different ones of `stop_words` that must occur."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")


class GopherQualityFilter:
    """Removes a page by the first rule that it breaks."""

    name = "gopher_quality"

    def __init__(self, settings: GopherQualitySettings) -> None:
        self._settings = settings
        self._stop_words = frozenset(settings.stop_words)
        self._words = shared_words(settings)

    def __call__(self, page: Page) -> Removal | None:
        """See `Step`. The rules' names are datatrove's."""
        words = self._words(page.text)
        return (
            self._of_words(words)
            or self._of_symbols(page.text, len(words))
            or self._of_lines(page.text)
            or self._of_vocabulary(words)
        )

    def _of_words(self, words: Words) -> Removal | None:
        settings = self._settings
        kinds = word_kinds(words)
        real = words.joined.gram_lengths(1)[(kinds & _MARK) == 0]
        count = len(real)
        if settings.min_words and count < settings.min_words:
            return Removal("gopher_short_doc", count, settings.min_words)
        if settings.max_words and count > settings.max_words:
            return Removal("gopher_long_doc", count, settings.max_words)
        mean = int(real.sum()) / count if count else 0.0
        if settings.min_word_length and mean < settings.min_word_length:
            return Removal("gopher_below_avg_threshold", mean, settings.min_word_length)
        if settings.max_word_length and mean > settings.max_word_length:
            return Removal("gopher_above_avg_threshold", mean, settings.max_word_length)
        return None

    def _of_symbols(self, text: str, words: int) -> Removal | None:
        most = self._settings.max_symbols
        if not most or not words:
            return None
        if (hashes := text.count("#") / words) > most:
            return Removal("gopher_too_many_hashes", hashes, most)
        if (ellipses := (text.count("...") + text.count("…")) / words) > most:
            return Removal("gopher_too_many_ellipsis", ellipses, most)
        return None

    def _of_lines(self, text: str) -> Removal | None:
        settings, lines = self._settings, text.splitlines()
        if not lines:
            return None
        bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines)
        if settings.max_bullet_lines and bullets > settings.max_bullet_lines:
            return Removal("gopher_too_many_bullets", bullets, settings.max_bullet_lines)
        ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines)
        if settings.max_ellipsis_lines and ellipses > settings.max_ellipsis_lines:
            return Removal("gopher_too_many_end_ellipsis", ellipses, settings.max_ellipsis_lines)
        return None

    def _of_vocabulary(self, words: Words) -> Removal | None:
        settings = self._settings
        letters = np.count_nonzero(word_kinds(words) & _LETTER) / max(len(words), 1)
        if settings.min_letter_words and letters < settings.min_letter_words:
            return Removal("gopher_below_alpha_threshold", letters, settings.min_letter_words)
        found: set[str] = set()
        for word in words.words:
            if len(found) >= settings.min_stop_words:
                return None
            if word in self._stop_words:
                found.add(word)
        if len(found) < settings.min_stop_words:
            return Removal("gopher_enough_stop_words", len(found), settings.min_stop_words)
        return None


def word_kinds(words: Words) -> npt.NDArray[np.uint8]:
    """Of each word whether it is only marks (1) and whether it has a letter (2), added: shape [words]."""
    if not len(words):
        return np.zeros(0, dtype=np.uint8)
    kinds = _character_kinds()[words.joined.characters]
    starts = words.joined.borders[:-1]
    only_marks = np.bitwise_and.reduceat(kinds, starts) & _MARK
    return (only_marks | (np.bitwise_or.reduceat(kinds, starts) & _LETTER)).astype(np.uint8)


@lru_cache(maxsize=1)
def _character_kinds() -> npt.NDArray[np.uint8]:
    """Of each character of Unicode whether it is a mark, as datatrove has it, and whether it is a letter."""
    from cutaway.corpus.steps.simplified import MARKS

    letters = np.fromiter((chr(code).isalpha() for code in range(0x110000)), dtype=bool, count=0x110000)
    kinds = np.where(letters, np.uint8(_LETTER), np.uint8(0))
    kinds[[ord(mark) for mark in MARKS]] |= _MARK
    return kinds
