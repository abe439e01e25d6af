"""Classification: one of a few labels for a whole text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.model import Transformer
from cutaway.model.taps import UNTOUCHED, Tap
from cutaway.runs import BadInput
from cutaway.train.cost import flops_per_token
from cutaway.train.objectives.objective import Batch
from cutaway.train.objectives.ragged import Ragged, SimilarLengths, stretching


class Classifier(nn.Module):
    """A transformer with a linear layer over labels where its own head was.

    A text's state is, of an encoder with a pooler, the first token's through it (Devlin et al. 2018, section 4.1); of
    another encoder, the mean of all tokens'; of a decoder, the last token's, which has read all others (Radford et al.
    2018, section 3.2).

    The linear layer is new and is trained. Whether the model is too is left as it was: a model from `load_model` is
    not, until `requires_grad_(True)`.

    Raises:
        BadInput: the model is an encoder–decoder.
    """

    def __init__(self, model: Transformer, n_labels: int) -> None:
        super().__init__()
        self.config = model.config
        if self.config.kind == "encoder-decoder":
            raise BadInput("an encoder–decoder has no state of a whole text to classify; take an encoder or a decoder")
        self.dropout = 0.0
        self.model = model
        # As `transformers` has it: a decoder's has no bias.
        bias, dtype = self.config.kind == "encoder", model.embed.weight.dtype
        self.classifier = nn.Linear(self.config.d_model, n_labels, bias=bias, dtype=dtype)
        nn.init.normal_(self.classifier.weight, std=0.02)
        if bias:
            nn.init.zeros_(self.classifier.bias)

    def forward(
        self,
        tokens: Int[Tensor, "row position"],
        present: Bool[Tensor, "row position"] | None = None,
        tap: Tap = UNTOUCHED,
    ) -> Float[Tensor, "row label"]:
        """Logits of the labels. `present` is False where a token is padding, which comes after the text."""
        state = self.state(tokens, present, tap)
        if self.dropout:
            state = F.dropout(state, self.dropout, self.training)
        return self.classifier(state)

    def state(self, tokens: Tensor, present: Tensor | None, tap: Tap) -> Float[Tensor, "row d_model"]:
        """One vector a text."""
        if self.config.kind == "decoder":
            # No token looks to its right, where the padding is.
            hidden = self.model.hidden(tokens, tap=tap)
            if present is None:
                return hidden[:, -1]
            return hidden[torch.arange(len(tokens), device=tokens.device), present.sum(1) - 1]
        hidden = self.model.hidden(tokens, present=present, tap=tap)
        if self.config.head == "pooler":
            return torch.tanh(self.model.pooler(hidden[:, 0]))
        if present is None:
            return hidden.mean(1)
        shares = present[..., None].to(hidden.dtype)
        return (hidden * shares).sum(1) / shares.sum(1)


class ClassificationFeed:
    """Texts with labels, each once a pass, those of a batch about equally long, in an order drawn from `seed`.

    Args:
        texts: token ids of each text, as the model is to read it.
        labels: the number of each one's label, from 0.
        seed: what the order follows from.
        pad: the id that fills up what is shorter than a batch's longest.
        longest: tokens that are read of a text.

    Raises:
        BadInput: there are no texts, or not as many labels, a text is empty, or a label is less than 0.
    """

    def __init__(
        self, texts: Sequence[Sequence[int]], labels: Sequence[int], seed: int, *, pad: int, longest: int
    ) -> None:
        if not texts or len(texts) != len(labels):
            raise BadInput(f"there are {len(texts)} texts and {len(labels)} labels; give some, and a label for each")
        self.texts = Ragged(texts, longest)
        self.labels = np.asarray(labels, np.int64)
        if not self.texts.lengths.all():
            raise BadInput(f"text {int(self.texts.lengths.argmin()) + 1} is empty; there is nothing to classify")
        if self.labels.min() < 0:
            raise BadInput(f"text {int(self.labels.argmin()) + 1} has the label {self.labels.min()}; they begin at 0")
        self.order = SimilarLengths(self.texts.lengths, seed)
        self.pad = pad

    def batch(self, step: int, size: int) -> Batch:
        """`tokens` and where they are `present`, `[row, position]`, and `labels` `[row]`."""
        which = self.order.rows(step, size)
        tokens, present = self.texts.padded(which, self.pad)
        return {"tokens": tokens, "present": present, "labels": torch.from_numpy(self.labels[which])}


class Classification:
    """Cross-entropy of the labels of a `Classifier`. Batches hold `tokens` and `present`, each `[row, position]`, and
    `labels` `[row]`.
    """

    def ready(self, batch: Batch) -> Batch:
        """The batch, of whose width the compiler is told that it changes."""
        return batch | {name: stretching(batch[name]) for name in ("tokens", "present")}

    def count(self, batch: Batch) -> int:
        """Texts."""
        return len(batch["labels"])

    def total(self, model: Classifier, ready: Batch, tap: Tap = UNTOUCHED) -> Float[Tensor, ""]:
        """Sum of the texts' losses."""
        logits = model(ready["tokens"], ready["present"], tap)
        return F.cross_entropy(logits.float(), ready["labels"], reduction="sum")

    def flops(self, model: Classifier, batch: Batch) -> float:
        """Operations of a training step on a batch, padding included."""
        rows, length = batch["tokens"].shape
        body = rows * length * flops_per_token(model.config, length, learned=0.0)
        return body + 6 * rows * model.classifier.weight.numel()
