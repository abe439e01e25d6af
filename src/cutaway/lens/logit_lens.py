"""The logit lens: what the model would say if it stopped thinking after each block (nostalgebraist 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.infer.trace import Trace
from cutaway.runs import BadInput


def logit_lens(trace: Trace, position: int) -> Float[Tensor, "stage vocab"]:
    """Probabilities of the next token, read off the residual stream at one position by the final norm and unembedding.

    The first stage is the stream before any block, the others after each; the last is what the model says.

    Raises:
        BadInput: the model does not predict a next token, or the text has no such position.
    """
    model = trace.model
    config = model.config
    if config.kind != "decoder" or config.head != "linear":
        raise BadInput("the logit lens reads next tokens, which this model does not predict; name a decoder")
    names = ["blocks.0.hook_resid_pre", *(f"blocks.{i}.hook_resid_post" for i in range(config.n_layers))]
    stream = trace.get(names)
    length = stream[names[0]].shape[1]
    if not 0 <= position < length:
        raise BadInput(f"the text has {length} tokens: positions go from 0 to {length - 1}, not to {position}")
    with torch.no_grad():
        stages = torch.stack([stream[name][0, position] for name in names[:-1]])
        read = model.logits(model.ln_final(stages) if model.ln_final else stages)
        return torch.cat([read, trace.logits[:, position]]).float().softmax(-1)
