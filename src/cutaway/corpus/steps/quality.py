"""A hook for a classifier of quality: pages whose score is below a threshold go.

What good text is like is learnt, not ruled: FineWeb-Edu (Penedo et al. 2024) and DCLM (Li et al. 2024) each keep what a
small classifier scores highly. No such model comes with this package. Give either

    scorer = "my_package.my_module:score"    # a function of your own, text -> number, called once a page
    model = "quality.bin"                    # a fastText classifier; the score is the probability of `label`

A scorer is code that runs as you; a model file is only read.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from pydantic import model_validator

from cutaway.corpus.page import Page, Removal
from cutaway.runs import Settings
from cutaway.runs.errors import BadInput


class QualitySettings(Settings):
    """Where scores come from and which are enough. With neither scorer nor model the step does nothing."""

    scorer: str | None = None
    """A Python function of a page's text that returns a number, as "module:function"."""
    model: str | None = None
    """A fastText model file (.bin or .ftz)."""
    label: str = "__label__hq"
    """The fastText label of good pages."""
    threshold: float = 0.5
    """The least score of a page that stays."""

    @model_validator(mode="after")
    def _not_both(self) -> QualitySettings:
        if self.scorer and self.model:
            raise ValueError("give a scorer or a model, not both")
        return self


class QualityFilter:
    """Removes pages that score below the threshold, or whose score is not a number."""

    name = "quality"

    def __init__(self, settings: QualitySettings) -> None:
        """Raises `BadInput` where the scorer or the model cannot be loaded."""
        self._threshold = settings.threshold
        if settings.scorer:
            self._score = _function(settings.scorer)
        elif settings.model:
            self._score = _fasttext(Path(settings.model), settings.label)
        else:
            self._score = None

    def __call__(self, page: Page) -> Removal | None:
        """See `Step`."""
        if self._score is None:
            return None
        score = float(self._score(page.text))
        return None if score >= self._threshold else Removal("quality", score, self._threshold)


def _function(reference: str) -> Callable[[str], float]:
    module, colon, name = reference.partition(":")
    if not colon or not module or not name:
        raise BadInput(f'the quality scorer "{reference}" should be "module:function"')
    try:
        function: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadInput(f'the quality scorer "{reference}" cannot be loaded: {error}') from None
    if not callable(function):
        raise BadInput(f'the quality scorer "{reference}" is no function')
    return cast("Callable[[str], float]", function)


def _fasttext(path: Path, label: str) -> Callable[[str], float]:
    if not path.is_file():
        raise BadInput(f"there is no fastText model at {path}")
    try:
        import fasttext
    except ImportError:
        raise BadInput("a fastText model needs a package: pip install 'cutaway[corpus]'") from None
    try:
        model: Any = fasttext.load_model(str(path))
    except ValueError as error:
        raise BadInput(f"{path} is no fastText model: {error}") from None

    def score(text: str) -> float:
        labels, chances = model.predict(" ".join(text.split()), k=-1)
        return min(float(dict(zip(labels, chances, strict=True)).get(label, 0.0)), 1.0)

    return score
