"""Language modelling: each token from those before it."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch._dynamo import maybe_mark_dynamic

from cutaway.model import Transformer
from cutaway.model.taps import UNTOUCHED, Tap
from cutaway.train.cost import flops_per_token
from cutaway.train.cross_entropy import cross_entropy
from cutaway.train.objectives.objective import Batch


class LanguageModelling:
    """Cross-entropy of the tokens to learn, each from those before it.

    Batches hold `tokens`, `targets` and `learned`, each `[row, position]`.
    """

    def __init__(self, z_loss: float = 0.0) -> None:
        self.z_loss = z_loss

    def ready(self, batch: Batch) -> Batch:
        """Tokens, and where there is something to learn unless it is everywhere."""
        if bool(batch["learned"].all()):
            return {"tokens": batch["tokens"], "targets": batch["targets"].flatten()}
        positions, targets = select(batch["targets"], batch["learned"])
        return {"tokens": batch["tokens"], "positions": changing(positions), "targets": changing(targets)}

    def count(self, batch: Batch) -> int:
        """Tokens to learn."""
        return int(batch["learned"].sum())

    def total(self, model: Transformer, ready: Batch, tap: Tap = UNTOUCHED) -> Float[Tensor, ""]:
        """Sum of the tokens' losses."""
        return cross_entropy(logits_to_learn(model, ready, tap), ready["targets"], self.z_loss)

    def flops(self, model: Transformer, batch: Batch) -> float:
        """Operations of a training step on a batch."""
        tokens, learned = batch["tokens"], float(batch["learned"].float().mean())
        return tokens.numel() * flops_per_token(model.config, tokens.shape[1], learned=learned)


def logits_to_learn(model: Transformer, ready: Batch, tap: Tap = UNTOUCHED) -> Float[Tensor, "learned vocab"]:
    """A model's logits where there is something to learn.

    The unembedding is a third of a small model's arithmetic, so there are none where nothing is learned.
    """
    hidden = model.hidden(ready["tokens"], tap=tap).flatten(0, 1)
    return model.logits(hidden[ready["positions"]] if "positions" in ready else hidden, tap)


def changing(x: Tensor) -> Tensor:
    """`x`, of whose length the compiler is told that it changes from step to step: one graph serves all."""
    maybe_mark_dynamic(x, 0)
    return x


def select(
    targets: Int[Tensor, "row position"], learned: Bool[Tensor, "row position"]
) -> tuple[Int[Tensor, " learned"], Int[Tensor, " learned"]]:
    """The positions to learn at, numbered through all rows, and their targets."""
    positions = learned.flatten().nonzero().flatten()
    return positions, targets.flatten()[positions]


def language_loss(
    model: Transformer,
    inputs: Int[Tensor, "row position"],
    positions: Int[Tensor, " learned"],
    targets: Int[Tensor, " learned"],
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, of the `targets` at `positions`, both as `select` gives them."""
    ready = {"tokens": inputs, "positions": positions, "targets": targets}
    return LanguageModelling().total(model, ready) / max(1, len(positions))
