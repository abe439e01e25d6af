"""The five filters of rung 6, each made from the same texts: one by hand, one counted, three learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutaway.ladder.bag_of_words import Bags, Vocabulary, shares
from cutaway.ladder.classify_text import AveragedEmbeddings, OneNeuron, counted, descended, learned, log_odds
from cutaway.ladder.neuron import cross_entropy
from cutaway.ladder.rule_filter import points
from cutaway.pipeline.rungs.labelled_texts import LabelledTexts
from cutaway.runs import BadInput, Progress

Floats = npt.NDArray[np.float64]

SHARES = (0.7, 0.15, 0.15)
"""Of the groups of texts: those that are learned from, that choices are made by, and that are tested on."""
DECAYS = (0.01, 0.1, 1.0, 10.0)
"""Decays that are tried, times one over the number of texts: 1 is scikit-learn's C = 1, 0.1 its C = 10, and so on."""


@dataclass(frozen=True)
class Part:
    """Some of the texts, their bags of counts, and 1 for those to be stopped, else 0."""

    texts: list[str]
    counts: Bags
    targets: Floats


@dataclass(frozen=True)
class Parts:
    """The texts in three parts, and the vocabulary of the first."""

    learn: Part
    choose: Part
    test: Part
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Filter:
    """A filter, and what it says of the texts that it has not learned from.

    Attributes:
        name: for figures.
        title: for people.
        made: of what it consists.
        on_choose: its scores of the texts to choose by, `[text]`.
        on_test: its scores of the texts to be tested on, `[text]`.
        probable: whether sigmoid(score) is meant as a probability.
        weights: how much each word of the vocabulary speaks for stopping, if that is a single number.
    """

    name: str
    title: str
    made: str
    on_choose: Floats
    on_test: Floats
    probable: bool = True
    weights: Floats | None = None


def parted(data: LabelledTexts, most_words: int, seed: int) -> Parts:
    """The three parts, no group of texts in two of them.

    Raises:
        BadInput: a part would be all of one kind, or no word occurs twice.
    """
    names = sorted(set(data.groups))
    drawn = np.random.default_rng(seed).random(len(names))
    which = dict(zip(names, np.searchsorted(np.cumsum(SHARES)[:-1], drawn).tolist(), strict=True))
    rows = [[i for i, group in enumerate(data.groups) if which[group] == part] for part in range(len(SHARES))]
    texts = [[data.texts[i] for i in part] for part in rows]
    vocabulary = Vocabulary(texts[0], most_words, at_least=2)
    if not len(vocabulary):
        raise BadInput(f"no word is in two of the {len(texts[0])} texts to learn from; give more texts, or longer ones")
    learn, choose, test = (
        Part(some, vocabulary.counts(some), data.targets[at]) for some, at in zip(texts, rows, strict=True)
    )
    for part in (learn, choose, test):
        if not 0 < part.targets.sum() < len(part.targets):
            raise BadInput(f"a part of {len(part.targets)} texts is all of one kind; give more texts, or another seed")
    return Parts(learn, choose, test, vocabulary)


def by_hand(data: LabelledTexts, parts: Parts) -> Filter:
    """Points by rules, which somebody wrote; they are no probability."""
    choose, test = (np.array([points(text, data.rules) for text in part.texts]) for part in (parts.choose, parts.test))
    return Filter("rules", "Rules by hand", f"{len(data.rules)} rules", choose, test, probable=False)


def naive_bayes(parts: Parts) -> Filter:
    """One neuron on counts, its weights counted."""
    network = counted(parts.learn.counts, parts.learn.targets, len(parts.vocabulary))
    return _filter("naive_bayes", "Naive Bayes", "counted", network, parts.choose.counts, parts.test.counts)


def bag_of_words(parts: Parts, progress: Progress) -> Filter:
    """One neuron on counts, its weights learned."""
    bags = [part.counts for part in (parts.learn, parts.choose, parts.test)]
    return _learned("bag_of_words", "Bag of words", bags, parts, progress)


def tf_idf(parts: Parts, progress: Progress) -> Filter:
    """One neuron on TF-IDF, its weights learned."""
    bags = [parts.vocabulary.tf_idf(part.counts) for part in (parts.learn, parts.choose, parts.test)]
    return _learned("tf_idf", "TF-IDF", bags, parts, progress)


def embeddings(parts: Parts, width: int, hidden: int, epochs: int, seed: int, progress: Progress) -> Filter:
    """Averaged embeddings, `width` numbers a word, through `hidden` ReLUs to one neuron."""
    learn, choose, test = (shares(part.counts) for part in (parts.learn, parts.choose, parts.test))
    network = AveragedEmbeddings(len(parts.vocabulary), width, hidden, seed)
    with progress.task("embeddings", epochs, "epochs") as task:
        descended(
            network,
            learn,
            parts.learn.targets,
            (choose, parts.choose.targets),
            epochs=epochs,
            seed=seed,
            watch=lambda epoch, loss, held: task.update(epoch + 1, loss=loss, val_loss=held),
        )
    size = sum(parameter.numel() for parameter in network.parameters())
    scores = (log_odds(network, choose), log_odds(network, test))
    return Filter("embeddings", "Averaged embeddings", f"{size:,} weights", *scores)


def _learned(name: str, title: str, bags: list[Bags], parts: Parts, progress: Progress) -> Filter:
    """Of the neurons learned with each decay the one that the texts to choose by surprise least."""
    learn, choose, test = bags
    found: list[tuple[float, float, OneNeuron]] = []
    with progress.task(name, len(DECAYS), "decays") as task:
        for number, decay in enumerate(DECAYS, 1):
            network = learned(learn, parts.learn.targets, len(parts.vocabulary), decay / len(learn))
            loss = cross_entropy(log_odds(network, choose), parts.choose.targets)
            found.append((loss, decay, network))
            task.update(number, val_loss=loss)
    _, decay, network = min(found, key=lambda one: one[0])
    return _filter(name, title, f"decay {decay:g}/texts", network, choose, test)


def _filter(name: str, title: str, how: str, network: OneNeuron, choose: Bags, test: Bags) -> Filter:
    made = f"{len(network.weights) + 1:,} weights, {how}"
    return Filter(name, title, made, log_odds(network, choose), log_odds(network, test), weights=network.weights)
