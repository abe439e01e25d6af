"""The ladder's training by hand beside its peers: seconds an epoch of the network that reads handwritten digits.

    .venv/bin/python bench/ladder.py                                # a minute; images of random numbers
    .venv/bin/python bench/ladder.py --data mnist.npz --rounds 9    # those of MNIST
    .venv/bin/python bench/ladder.py --cpu-time                     # where others use the machine meanwhile

784-16-16-10, sigmoid, squared error, batches of 32, float32, plain gradient descent; each goes through the same images.
`torch` is `nn.Sequential` with `torch.optim.SGD`, eager. Before anything is timed, ours and torch go through an epoch
from the same weights in the same order and must end with the same weights. scikit-learn's `MLPClassifier` has no
squared error for classes: its outputs are a softmax with cross-entropy, a little more work. One epoch: `partial_fit`.
The figures are medians over rounds; in each round all go once, beginning with another one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.nn import functional as F

from cutaway.evals.markdown import markdown_table
from cutaway.ladder.backprop import MLP, one_hot
from cutaway.ladder.image_data import CLASSES, read_images

SIZES = (784, 16, 16, CLASSES)
LR = 0.5
OURS, TORCH, SKLEARN = "by hand, numpy", "torch, eager", "scikit-learn"


def network_of(mlp: MLP) -> nn.Sequential:
    """The same network, with the same weights, of torch's parts."""
    layers: list[nn.Module] = []
    for weight, bias in zip(mlp.weights, mlp.biases, strict=True):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy())
        layers += [layer, nn.Sigmoid()]
    return nn.Sequential(*layers)


def torch_epoch(
    network: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    x: torch.Tensor,
    y: torch.Tensor,
    batch: int,
    order: torch.Tensor,
) -> float:
    """One epoch as one writes it in torch: the mean loss."""
    total = 0.0
    for start in range(0, len(x), batch):
        chosen = order[start : start + batch]
        loss = F.mse_loss(network(x[chosen]), y[chosen], reduction="sum") / len(chosen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(chosen)
    return total / len(x)


def same_epoch(x: np.ndarray, y: np.ndarray, batch: int) -> float:
    """The largest difference of any weight after an epoch of both from one start, in one order, in float64."""
    ours = MLP(SIZES, dtype=np.float64)
    network = network_of(ours)
    optimizer = torch.optim.SGD(network.parameters(), LR)
    x, y = x.astype(np.float64), y.astype(np.float64)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(x)))
    torch_epoch(network, optimizer, torch.from_numpy(x), torch.from_numpy(y), batch, order)
    ours.train_epoch(x, y, batch, LR, np.random.default_rng(0))
    theirs = [layer.weight.detach().numpy() for layer in network if isinstance(layer, nn.Linear)]
    return max(float(np.abs(a - b).max()) for a, b in zip(ours.weights, theirs, strict=True))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="images of 28×28 pixels, as `cutaway ladder` takes them")
    options.add_argument("--images", type=int, default=12_800, help="how many of them, or of random ones")
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--cpu-time", action="store_true", help="processor time of all threads instead of the clock's")
    args = options.parse_args()

    rng = np.random.default_rng(0)
    if args.data:
        data = read_images(args.data)
        x, labels = data.train_x[: args.images].reshape(-1, data.pixels), data.train_y[: args.images]
        name = data.name
    else:
        x, labels = rng.random((args.images, SIZES[0]), np.float32), rng.integers(CLASSES, size=args.images)
        name = "random numbers"
    y = one_hot(labels, CLASSES)
    difference = same_epoch(x[:3200], y[:3200], args.batch)
    if not difference < 1e-10:
        raise SystemExit(f"the two do not do the same: weights differ by {difference:.1e} after an epoch")

    mlp = MLP(SIZES)
    network = network_of(mlp)
    optimizer = torch.optim.SGD(network.parameters(), LR)
    x_torch, y_torch = torch.from_numpy(x), torch.from_numpy(y)
    classifier = MLPClassifier(
        SIZES[1:-1],
        activation="logistic",
        solver="sgd",
        alpha=0,
        momentum=0,
        batch_size=args.batch,
        learning_rate_init=LR,
    )
    works: dict[str, Callable[[], object]] = {
        OURS: lambda: mlp.train_epoch(x, y, args.batch, LR, rng),
        TORCH: lambda: torch_epoch(network, optimizer, x_torch, y_torch, args.batch, torch.randperm(len(x))),
        SKLEARN: lambda: classifier.partial_fit(x, labels, classes=np.arange(CLASSES)),
    }
    clock = time.process_time if args.cpu_time else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for turn in range(args.rounds + 1):
        for name_of_work in names[turn % len(names) :] + names[: turn % len(names)]:
            began = clock()
            works[name_of_work]()
            if turn:  # the first round warms up
                seconds[name_of_work].append(clock() - began)

    steps = -(-len(x) // args.batch)
    median = {who: statistics.median(times) for who, times in seconds.items()}
    threads, kind = torch.get_num_threads(), "processor" if args.cpu_time else "clock"
    print(
        f"{len(x):,} images ({name}), batches of {args.batch}, {args.rounds} rounds; threads: {threads}; {kind} time."
    )
    print(f"After an epoch from the same start our weights are torch's but for {difference:.0e}.\n")
    rows = [
        (
            who,
            f"{median[who]:.3f}",
            f"{min(times):.3f}–{max(times):.3f}",
            f"{1e6 * median[who] / steps:.0f}",
            f"{median[who] / median[OURS]:.2f}",
        )
        for who, times in seconds.items()
    ]
    print(markdown_table(["", "s an epoch", "of all rounds", "µs a step", "times ours"], rows))


if __name__ == "__main__":
    main()
