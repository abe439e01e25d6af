"""Softmax: any scores as probabilities, at a temperature.

    p_i = e^(z_i / T) / sum_j e^(z_j / T)

Every p is above 0, and together they are 1. The name is Bridle's (1990), the formula and its temperature Boltzmann's
(1868): T is how little the scores' differences count. A difference of 1 between two scores makes one e^(1/T) times as
likely as the other: e^2 = 7.39 times at T = 0.5, e = 2.72 times at T = 1, 1.65 times at T = 2. Towards T = 0 the
highest score takes everything; towards infinity all become equally likely. Language models write with it: each token's
score becomes its probability, and the user's "temperature" is this T.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cutaway.runs.errors import BadInput


def softmax(scores: npt.ArrayLike, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Probabilities `[..., score]`, along the last axis.

    For two scores, z and 0, the first probability is sigmoid(z / T): the sigmoid is the softmax of two.

    Raises:
        BadInput: the temperature is not above 0.
    """
    if not temperature > 0:
        raise BadInput(f"the temperature is {temperature:g}; it must be above 0 (near 0, the highest score takes all)")
    z = np.asarray(scores, float)
    # Adding the same number to all scores changes no probability, for it cancels. With the highest at 0 no power
    # overflows; e^1000 would.
    powers = np.exp((z - z.max(-1, keepdims=True)) / temperature)
    return powers / powers.sum(-1, keepdims=True)
