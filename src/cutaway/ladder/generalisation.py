"""What lets a network do well on images that it has never seen: the ways against learning its examples by heart.

A network of many weights can give every training image its label, a wrong one too (Zhang et al. 2017), and be none the
wiser. Each of these keeps it from that, in a way of its own:

* *Weight decay*: every step also shrinks each weight a little, θ ← θ − η λ θ, so that only weights which many examples
  ask for stay large. AdamW (Loshchilov and Hutter 2019) does it beside the gradient's step, not through it.
* *Dropout* (Srivastava et al. 2014): in training each hidden neuron is left out with probability p, anew for each
  image, and the others are scaled by 1 / (1 − p). No neuron can count on one other being there.
* *Shifts*: a five that has moved by two pixels is still a five. An image that is moved at random each time it is shown
  is never the same twice: more examples, for nothing.
* *Early stopping*: look at images that are held out while training goes on, and keep the weights of the look at which
  their loss was lowest.

All of them train as here: a batch is drawn, its mean cross-entropy −ln p(label) is worked out, and AdamW moves each
weight θ against the gradient g, in units of the gradient's own size of late:

    m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²        θ ← θ − η (m̂ / (√v̂ + ε) + λ θ)

where m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) make up for both having begun at nought.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WARM_UP = 0.1
"""Share of the training in which the learning rate rises."""


@dataclass(frozen=True)
class Practice:
    """How a network is trained.

    Attributes:
        updates: steps in all.
        batch: images a step.
        rate: the highest learning rate η.
        decay: weight decay λ.
        shift: by how many pixels, at most, an image is moved up or down and to a side.
    """

    updates: int
    batch: int = 128
    rate: float = 2e-3
    decay: float = 0.0
    shift: int = 0


def fully_connected(sizes: Sequence[int], dropout: float, seed: int) -> nn.Sequential:
    """Layers of `sizes`, from pixels to classes, ReLU between them and dropout after each ReLU. It reads images
    `[n, row, column]` and gives logits `[n, class]`.
    """
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers[:-2])


def fit(network: nn.Module, x: Tensor, y: Tensor, practice: Practice, seed: int) -> Iterator[tuple[int, float]]:
    """Train `network`, which gives logits `[n, class]`; after every step, give the number done and that batch's loss.

    Whoever asks for the steps may look at the network between two of them, and may stop asking.

    Args:
        x: images `[n, row, column]`.
        y: labels `[n]`.
    """
    drawn = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=practice.rate, weight_decay=practice.decay)
    torch.manual_seed(seed)  # dropout draws from here
    for step, chosen in zip(range(practice.updates), batches(len(x), practice.batch, drawn), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = practice.rate * height(step, practice.updates)
        images = shifted(x[chosen], practice.shift, drawn) if practice.shift else x[chosen]
        network.train()
        loss = F.cross_entropy(network(images), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield step + 1, loss.item()


def batches(n: int, size: int, drawn: torch.Generator) -> Iterator[Tensor]:
    """The numbers of the images of one batch after another, for ever: all in random order, then all in another. What is
    left at the end of a pass and is no whole batch waits for another pass.
    """
    size = min(n, size)
    while True:
        yield from torch.randperm(n, generator=drawn)[: n - n % size].split(size)


def height(step: int, steps: int) -> float:
    """The learning rate of a step, as a share of the highest: straight up, then down along half a cosine to nought."""
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - rise) / (steps - rise)))


def shifted(images: Tensor, most: int, drawn: torch.Generator) -> Tensor:
    """Each image `[n, row, column]` moved by −most to most pixels along each axis, on its own; what comes in from
    outside is paper, 0.
    """
    n, rows, columns = images.shape
    wide = F.pad(images, (most, most, most, most))
    down, across = torch.randint(0, 2 * most + 1, (2, n, 1, 1), generator=drawn)
    row = torch.arange(rows).view(1, rows, 1) + down
    column = torch.arange(columns).view(1, 1, columns) + across
    return wide[torch.arange(n).view(n, 1, 1), row, column]


@torch.no_grad()
def logits(network: nn.Module, x: Tensor, at_once: int = 500) -> Tensor:
    """What the network says of images `[n, row, column]`, nothing dropped: `[n, class]`."""
    network.eval()
    return torch.cat([network(part) for part in x.split(at_once)])


@dataclass(frozen=True)
class Look:
    """How a network did on some images.

    Attributes:
        loss: mean cross-entropy in nats.
        accuracy: the share of images whose class it names.
    """

    loss: float
    accuracy: float


def look(network: nn.Module, x: Tensor, y: Tensor) -> Look:
    """Measure a network on images `[n, row, column]` with labels `[n]`."""
    said = logits(network, x)
    return Look(F.cross_entropy(said, y).item(), (said.argmax(dim=1) == y).float().mean().item())


def watched(
    network: nn.Module, parts: Sequence[tuple[Tensor, Tensor]], practice: Practice, seed: int, looks: int = 40
) -> Iterator[tuple[int, float, list[Look]]]:
    """Train on the first of the parts, images and labels each, as `fit` does, and look at all of them now and then.

    After every step, give the number done and that batch's loss; after `looks` of them, evenly spread, and after the
    last, also how the network does on each part (otherwise nothing).
    """
    every = max(1, practice.updates // looks)
    for step, loss in fit(network, *parts[0], practice, seed):
        due = step % every == 0 or step == practice.updates
        yield step, loss, [look(network, x, y) for x, y in parts] if due else []
