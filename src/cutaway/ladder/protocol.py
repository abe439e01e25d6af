"""What a language model is on every rung of the ladder: something that tells which token comes next.

Whether it counts, remembers or attends, it gives P(token | the tokens before it), and by the chain rule that is a
probability for any text:

    log P(w_1 ... w_T) = sum_t log P(w_t | w_1 ... w_{t-1})

So one measure judges them all: the sum, turned into bits, over the text's bytes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from cutaway.runs.errors import BadInput

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class SequenceModel(Protocol):
    """A language model over the token ids 0 .. vocab_size - 1."""

    @property
    def vocab_size(self) -> int:
        """Number of different tokens."""
        ...

    def log_probs(self, sequence: npt.ArrayLike) -> Floats:
        """Natural logarithm of the probability of each token given those before it, `[tokens]` as `sequence`.

        The first is given nothing; where a document begins with the end-of-text token, leave its value out. A token
        that the model holds to be impossible has -inf.

        Raises:
            BadInput: a token outside the vocabulary.
        """
        ...

    def probabilities(self, context: npt.ArrayLike) -> Floats:
        """The distribution of the token after `context` (`[tokens]`, may be empty): `[vocab_size]`, its sum 1.

        Raises:
            BadInput: a token outside the vocabulary.
        """
        ...


def checked(sequence: npt.ArrayLike, vocab_size: int) -> Ints:
    """Token ids as an array `[tokens]`.

    Raises:
        BadInput: one of them is outside the vocabulary.
    """
    tokens = np.asarray(sequence, dtype=np.int64)
    if len(tokens) and (tokens.min() < 0 or tokens.max() >= vocab_size):
        outside = tokens[(tokens < 0) | (tokens >= vocab_size)][0]
        raise BadInput(
            f"token {outside} is outside the vocabulary of {vocab_size}: use the tokenizer the model was made with"
        )
    return tokens
