"""From one text to another: translation, summaries, and the gaps of span corruption."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.model import Transformer
from cutaway.model.taps import UNTOUCHED, Tap
from cutaway.runs import BadInput
from cutaway.train.cost import forward_flops
from cutaway.train.cross_entropy import cross_entropy
from cutaway.train.objectives.language import changing, select
from cutaway.train.objectives.objective import Batch
from cutaway.train.objectives.ragged import Ragged, SimilarLengths, stretching


class PairsFeed:
    """Pairs of texts, each once a pass, those of a batch about equally long, in an order drawn from `seed`.

    Args:
        pairs: token ids of each source, as the encoder is to read it, and of its target, without the end.
        seed: what the order follows from.
        start: the id before a target that makes the decoder begin.
        end: the id that ends a target.
        pad: the id that fills up what is shorter than a batch's longest.
        longest: tokens that are read of a source and of a target; a target that is cut has no end.

    Raises:
        BadInput: there are no pairs, or a source is empty.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
        seed: int,
        *,
        start: int,
        end: int,
        pad: int,
        longest: int,
    ) -> None:
        if not pairs:
            raise BadInput("there are no pairs of texts to learn from; give at least one")
        self.sources = Ragged((source for source, _ in pairs), longest)
        self.targets = Ragged(([*target, end] for _, target in pairs), longest)
        if not self.sources.lengths.all():
            raise BadInput(f"the source of pair {int(self.sources.lengths.argmin()) + 1} is empty; give it a text")
        self.order = SimilarLengths(self.sources.lengths + self.targets.lengths, seed)
        self.start, self.pad = start, pad

    def batch(self, step: int, size: int) -> Batch:
        """`source` and where it is `present`, `[row, source]`; `tokens` that the decoder reads, `targets` that it must
        give and which of them are to be `learned`, each `[row, target]`.
        """
        which = self.order.rows(step, size)
        source, present = self.sources.padded(which, self.pad)
        targets, learned = self.targets.padded(which, self.pad)
        tokens = shifted(targets, self.start)
        return {"source": source, "present": present, "tokens": tokens, "targets": targets, "learned": learned}


class SequenceToSequence:
    """Cross-entropy of each target token, from the source and the target's tokens before it (Sutskever et al. 2014).

    The decoder reads the target as it should be, not as it would have written it. With `label_smoothing` ε the target's
    token has probability 1 − ε, and ε is spread over the whole vocabulary (Vaswani et al. 2017, section 5.4).

    Batches hold `source`, perhaps where it is `present`, each `[row, source]`; `tokens`, `targets` and `learned`, each
    `[row, target]`.
    """

    def __init__(self, label_smoothing: float = 0.0, z_loss: float = 0.0) -> None:
        self.label_smoothing = label_smoothing
        self.z_loss = z_loss

    def ready(self, batch: Batch) -> Batch:
        """Source and tokens, and where there is something to learn."""
        positions, targets = select(batch["targets"], batch["learned"])
        ready = {"source": batch["source"], "tokens": batch["tokens"]}
        if "present" in batch:
            ready["present"] = batch["present"]
            ready = {name: stretching(x) for name, x in ready.items()}
        return ready | {"positions": changing(positions), "targets": changing(targets)}

    def count(self, batch: Batch) -> int:
        """Target tokens to learn."""
        return int(batch["learned"].sum())

    def total(self, model: Transformer, ready: Batch, tap: Tap = UNTOUCHED) -> Float[Tensor, ""]:
        """Sum of the target tokens' losses."""
        memory = model.encode(ready["source"], present=ready.get("present"), tap=tap)
        # Targets are padded on the right, where no token looks.
        hidden = model.hidden(ready["tokens"], memory=memory, tap=tap).flatten(0, 1)[ready["positions"]]
        logits = model.logits(hidden, tap)
        loss = cross_entropy(logits, ready["targets"], self.z_loss)
        return loss + self.label_smoothing * smoothing(logits, ready["targets"]) if self.label_smoothing else loss

    def flops(self, model: Transformer, batch: Batch) -> float:
        """Operations of a training step on a batch, padding included."""
        config = model.config
        (rows, source), length = batch["source"].shape, batch["tokens"].shape[1]
        reading, writing = forward_flops(config, source)[0], forward_flops(config, length)[1]
        # Each target token reads all of the source, which `forward_flops` takes to be as long as the target.
        crossing = 4 * config.n_layers * config.n_heads * config.d_head * (source - length)
        unlearned = 1 - float(batch["learned"].float().mean())
        written = writing.forward + crossing - unlearned * writing.unembedding
        return 3 * rows * (source * reading.forward + length * written)


def shifted(targets: Int[Tensor, "row target"], start: int) -> Int[Tensor, "row target"]:
    """What the decoder reads to give `targets`: `start`, and each target but the last."""
    return torch.cat([torch.full_like(targets[:, :1], start), targets[:, :-1]], dim=1)


def smoothing(logits: Float[Tensor, "token vocab"], targets: Int[Tensor, " token"]) -> Float[Tensor, ""]:
    """What cross-entropy with a target spread evenly over the vocabulary is above that with the true target, summed.

    The softmax's denominator is in both, so it is how far the target's logit lies above the mean of all.
    """
    logits = logits.float()
    return (logits.gather(1, targets[:, None])[:, 0] - logits.mean(1)).sum()
