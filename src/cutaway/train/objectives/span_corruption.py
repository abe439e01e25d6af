"""Span corruption: an encoder–decoder fills the gaps of a text (T5, Raffel et al. 2020, sections 3.1.4 and 3.3.4).

text     Thank you for inviting me to your party last week .
source   Thank you <1> me to your party <2> week . <end>
target   <1> for inviting <2> last <end>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from cutaway.runs import BadInput
from cutaway.train.objectives.objective import Batch
from cutaway.train.objectives.sequence_to_sequence import shifted


@dataclass(frozen=True)
class SpanCounts:
    """What becomes of a text of `raw` tokens: how many are taken out, in how many spans. The same for every row."""

    raw: int
    corrupted: int
    spans: int

    @property
    def source(self) -> int:
        """Tokens of the source: those that are left, a sentinel for each span, and the end."""
        return self.raw - self.corrupted + self.spans + 1

    @property
    def target(self) -> int:
        """Tokens of the target: each span behind its sentinel, and the end."""
        return self.corrupted + self.spans + 1


def span_counts(source: int, share: float = 0.15, mean_span: float = 3.0) -> SpanCounts:
    """The counts for sources of exactly `source` tokens: how long the text must be is what follows.

    A token more of text makes the source longer by one token or by none: with at most half of the text corrupted, in
    spans of one token or more, the number of corrupted tokens rises by one or none, and that of the spans only with it.
    So every length is reached, and the longest text that reaches it is taken.

    Args:
        source: tokens of the source, its sentinels and end included.
        share: of the text's tokens that are corrupted.
        mean_span: mean number of tokens in a span.

    Raises:
        BadInput: `source` is less than 3, `share` not above 0 and up to 0.5, or `mean_span` less than 1.
    """
    if source < 3 or not 0 < share <= 0.5 or mean_span < 1:
        raise BadInput(
            f"spans of {mean_span} tokens that are {share} of a text cannot be taken out to leave {source}; "
            "spans have 1 token or more, the share is above 0 and up to 0.5, and sources have 3 tokens or more"
        )

    def of(raw: int) -> SpanCounts:
        corrupted = max(1, round(raw * share))
        return SpanCounts(raw, corrupted, max(1, round(corrupted / mean_span)))

    counts = of(1)
    while (longer := of(counts.raw + 1)).source <= source:
        counts = longer
    return counts


class SpanCorruptionFeed:
    """Texts with gaps, and what was in them.

    Where the gaps are is drawn anew in every step, from `seed` and the step's number. Sources are of one length, and
    so are targets: nothing is padded.

    Args:
        rows: token ids `[row, counts.raw]`, read from first to last, and then from the first again.
        seed: what the gaps follow from.
        counts: from `span_counts`.
        sentinels: the ids that stand for a row's spans, from the first on; T5's descend from the vocabulary's last,
            `range(vocab_size - 1, ...)`.
        start: the id before a target that makes the decoder begin; T5's is its padding.
        end: the id that ends sources and targets.

    Raises:
        BadInput: there are no rows, they are not `counts.raw` long, or there are fewer sentinels than spans.
    """

    def __init__(
        self,
        rows: NDArray[np.integer[Any]],
        seed: int,
        counts: SpanCounts,
        *,
        sentinels: Sequence[int],
        start: int,
        end: int,
    ) -> None:
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != counts.raw:
            raise BadInput(
                f"rows of shape {list(rows.shape)} cannot be corrupted; there must be some, of {counts.raw} tokens each"
            )
        if len(sentinels) < counts.spans:
            raise BadInput(
                f"a row has {counts.spans} spans, but there are {len(sentinels)} sentinels; "
                "add tokens to the vocabulary, or take shorter rows"
            )
        self.rows, self.seed, self.counts, self.start, self.end = rows, seed, counts, start, end
        self.sentinels = np.asarray(sentinels, np.int64)

    def batch(self, step: int, size: int) -> Batch:
        """`source` `[row, counts.source]`; `tokens` that the decoder reads, `targets` that it must give and which of
        them are to be `learned` (all), each `[row, counts.target]`.
        """
        rng = np.random.default_rng([self.seed, step])
        rows = self.rows[np.arange(step * size, (step + 1) * size) % len(self.rows)].astype(np.int64)
        source, target = corrupt(rows, draw_spans(rng, size, self.counts), self.sentinels)
        end = np.full((size, 1), self.end)
        targets = torch.from_numpy(np.concatenate([target, end], axis=1))
        return {
            "source": torch.from_numpy(np.concatenate([source, end], axis=1)),
            "tokens": shifted(targets, self.start),
            "targets": targets,
            "learned": torch.ones_like(targets, dtype=torch.bool),
        }


def draw_spans(rng: np.random.Generator, n_rows: int, counts: SpanCounts) -> Bool[np.ndarray, "row raw"]:
    """Which tokens of each row are corrupted: any such choice of spans, with something left between each two, is as
    likely as any other. Fewer spans can cover a row's first and last few tokens, so these are corrupted less often.
    """
    inside = compositions(rng, n_rows, counts.corrupted, counts.spans)
    # What is left before the first span and after the last may be nothing.
    outside = compositions(rng, n_rows, counts.raw - counts.corrupted + 2, counts.spans + 1)
    outside[:, [0, -1]] -= 1
    lengths = np.empty((n_rows, 2 * counts.spans + 1), np.int64)
    lengths[:, 0::2], lengths[:, 1::2] = outside, inside
    is_inside = np.arange(lengths.shape[1]) % 2 == 1
    return np.repeat(np.tile(is_inside, n_rows), lengths.ravel()).reshape(n_rows, counts.raw)


def compositions(rng: np.random.Generator, n_rows: int, total: int, parts: int) -> Int[np.ndarray, "row part"]:
    """`total` as a sum of `parts` whole numbers above 0, once a row; every such sum is as likely as any other."""
    cuts = np.sort(rng.random((n_rows, total - 1)).argsort(axis=1)[:, : parts - 1], axis=1) + 1
    return np.diff(cuts, axis=1, prepend=0, append=total)


def corrupt(
    rows: Int[np.ndarray, "row raw"], corrupted: Bool[np.ndarray, "row raw"], sentinels: Int[np.ndarray, " sentinel"]
) -> tuple[Int[np.ndarray, "row source"], Int[np.ndarray, "row target"]]:
    """Rows with a sentinel in place of each span, and the spans, each behind its sentinel; both without an end.

    All rows have as many corrupted tokens as each other, and as many spans.
    """
    first = corrupted.copy()
    first[:, 1:] &= ~corrupted[:, :-1]
    standing = sentinels[(first.cumsum(axis=1) - 1)[first]]
    source = rows.copy()
    source[first] = standing
    # In the target a span's first token comes twice, and the sentinel takes the place of the one before.
    times = (corrupted.astype(np.int64) + first).ravel()
    target = np.repeat(rows.ravel(), times)
    target[(times.cumsum() - times)[first.ravel()]] = standing
    return source[first | ~corrupted].reshape(len(rows), -1), target.reshape(len(rows), -1)
