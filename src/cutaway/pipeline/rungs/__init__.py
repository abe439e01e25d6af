"""The ladder: what led to the transformer, a rung a file, each a run of its own."""

from __future__ import annotations

import difflib
from importlib import import_module

from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.runs import BadInput

TITLES: dict[str, str] = {
    "neuron": "One neuron and one layer: weights, bias, activation; a one-hot input picks a row",
    "autograd": "Autograd: an engine that records what it computes and finds every gradient; its graph, drawn",
    "backprop": "Backpropagation by hand: four equations, three levers, and a whole transformer block",
    "digits": "Digits: the 784-16-16-10 network, what takes it further, and a convolutional network",
    "landscape": "A cost landscape: slices through it, the way down, saddle points and minima",
    "spam": "Spam or not: rules by hand, naive Bayes, bags of words, embeddings; calibration and a threshold to choose",
    "ngrams": "n-grams: counting, smoothing, and the first network that reads as far back",
    "words": "Word vectors: skip-gram and CBOW, analogies with honest ranks, directions, the bias of a text",
    "recurrent": "Recurrent networks: RNN, LSTM, GRU, and how far back their gradients reach",
    "translation": "Translation: one fixed vector, attention between two RNNs, and the Transformer of 2017",
    "arithmetic": "An arithmetic transformer: what notation and tokens do to what it learns",
    "table": "The table: from counts to the transformer, every model on the same bytes",
}
"""The rungs from the lowest up, and what each is about."""
LADDER = "ladder/"
"""How the kind of a rung's recipe begins: its name follows."""


def rung_named(name: str) -> Rung:
    """A rung; its module is only imported now.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in TITLES:
        near = difflib.get_close_matches(name, TITLES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the rungs are {', '.join(TITLES)}"
        raise BadInput(f"the ladder has no rung {name!r}; {hint}")
    return import_module(f"{__name__}.{name}").RUNG


__all__ = ["LADDER", "TITLES", "Found", "Rung", "rung_named"]
