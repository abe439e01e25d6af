"""The neural n-gram: a network that reads the last n - 1 tokens.

Bengio, Ducharme, Vincent and Jauvin, "A Neural Probabilistic Language Model" (JMLR 2003). Counts know nothing of a
context that was never seen. Here each token has a vector C(w) that is learned, contexts are made of these vectors, and
so a context that resembles a known one is foretold like it: "the cat was walking" learns for "a dog is running".

    x = (C(w_{t-1}), C(w_{t-2}), ..., C(w_{t-n+1}))        the last vectors, one after another
    y = b + W x + U tanh(d + H x)                          logits; W x, the direct connections, may be left out

(equation 1 there). What is further back than n - 1 tokens is forgotten, as by any n-gram.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.ladder.neural import NeuralModel
from cutaway.runs.errors import BadInput


class NeuralNgram(NeuralModel):
    """See above; `embed.weight` `[vocab + 1, width]` is C, whose last row stands where there is no token yet.

    Args:
        vocab_size: ids are below it.
        order: n.
        width: of each token's vector.
        hidden: units of the tanh layer.
        direct: whether there are direct connections.

    Raises:
        BadInput: `order` is below 2: there would be no context to read.
    """

    def __init__(self, vocab_size: int, order: int, width: int, hidden: int, *, direct: bool = False) -> None:
        if order < 2:
            raise BadInput(f"a neural n-gram of order {order} reads no token; give an order of at least 2")
        super().__init__(vocab_size)
        self.order = order
        read = (order - 1) * width
        self.embed = nn.Embedding(vocab_size + 1, width)
        self.hidden = nn.Linear(read, hidden)
        self.output = nn.Linear(hidden, vocab_size)
        self.direct = nn.Linear(read, vocab_size, bias=False) if direct else None

    def read(
        self, tokens: Int[Tensor, "row position"], past: Int[Tensor, "row kept"] | None = None
    ) -> tuple[Float[Tensor, "row position vocab"], Int[Tensor, "row kept"]]:
        """Logits of the token after each of `tokens`; of the past the last n - 2 tokens are kept, the next completes
        the context.
        """
        kept = self.order - 2
        before = tokens.new_full((len(tokens), kept), self.vocab_size) if past is None else past
        seen = torch.cat([before, tokens], dim=1)
        contexts = seen.unfold(1, self.order - 1, 1)  # [row, position, n - 1]
        x = self.embed(contexts).flatten(2)
        logits = self.output(F.tanh(self.hidden(x)))
        if self.direct is not None:
            logits = logits + self.direct(x)
        return logits, seen[:, seen.shape[1] - kept :]
