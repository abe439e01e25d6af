"""Translation by recurrent networks: an encoder, a decoder, and what passes between them.

The encoder reads the source x_1 … x_S once from each side, and leaves an annotation of every token that knows what
stands before and after it (Bahdanau et al. 2015, section 3.2):

    →h_j = GRU(E x_j, →h_{j−1})      ←h_j = GRU(E x_j, ←h_{j+1})      h_j = [→h_j ; ←h_j]

The decoder writes the target y_1 … y_T, a token a step, from a state s_t and a context c_t (Luong et al. 2015, eq. 5
and 6; E serves as input and output embedding):

    p(y_t | y_1 … y_{t−1}, x) = softmax(E tanh(W [c_t ; s_t]) + b)

The networks here differ in one thing alone: where c_t comes from.

    fixed      c_t = c = [→h_S ; ←h_1], whatever t is    s_t = GRU([E y_{t−1} ; c], s_{t−1})      (Cho et al. 2014)
    bahdanau   c_t = attend(s_{t−1}): look, then step    s_t = GRU([E y_{t−1} ; c_t], s_{t−1})    (Bahdanau et al. 2015)
    luong      c_t = attend(s_t): step, then look        s_t = GRU(E y_{t−1}, s_{t−1})            (Luong et al. 2015)

So `fixed` has to hold a sentence of any length in one vector, and this is what it fails at (Cho et al. 2014b).
Attention asks the annotations anew at each step: each gets a score, softmax makes shares of the scores, and the context
is the annotations' mean in these shares. The shares α_tj are the alignment: how much of y_t is from x_j.

    e_tj = score(s, h_j)        α_t = softmax(e_t)        attend(s) = Σ_j α_tj h_j

    additive   score(s, h) = v · tanh(W_a s + U_a h)      (Bahdanau et al. 2015, appendix A.1.2)
    general    score(s, h) = s · W_a h                    (Luong et al. 2015, eq. 8)
    dot        score(s, h) = s · h                        (the same; the Transformer's, but for 1/√d)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Kind = Literal["fixed", "bahdanau", "luong", "luong_dot"]


class AdditiveScore(nn.Module):
    """score(s, h) = v · tanh(W_a s + U_a h): a small network that is asked once for each pair (s, h)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, 1, bias=False)

    def keys(self, annotations: Float[Tensor, "row source width"]) -> Float[Tensor, "row source width"]:
        """U_a h_j, which no step changes, so that it is worked out once a sentence."""
        return self.key(annotations)

    def forward(
        self, state: Float[Tensor, "row width"], keys: Float[Tensor, "row source width"]
    ) -> Float[Tensor, "row source"]:
        """The score of each annotation."""
        return self.v(torch.tanh(self.query(state)[:, None] + keys))[..., 0]


class ProductScore(nn.Module):
    """score(s, h) = s · W_a h, or with `general` False s · h: all scores of a step are one product of matrices."""

    def __init__(self, width: int, *, general: bool) -> None:
        super().__init__()
        self.key = nn.Linear(width, width, bias=False) if general else nn.Identity()

    def keys(self, annotations: Float[Tensor, "row source width"]) -> Float[Tensor, "row source width"]:
        """W_a h_j, or h_j itself."""
        return self.key(annotations)

    def forward(
        self, state: Float[Tensor, "row width"], keys: Float[Tensor, "row source width"]
    ) -> Float[Tensor, "row source"]:
        """The score of each annotation."""
        return (keys @ state[..., None])[..., 0]


@dataclass(frozen=True)
class Reading:
    """What the encoder leaves of the sources of a batch."""

    summary: Float[Tensor, "row width"]
    annotations: Float[Tensor, "row source width"]
    keys: Float[Tensor, "row source width"]
    present: Bool[Tensor, "row source"]


@dataclass(frozen=True)
class Writing:
    """How far the translations of a batch have come: the decoder's states `[row, width]`, and what it reads."""

    state: Float[Tensor, "row width"]
    reading: Reading

    def rows(self, which: Int[Tensor, " kept"]) -> Writing:
        """Only these translations, each as often as it is named."""
        r = self.reading
        reading = Reading(r.summary[which], r.annotations[which], r.keys[which], r.present[which])
        return Writing(self.state[which], reading)


class RecurrentTranslator(nn.Module):
    """An encoder and a decoder of gated recurrent units, with attention between them or without.

    Args:
        kind: where the context comes from; see above.
        vocab_size: tokens of both languages together, which share one embedding.
        width: of embeddings, annotations and states; even.
    """

    def __init__(self, kind: Kind, vocab_size: int, width: int) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.dropout = 0.0
        self.embed = nn.Embedding(vocab_size, width)
        # Half the width for each direction, so that annotations are as wide as states, as `dot` needs.
        self.encoder = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.first = nn.Linear(width, width)
        self.score: AdditiveScore | ProductScore | None = None
        if kind == "bahdanau":
            self.score = AdditiveScore(width)
        elif kind != "fixed":
            self.score = ProductScore(width, general=kind == "luong")
        self.looks_first = kind in ("fixed", "bahdanau")
        self.decoder = nn.GRUCell(2 * width if self.looks_first else width, width)
        self.output = nn.Linear(2 * width, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        # Logits are products with it: at the usual standard deviation of 1 the first of them would be huge.
        nn.init.normal_(self.embed.weight, std=0.1)

    def forward(
        self,
        source: Int[Tensor, "row source"],
        source_present: Bool[Tensor, "row source"],
        target_in: Int[Tensor, "row target"],
    ) -> Float[Tensor, "row target vocab"]:
        """Logits of the token after each of `target_in`, which is the target behind a token that begins it.

        `source_present` is False where the source is padding, which comes last.
        """
        return self.logits(self.hidden(source, source_present, target_in))

    def hidden(self, source: Tensor, source_present: Tensor, target_in: Tensor) -> Float[Tensor, "row target width"]:
        """What the logits are made of: tanh(W [c_t ; s_t])."""
        steps = self.steps(source, source_present, target_in)
        return self.dropped(torch.stack([self.told(state, context) for state, context, _ in steps], dim=1))

    def alignment(
        self, source: Tensor, source_present: Tensor, target_in: Tensor
    ) -> Float[Tensor, "row target source"]:
        """The shares α_tj of each source token in each step. A model of kind `fixed` has none."""
        shares = [each for _, _, each in self.steps(source, source_present, target_in) if each is not None]
        return torch.stack(shares, dim=1)

    def steps(
        self, source: Tensor, source_present: Tensor, target_in: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """s_t and c_t, `[row, width]`, and α_t, `[row, source]`, of every step of a target that is known."""
        reading = self.read(source, source_present)
        state = torch.tanh(self.first(reading.summary))
        for token in self.dropped(self.embed(target_in)).unbind(1):
            state, context, shares = self.step_on(token, state, reading)
            yield state, context, shares

    def read(self, source: Int[Tensor, "row source"], present: Bool[Tensor, "row source"]) -> Reading:
        """Every source from both sides."""
        lengths = present.sum(1).cpu()
        # Packed: the reading from the right begins at each source's own last token, not in the padding behind it.
        packed = pack_padded_sequence(self.dropped(self.embed(source)), lengths, batch_first=True, enforce_sorted=False)
        each, last = self.encoder(packed)
        annotations, _ = pad_packed_sequence(each, batch_first=True, total_length=source.shape[1])
        keys = self.score.keys(annotations) if self.score else annotations
        # `last` is [direction, row, width / 2]: →h_S and ←h_1.
        return Reading(torch.cat([last[0], last[1]], dim=-1), annotations, keys, present)

    def step_on(
        self, token: Float[Tensor, "row width"], state: Float[Tensor, "row width"], reading: Reading
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """s_t, c_t and α_t from the embedded y_{t−1} and s_{t−1}."""
        if self.looks_first:
            context, shares = self.attend(state, reading)
            return self.decoder(torch.cat([token, context], dim=-1), state), context, shares
        state = self.decoder(token, state)
        return state, *self.attend(state, reading)

    def attend(self, state: Float[Tensor, "row width"], reading: Reading) -> tuple[Tensor, Tensor | None]:
        """The context c, `[row, width]`, and the shares α, `[row, source]`."""
        if self.score is None:
            return reading.summary, None
        scores = self.score(state, reading.keys)
        shares = scores.masked_fill(~reading.present, -torch.inf).softmax(-1)
        return (shares[:, None] @ reading.annotations)[:, 0], shares

    def told(self, state: Tensor, context: Tensor) -> Float[Tensor, "row width"]:
        """tanh(W [c_t ; s_t])."""
        return torch.tanh(self.output(torch.cat([context, state], dim=-1)))

    def logits(self, hidden: Float[Tensor, "... width"]) -> Float[Tensor, "... vocab"]:
        """E tanh(W [c_t ; s_t]) + b."""
        return F.linear(hidden, self.embed.weight, self.bias)

    def dropped(self, x: Tensor) -> Tensor:
        """`x`, of which a share is left out in training (Srivastava et al. 2014)."""
        return F.dropout(x, self.dropout, self.training) if self.dropout else x

    def begin(self, source: Int[Tensor, "row source"], present: Bool[Tensor, "row source"]) -> Writing:
        """Translations of which nothing is written yet."""
        reading = self.read(source, present)
        return Writing(torch.tanh(self.first(reading.summary)), reading)

    def step(self, writing: Writing, tokens: Int[Tensor, " row"]) -> tuple[Float[Tensor, "row vocab"], Writing]:
        """What comes after one token more of each translation."""
        state, context, _ = self.step_on(self.embed(tokens), writing.state, writing.reading)
        return self.logits(self.told(state, context)), Writing(state, writing.reading)
