"""Lines that are no sentences leave a page, and pages with placeholder text, code or too few sentences go.

Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer" (2020), section 2.2,
with what its code added: citations, words of more than 1,000 characters, notes on cookies and terms of use. In the
order of datatrove's filter, with which decisions and texts agree; the defaults are FineWeb's, which keeps lines
without a full stop.
"""

from __future__ import annotations

import re

from cutaway.corpus.page import Page, Removal
from cutaway.corpus.steps.sentences import count_sentences
from cutaway.corpus.steps.words import WordSettings, shared_words

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_END_MARKS = (".", "?", "!", '"', "'")
_POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_LOREM_IPSUM, _JAVASCRIPT = "lorem ipsum", "javascript"


class C4Settings(WordSettings):
    """Which lines stay, and which pages."""

    remove_citations: bool = True
    """Wikipedia's [1], [edit] and [citation needed] are taken out of lines."""
    need_end_mark: bool = False
    """Lines must end with one of . ? ! and quotation marks. C4 has it so; FineWeb found that it removes too much."""
    min_sentences: int = 5
    """In the lines that stay, or else the page goes; -1: no such rule."""
    min_line_words: int = 3
    """-1: no such rule."""
    max_word_length: int = 1_000
    """Characters; a line with a longer word goes; -1: no such rule."""
    no_lorem_ipsum: bool = True
    """Pages with the words go."""
    no_javascript: bool = True
    """Lines with the word go."""
    no_curly_bracket: bool = True
    """Pages with { go."""
    no_policy: bool = True
    """Lines on cookies, privacy and terms of use go."""


class C4Filter:
    """Takes lines out of a page and removes a page by the first rule that it breaks."""

    name = "c4"

    def __init__(self, settings: C4Settings) -> None:
        self._settings = settings
        self._words = shared_words(settings)

    def __call__(self, page: Page) -> Removal | None:
        """See `Step`. The rules' names are datatrove's; the text changes only if the page stays."""
        settings = self._settings
        kept: list[str] = []
        for line in page.text.splitlines():
            line = self._clean(line.strip())
            if line is None:
                continue
            lower = line.lower()
            if settings.no_lorem_ipsum and _LOREM_IPSUM in lower:
                return Removal("lorem_ipsum", 1, 0)
            if settings.no_javascript and _JAVASCRIPT in lower:
                continue
            if settings.no_curly_bracket and "{" in line:
                return Removal("curly_bracket", 1, 0)
            if settings.no_policy and any(phrase in lower for phrase in _POLICIES):
                continue
            kept.append(line)
        sentences = self._sentences(kept)
        if sentences < settings.min_sentences:
            return Removal("too_few_sentences", sentences, settings.min_sentences)
        page.text = "\n".join(kept).strip()
        return None

    def _clean(self, line: str) -> str | None:
        """The line without citations; None where its words or its end disqualify it."""
        settings, longest = self._settings, self._settings.max_word_length
        if longest != -1 and len(line) > longest and any(len(word) > longest for word in line.split()):
            return None
        # Words are counted before citations go.
        least = settings.min_line_words
        few = least > 0 and len(line.split(None, least - 1)) < least
        if settings.remove_citations and "[" in line:
            line = _CITATION.sub("", line)
        if settings.need_end_mark and (not line.endswith(_END_MARKS) or line.endswith("...")):
            return None
        return None if few else line

    def _sentences(self, lines: list[str]) -> int:
        """The sentences of all lines, or as many as are enough: no line has none, so that most pages need no count."""
        enough, count = self._settings.min_sentences, len(lines)
        for line in lines:
            if count >= enough:
                break
            count += count_sentences(line, self._words, enough - count + 1) - 1
        return count
