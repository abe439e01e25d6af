"""Yes or no of a text: networks that end in one neuron.

All read bags of words. A bag times a layer's weights is the sum of the rows of its words (`neuron.one_hot` says why),
so their first layer is a table with a row for each word, summed by the bag's weights: `nn.EmbeddingBag`.

    OneNeuron           z = sum over words of w(word, text) row(word) + b, a row being one number: how much the word
                        speaks for yes. Weights learned are logistic regression (Cox 1958); counted, naive Bayes.
    AveragedEmbeddings  a row is a vector; the text's vector is its words' average, passed through a layer of ReLUs
                        to the one output neuron: a deep averaging network (Iyyer et al. 2015).

Why the layer of ReLUs? Without it z = average(row(word)) . v + b = average(row(word) . v) + b, which is OneNeuron
again: of each word's vector no more than the one number row(word) . v counts. With it, words can answer to one another.

z is the logarithm of the odds of yes, p / (1 - p); sigmoid(z) is p.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.ladder.bag_of_words import Bags

Floats = npt.NDArray[np.float64]


class OneNeuron(nn.Module):
    """A weight for each word of a vocabulary, and a bias; all nought to begin with."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.rows = nn.EmbeddingBag(vocabulary, 1, mode="sum", include_last_offset=True, dtype=torch.float64)
        self.bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        nn.init.zeros_(self.rows.weight)

    def forward(self, bags: Bags) -> Tensor:
        """The z of each text: `[text]`."""
        return _summed(self.rows, bags)[:, 0] + self.bias

    @property
    def weights(self) -> Floats:
        """How much each word speaks for yes: `[word]`."""
        return self.rows.weight.detach()[:, 0].numpy()


class AveragedEmbeddings(nn.Module):
    """Words' vectors averaged, a layer of ReLUs, one output. The bags' weights must be shares, to make the average."""

    def __init__(self, vocabulary: int, width: int, hidden: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.rows = nn.EmbeddingBag(vocabulary, width, mode="sum", include_last_offset=True)
            self.hidden = nn.Linear(width, hidden)
            self.output = nn.Linear(hidden, 1)
            nn.init.normal_(self.rows.weight, std=0.1)

    def forward(self, bags: Bags) -> Tensor:
        """The z of each text: `[text]`."""
        return self.output(F.relu(self.hidden(_summed(self.rows, bags))))[:, 0]


def _summed(rows: nn.EmbeddingBag, bags: Bags) -> Tensor:
    """Of each text the weighted sum of its words' rows: `[text, width]`."""
    weights = torch.from_numpy(bags.weights).to(rows.weight.dtype)
    return rows(torch.from_numpy(bags.ids), torch.from_numpy(bags.starts), per_sample_weights=weights)


def log_odds(network: nn.Module, bags: Bags) -> Floats:
    """The z of each text, without anything being recorded for descent: `[text]`."""
    with torch.no_grad():
        return network(bags).double().numpy()


def counted(counts: Bags, targets: Floats, vocabulary: int) -> OneNeuron:
    """Naive Bayes (Maron 1961; on mail, Sahami et al. 1998): a neuron whose weights are counted, not learned.

    By Bayes' rule the log-odds of yes are those before anything is read, plus, if words came independently of each
    other, for each word

        weight = log P(word | yes) - log P(word | no),
        P(word | c) = (1 + count of the word in c) / (number of different words + count of all words in c).

    Words do not come independently: "thou" and "shalt" tell the same twice, and both are added. So naive Bayes is
    far too sure of itself, though often right.
    """
    network = OneNeuron(vocabulary)
    yes = np.repeat(targets, np.diff(counts.starts)) > 0.5
    share: list[Floats] = []
    for those in (~yes, yes):
        found = np.bincount(counts.ids[those], weights=counts.weights[those], minlength=vocabulary) + 1
        share.append(found / found.sum())
    with torch.no_grad():
        network.rows.weight[:, 0] = torch.from_numpy(np.log(share[1]) - np.log(share[0]))
        network.bias[0] = float(np.log(targets.sum()) - np.log(len(targets) - targets.sum()))
    return network


def learned(bags: Bags, targets: Floats, vocabulary: int, decay: float, tolerance: float = 1e-6) -> OneNeuron:
    """The neuron whose weights have the lowest loss there is,

        mean cross-entropy of the targets (0 or 1, `[text]`)  +  decay / 2 * sum of squared weights.

    Without the second term a word found in a single text would get as large a weight as makes that text certain. The
    loss is convex, so any descent ends at the same place; L-BFGS (Liu and Nocedal 1989) looks at all texts at once,
    guesses the valley's curvature from its last steps, and is there in some dozens. It stops where no slope of the
    loss is above `tolerance`.
    """
    network = OneNeuron(vocabulary)
    wanted = torch.from_numpy(targets)
    optimizer = torch.optim.LBFGS(
        network.parameters(),
        max_iter=500,
        tolerance_grad=tolerance,
        tolerance_change=1e-14,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(network(bags), wanted)
        loss = loss + decay / 2 * (network.rows.weight**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return network


def descended(
    network: nn.Module,
    bags: Bags,
    targets: Floats,
    checked: tuple[Bags, Floats],
    *,
    epochs: int,
    seed: int,
    rate: float = 3e-3,
    batch: int = 64,
    watch: Callable[[int, float, float], None] = lambda epoch, loss, checked: None,
) -> None:
    """Train any network here by Adam (Kingma and Ba 2015) on `batch` texts at a time, `epochs` times through all.

    After each time through, its loss on other texts is looked at (`checked`: their bags and targets), and in the end
    the network is as it was when that was lowest: early stopping. `watch` is told the epoch and both losses.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    order = np.random.default_rng(seed)
    best, kept = float("inf"), network.state_dict()
    for epoch in range(epochs):
        total = 0.0
        for rows in np.array_split(order.permutation(len(bags)), -(-len(bags) // batch)):
            z = network(bags.take(rows))
            loss = F.binary_cross_entropy_with_logits(z, torch.from_numpy(targets[rows]).to(z.dtype))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        z = torch.from_numpy(log_odds(network, checked[0]))
        found = F.binary_cross_entropy_with_logits(z, torch.from_numpy(checked[1])).item()
        watch(epoch, total / len(bags), found)
        if found < best:
            best, kept = found, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
