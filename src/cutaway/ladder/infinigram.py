"""The ∞-gram (Liu et al., 2024, arXiv 2401.17377): an n-gram model with no n, by looking the text up in the corpus.

The plain one looks at the longest end of the context that occurs and takes what followed it there. It holds whatever
never followed to be impossible, so it has no bits per byte of its own. Here every length has a say, each shorter one
as prior of the next (MacKay and Peto, 1995), down to all tokens being equally likely:

    P_n(w) = (count(context_n w) + strength · P_{n-1}(w)) / (count(context_n) + strength)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cutaway.corpus.suffix_array import Index
from cutaway.ladder.protocol import Floats, Ints, checked


class InfiniGram:
    """A `SequenceModel` over an index. The end of a document counts as the end-of-text token."""

    def __init__(self, index: Index, end_of_text: int, *, longest: int = 32, strength: float = 200.0) -> None:
        """`longest` bounds the context that is looked up, in tokens; `strength` is the weight of what is shorter."""
        self.index, self.end_of_text, self.longest, self.strength = index, end_of_text, longest, strength

    @property
    def vocab_size(self) -> int:
        """Number of different tokens."""
        return self.index.vocab_size

    def log_probs(self, sequence: npt.ArrayLike) -> Floats:
        """See `SequenceModel.log_probs`."""
        tokens = checked(sequence, self.vocab_size)
        counts = self.index.prefix_counts(tokens, self.longest + 1)
        probs = np.full(len(tokens), 1 / self.vocab_size)
        after = self._since_border(tokens)
        ends = np.flatnonzero(tokens == self.end_of_text)
        for n in range(self.longest + 1):
            at = np.flatnonzero((after >= n) & (np.arange(len(tokens)) >= n))
            seen, together = counts[at - n, n], counts[at - n, n + 1]
            of_end = np.isin(at, ends)
            together[of_end] = [self._document_ends(tokens[i - n : i]) for i in at[of_end]]
            probs[at] = np.where(seen > 0, (together + self.strength * probs[at]) / (seen + self.strength), probs[at])
        return np.log(probs)

    def probabilities(self, context: npt.ArrayLike) -> Floats:
        """See `SequenceModel.probabilities`."""
        tokens = checked(context, self.vocab_size)
        ends = np.flatnonzero(tokens == self.end_of_text)
        tokens = tokens[ends[-1] + 1 :] if len(ends) else tokens
        probs = np.full(self.vocab_size, 1 / self.vocab_size)
        for n in range(min(self.longest, len(tokens)) + 1):
            counts, ended = self.index.following(tokens[len(tokens) - n :])
            counts[self.end_of_text] = ended
            if not counts.any():
                break
            probs = (counts + self.strength * probs) / (counts.sum() + self.strength)
        return probs

    def _since_border(self, tokens: Ints) -> Ints:
        """Tokens between each position and the last end of text before it, or the beginning: `[position]`."""
        at = np.arange(len(tokens))
        borders = np.where(tokens == self.end_of_text, at + 1, 0)
        return at - np.maximum.accumulate(np.concatenate([[0], borders[:-1]]))[: len(tokens)]

    def _document_ends(self, context: Ints) -> int:
        return self.index.following(context)[1]
