"""One attention head at one position: what it compares, what comes of that, and what it gathers."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from cutaway.infer.trace import Trace
from cutaway.lens.changes import part


@dataclass(frozen=True)
class OneHead:
    """The model's own tensors of a head, where one position asks.

    Attributes:
        q: the query as it is compared: normalised and turned by its position, where the model does so.
        k: the keys as they are compared, of the head that this query head reads.
        scores: what the softmax takes: scaled, capped where the model does so, and masked with −∞.
        pattern: the shares.
        v: the values that are shared out.
        z: what the head has gathered.
        names: the tensor of each, in this order.
    """

    q: Float[Tensor, " d_head"]
    k: Float[Tensor, "key d_head"]
    scores: Float[Tensor, " key"]
    pattern: Float[Tensor, " key"]
    v: Float[Tensor, "key d_head"]
    z: Float[Tensor, " d_head"]
    names: tuple[str, ...]

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """The tensors, in the order of their names."""
        return (self.q, self.k, self.scores, self.pattern, self.v, self.z)


def one_head(trace: Trace, block: int, head: int, query: int) -> OneHead:
    """Head `head` of a block, where position `query` asks. All in one pass.

    Raises:
        BadInput: the model has no such block, head or position.
    """
    config = trace.model.config
    attn = f"blocks.{block}.attn."
    compared = [_compared(trace, attn, kind) for kind in ("q", "k")]
    names = (*compared, *(f"{attn}hook_{kind}" for kind in ("attn_scores", "pattern", "v", "z")))
    found = {name: tensor.float() for name, tensor in trace.get(names).items()}
    for name in compared:
        if name.endswith("_norm.hook_out"):
            # [batch, head, position, d_head], or all heads side by side: as everywhere else, positions first.
            tensor = found[name]
            found[name] = tensor.transpose(1, 2) if tensor.dim() == 4 else tensor.unflatten(-1, (-1, config.d_head))
    shared = head * config.n_kv_heads // config.n_heads
    places = ((query, head), (None, shared), (head, query), (head, query), (None, shared), (query, head))
    parts = [part(name, found[name], place)[0] for name, place in zip(names, places, strict=True)]
    return OneHead(*parts, names=names)


def _compared(trace: Trace, attn: str, kind: str) -> str:
    """The last name that queries or keys have before they are multiplied."""
    steps = (f"{attn}hook_rot_{kind}", f"{attn}{kind}_norm.hook_out")
    return next((name for name in steps if name in trace.names.shapes), f"{attn}hook_{kind}")
