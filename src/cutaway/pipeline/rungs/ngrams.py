"""Rung 7: n-grams. What becomes of counts, and what of a network that reads as far back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from cutaway.evals.bits_per_byte import BitsPerByte
from cutaway.evals.charts import Chart, Point, Reference, Series, draw
from cutaway.evals.markdown import markdown_table
from cutaway.evals.plates import heatmap
from cutaway.ladder.add_one import AddOne
from cutaway.ladder.counting import Grams, count_grams
from cutaway.ladder.katz import K, discounts, good_turing, katz
from cutaway.ladder.maximum_likelihood import maximum_likelihood
from cutaway.ladder.neural_ngram import NeuralNgram
from cutaway.ladder.ngram import KneserNey
from cutaway.ladder.protocol import SequenceModel
from cutaway.pipeline.rungs.language import (
    LearningSettings,
    RunningText,
    curve,
    files_of,
    forget_checkpoints,
    keep,
    learn,
    n_parameters,
    running_text,
)
from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.pipeline.stage import StageContext
from cutaway.runs import Progress, Result
from cutaway.tokens import Tokenizer
from cutaway.train.objectives.next_token import NextToken

NAME = "ngrams"
COUNTED: dict[str, Callable[[Sequence[Grams], int], SequenceModel]] = {
    "plain": maximum_likelihood,
    "add_one": AddOne,
    "katz": katz,
    "kneser_ney": KneserNey.of,
}
TITLES = {"plain": "plain counts", "add_one": "add-one", "katz": "Katz", "kneser_ney": "Kneser–Ney"}
SHOWN = 27
"""Characters in the pictures: the commonest."""


class NgramsSettings(LearningSettings):
    """How far back to count, and the network's size."""

    order: int = Field(default=8, ge=2, le=16)
    """Length of the longest n-grams that are counted."""
    neural_order: int = Field(default=8, ge=2)
    """Length of the n-grams that the network reads and completes."""
    width: int = Field(default=16, ge=2)
    """Of each token's vector."""
    hidden: int = Field(default=256, ge=1)
    """Units of the network's hidden layer."""
    direct: bool = False
    """Whether the network's inputs reach its outputs directly too."""
    lr: float = Field(default=0.004, gt=0)
    """Its peak learning rate."""
    tokens: int = Field(default=1_500_000, ge=1)
    """Tokens that the network reads."""


@dataclass(frozen=True)
class Measured:
    """What came of the counted models, each list by order from 1 up, and of the network."""

    counted: dict[str, list[float]]
    """Bits per byte of each."""
    unforetold: list[float]
    """The share of held-out tokens that plain counts hold to be impossible."""
    samples: list[str]
    """What Kneser–Ney writes."""
    neural: BitsPerByte
    parameters: int
    curve: list[Point]


def climb(context: StageContext[NgramsSettings]) -> Found:
    """Count, smooth in four ways at every order, train the network, and measure all on the held-out text."""
    settings, seed, directory = context.settings, context.seed, context.directory
    text = running_text(settings, directory / "model")
    vocab_size = text.tokenizer.vocab_size
    grams = count_grams([text.ids], settings.order, vocab_size=vocab_size)
    counted = measure_counted(text, grams, context.progress)
    orders = range(1, len(grams) + 1)
    best = KneserNey.of(grams, vocab_size)
    keep(directory, "kneser_ney", {name: torch.from_numpy(array) for name, array in best.arrays().items()})

    torch.manual_seed(seed)
    network = NeuralNgram(
        vocab_size, settings.neural_order, settings.width, settings.hidden, direct=settings.direct
    )  # fmt: skip
    metrics = learn(context, text, "neural", network, settings.loop(settings.lr), NextToken())
    keep(directory, "neural", network.state_dict())
    forget_checkpoints(directory)

    measured = Measured(
        counted=counted,
        unforetold=[impossible(maximum_likelihood(grams[:n], vocab_size), text) for n in orders],
        samples=[text.written_by(KneserNey.of(grams[:n], vocab_size), seed) for n in orders],
        neural=text.measured(network),
        parameters=n_parameters(network),
        curve=curve(metrics),
    )
    pictures = {"orders": orders_chart(measured, settings.neural_order)}
    data: dict[str, Any] = {
        "bits_per_byte": {name: [x if np.isfinite(x) else None for x in line] for name, line in counted.items()},
        "unforetold": measured.unforetold,
        "neural": {"order": settings.neural_order, "bits_per_byte": measured.neural.value, "curve": measured.curve},
    }
    if settings.tokenizer.kind == "characters":
        shown = sorted(each for each, _ in Counter(text.training).most_common(SHOWN))
        after = following(maximum_likelihood(grams[:2], vocab_size), text.tokenizer, shown)
        alike = likeness(network.output.weight[[text.tokenizer.encode(each)[0] for each in shown]])
        pictures |= {"bigrams": bigrams_plate(after, shown), "vectors": vectors_plate(alike, shown)}
        data |= {"characters": shown, "bigrams": after.tolist(), "likeness": alike.tolist()}
    found = results(measured, seed)
    return Found(
        found, said(text, settings, measured), report(text, settings, grams, measured, pictures), pictures, data
    )


def measure_counted(text: RunningText, grams: Sequence[Grams], progress: Progress) -> dict[str, list[float]]:
    """Every counted model at every order: bits per byte of the held-out text."""
    found: dict[str, list[float]] = {name: [] for name in COUNTED}
    done = 0
    with progress.task("smooth", len(COUNTED) * len(grams), "models") as task:
        for order in range(1, len(grams) + 1):
            for name, make in COUNTED.items():
                found[name].append(text.measured(make(grams[:order], text.tokenizer.vocab_size)).value)
                done += 1
                task.update(done, bpb=found[name][-1])
    return found


def impossible(model: SequenceModel, text: RunningText) -> float:
    """The share of held-out tokens that a model gives no probability."""
    tokens = [text.tokenizer.end_of_text, *text.tokenizer.encode(text.heldout)]
    return float(np.isneginf(model.log_probs(tokens)[1:]).mean())


def following(model: SequenceModel, tokenizer: Tokenizer, shown: Sequence[str]) -> NDArray[np.float64]:
    """P(column's character | row's character)."""
    ids = [tokenizer.encode(each)[0] for each in shown]
    return np.stack([model.probabilities([each])[ids] for each in ids])


def likeness(vectors: Tensor) -> NDArray[np.float64]:
    """The cosine between each two of some vectors `[row, width]`, once their mean is taken from them: `[row, row]`."""
    centred = vectors.detach().double() - vectors.detach().double().mean(0)
    return F.cosine_similarity(centred[:, None], centred[None], dim=-1).numpy()


def chain(alike: NDArray[np.float64]) -> list[int]:
    """Rows in such an order that each stands beside one like it: from the first on, always the likest of those left."""
    order, left = [0], set(range(1, len(alike)))
    while left:
        order.append(max(sorted(left), key=lambda row: alike[order[-1], row]))
        left.remove(order[-1])
    return order


def bigrams_plate(after: NDArray[np.float64], shown: Sequence[str]) -> str:
    """Which character follows which."""
    names = [seen(each) for each in shown]
    return heatmap(
        after,
        "P(column follows row): the bigrams of plain counts",
        rows=names,
        columns=names,
        scale="share",
        limit=float(after.max()),
        cell=15,
    )


def vectors_plate(alike: NDArray[np.float64], shown: Sequence[str]) -> str:
    """Which characters the network holds to be like which: by their rows of U, with which logits are made."""
    order = chain(alike)
    names = [seen(shown[row]) for row in order]
    # Each is like itself; grey leaves the scale to the others.
    others = np.where(np.eye(len(alike)) > 0, np.nan, alike)[np.ix_(order, order)]
    title = "Cosine of the network's output vectors: what it expects in like places"
    return heatmap(others, title, rows=names, columns=names, limit=0.5, cell=15)


def seen(character: str) -> str:
    """A character as a picture can show it."""
    return {" ": "␣", "\n": "↵", "\t": "⇥"}.get(character, character)


def orders_chart(measured: Measured, neural_order: int) -> str:
    """Bits per byte over order; plain counts, infinite at nearly all, are left out."""
    series = [
        Series(TITLES[name], [(float(n), value) for n, value in enumerate(measured.counted[name], start=1)], ink)
        for name, ink in (("add_one", "soft"), ("katz", "a"), ("kneser_ney", "b"))
    ]
    reference = Reference(f"neural {neural_order}-gram", measured.neural.value)
    title = "Bits per byte of held-out text, by order n"
    return draw(Chart(title, series, "n", references=[reference], x_format=lambda n: f"{n:.0f}"))


def results(measured: Measured, seed: int) -> list[Result]:
    """Each model's figure at its best order."""
    size = measured.neural.bytes
    best = {name: min(line) for name, line in measured.counted.items()} | {"neural": measured.neural.value}
    found = [
        Result(NAME, f"bits_per_byte/{name}", value, "bits/byte", size, seed, higher_is_better=False)
        for name, value in best.items()
    ]
    n = measured.neural.tokens
    found.append(Result(NAME, "unforetold", measured.unforetold[-1], "share", n, seed, higher_is_better=False))
    return found


def said(text: RunningText, settings: NgramsSettings, measured: Measured) -> list[str]:
    """The main figures."""
    best = ", ".join(
        f"{TITLES[name]} {min(line):.3f} (n = {1 + int(np.argmin(line))})" for name, line in measured.counted.items()
    )
    return [
        f"bits per byte of the last {measured.neural.bytes:,} bytes of {text.name}: {best}",
        f"the neural {settings.neural_order}-gram of {measured.parameters:,} weights: {measured.neural.value:.3f}",
    ]


def report(
    text: RunningText,
    settings: NgramsSettings,
    grams: Sequence[Grams],
    measured: Measured,
    pictures: Mapping[str, str],
) -> str:
    """The rung's report."""
    rows = [
        (str(n), f"{len(each.keys):,}", f"{share:.2%}", *(f"{line[n - 1]:.3f}" for line in measured.counted.values()))
        for n, (each, share) in enumerate(zip(grams, measured.unforetold, strict=True), start=1)
    ]
    head = ["n", "different n-grams", "tokens impossible to plain counts", *TITLES.values()]
    samples = [(str(n), sample) for n, sample in enumerate(measured.samples, start=1)]
    about = (
        f"Counted on {len(text.ids):,} tokens of {text.name}, measured on the {measured.neural.bytes:,} bytes after "
        "them, in bits per byte. Each token is foretold from the n − 1 before it."
    )
    network = (
        f"A neural {settings.neural_order}-gram of {measured.parameters:,} weights, trained on {settings.tokens:,} "
        f"tokens, needs **{measured.neural.value:.3f}**."
    )
    parts = [about, markdown_table(head, rows), network, "![](orders.svg)", *discounted(grams)]
    parts += [f"![]({name}.svg)" for name in pictures if name != "orders"]
    parts += ["What Kneser–Ney writes:", markdown_table(["n", "text"], samples, text_columns=2)]
    return "\n\n".join(parts)


def discounted(grams: Sequence[Grams]) -> list[str]:
    """Good and Turing's figures for the trigrams, or what there is; nothing if these are too few."""
    length = min(3, len(grams))
    counts = grams[length - 1].counts
    occurring = [int(np.count_nonzero(counts == r)) for r in range(1, K + 2)]
    given = discounts(counts)
    if not all(occurring):
        return []
    rows = [
        (str(r), f"{occurring[r - 1]:,}", f"{again:.3f}", f"{given[r - 1]:.3f}" if r <= len(given) else "1")
        for r, again in enumerate(good_turing(occurring), start=1)
    ]
    about = (
        f"How many {length}-grams occur r times, how often Good and Turing expect each of them in as much other text "
        "(r*), and what Katz multiplies their counts by (d):"
    )
    return [about, markdown_table(["r", "n_r", "r*", "d(r)"], rows, text_columns=0)]


RUNG = Rung(
    NAME, "n-grams: counting, smoothing, and the first network that reads as far back", NgramsSettings, climb, files_of
)
