"""Rung 6: which texts to stop. A filter written by hand beside networks with one output, and a threshold to choose."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cutaway.pipeline.rungs.labelled_texts import read_labelled
from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.pipeline.rungs.spam_filters import bag_of_words, by_hand, embeddings, naive_bayes, parted, tf_idf
from cutaway.pipeline.rungs.spam_measures import Comparison, measured
from cutaway.pipeline.rungs.spam_report import pictures, report, said
from cutaway.pipeline.stage import StageContext
from cutaway.runs import Result, Settings

NAME = "spam"


class SpamSettings(Settings):
    """Texts with labels, how they are read, and what a mistake costs."""

    data: Path | None = None
    """A zip of NLTK's sentence_polarity, subjectivity or movie_reviews; SMSSpamCollection; or a table with `text` and
    `label`. None: clauses of two Bibles, of which the King James Version's are to be found."""
    wanted: str | None = None
    """The label to find. None: "spam", "pos", "subjective", ..., if one of these is there."""
    most: int = Field(default=20_000, ge=200)
    """Texts that are read."""
    share: float = Field(default=0.2, gt=0, lt=1)
    """Of the built-in texts, how many are to be found. Data of one's own are taken as they are."""
    rules: tuple[str, ...] = ()
    """Regular expressions of one's own, a point each, in place of the rules by hand."""
    false_alarm: float = Field(default=10.0, gt=0)
    """How many texts missed are as bad as one stopped wrongly."""
    vocabulary: int = Field(default=20_000, ge=1)
    """Words that count: the most frequent of those in at least two texts."""
    width: int = Field(default=32, ge=1)
    """Numbers in a word's embedding."""
    hidden: int = Field(default=32, ge=1)
    """ReLUs between the averaged embedding and the output."""
    epochs: int = Field(default=6, ge=1)
    """Times that the averaged embeddings are trained on every text; the best of them is kept."""


def climb(context: StageContext[SpamSettings]) -> Found:
    """Make the filters, choose scales and thresholds on one part of the texts, and measure on another."""
    settings, seed, progress = context.settings, context.seed, context.progress
    data = read_labelled(
        settings.data, settings.wanted, most=settings.most, share=settings.share, rules=settings.rules, seed=seed
    )
    parts = parted(data, settings.vocabulary, seed)
    filters = [by_hand(data, parts)] if data.rules else []
    filters += [naive_bayes(parts), bag_of_words(parts, progress), tf_idf(parts, progress)]
    filters.append(embeddings(parts, settings.width, settings.hidden, settings.epochs, seed, progress))
    found = [measured(one, parts, settings.false_alarm, seed) for one in filters]
    comparison = Comparison(data, parts, found, settings.false_alarm)
    results = [
        Result(NAME, f"{metric}/{one.filter.name}", value, unit, len(parts.test.texts), seed, up)
        for one in found
        for metric, value, unit, up in one.figures()
    ]
    return Found(results, said(comparison), report(comparison), pictures(comparison), comparison.as_json())


RUNG = Rung(
    NAME, "Spam or not", SpamSettings, climb, lambda settings: () if settings.data is None else (settings.data,)
)
