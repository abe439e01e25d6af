"""A decoder's steps computed by the native library, from the engine's own pages."""

from __future__ import annotations

import ctypes
import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.infer.native.build import library
from cutaway.infer.native.layout import LayerParts, NormParts, Shape, StepParts
from cutaway.infer.native.matrices import bias_of, biases, gain, matrices, padded
from cutaway.infer.pages import PAGE, Pages
from cutaway.infer.runner import Row, Runner, TorchRunner
from cutaway.model import ModelConfig, Transformer
from cutaway.model.block import Block
from cutaway.model.config import Activation
from cutaway.model.norms import Norm
from cutaway.model.positions import alibi_slopes, rotation, sinusoidal
from cutaway.runs import BadInput, CutawayError

Precision = Literal["float32", "bfloat16", "int8", "int4"]
"""How weights are kept; int8 and int4 with a scale for every 32, and with the activations rounded to int8 likewise."""

PRECISIONS = get_args(Precision)
PLACES = ("before", "after", "around", "after_sum")
QK_NORMS = ("none", "head", "all")
CACHES = (torch.float32, torch.bfloat16, torch.int8)
STEPS_OF_TABLE = 2048
"""Positions that the tables of rotary angles grow by, at least."""

log = logging.getLogger(__name__)


def unsupported(config: ModelConfig) -> str | None:
    """What about a model the native library does not do; None if nothing."""
    sparsity = config.sparsity if config.local_layers else None
    reasons = {
        f"it is an {config.kind}": config.kind != "decoder",
        f"its head is of the kind {config.head}": config.head != "linear",
        "it is a mixture of experts": bool(config.experts and config.expert_layers),
        "its positions are relative": config.positions == "relative",
        "its tokens have types": bool(config.n_token_types),
        "its local layers look further than a window": bool(
            sparsity and (sparsity.kind != "window" or sparsity.global_tokens)
        ),
        "it is parallel, and normalised elsewhere than before": config.parallel and config.norm_place != "before",
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def native_or_torch(*, weights: Precision = "float32", threads: int | None = None) -> Callable[..., Runner]:
    """What makes a runner for a model and its pages: a native one, or PyTorch's where that cannot be had.

    One warning in the log then says why.
    """

    def made(model: Transformer, pages: Pages) -> Runner:
        try:
            return NativeRunner(model, pages, weights=weights, threads=threads)
        except CutawayError as error:
            log.warning("%s", error)
            return TorchRunner(model, pages)

    return made


class NativeRunner:
    """Computes steps in C++ (see `cutaway.infer.runner.Runner`).

    What a sequence gets is the same to the bit whatever else is in its batch, and however its prompt is cut up.
    """

    def __init__(
        self,
        model: Transformer,
        pages: Pages,
        *,
        weights: Precision = "float32",
        threads: int | None = None,
        architecture: str = "native",
    ) -> None:
        """Pack the model's weights, which must stay as they are.

        Args:
            model: a decoder; its own tensors stay in use for embeddings alone.
            pages: where keys and values are, on the CPU.
            weights: how matrices are kept. The unembedding is never kept in less than int8.
            threads: that compute, this one included; None for as many as PyTorch's.
            architecture: the compiler's name for the processor.

        Raises:
            BadInput: the model is one that the library does not do, or an argument means nothing.
            CutawayError: the library cannot be built, or memory does not suffice.
        """
        config = model.config
        if reason := unsupported(config):
            raise BadInput(f"the native library does not do this model: {reason}; PyTorch has to do")
        if weights not in PRECISIONS:
            raise BadInput(f"weights cannot be kept as {weights}; choose one of {', '.join(PRECISIONS)}")
        if pages.device.type != "cpu":
            raise BadInput(f"the native library reads pages in memory, not on {pages.device}; PyTorch has to do")
        threads = torch.get_num_threads() if threads is None else threads
        if not 1 <= threads <= 256:
            raise BadInput(f"threads is {threads}; it must lie between 1 and 256")
        self.config, self.pages, self.rotated = config, pages, config.positions == "rotary"
        self.library = library(architecture)
        self.lock = threading.Lock()
        # What the library points to lives as long as this does.
        self.kept: list[Tensor] = []
        self.tables: list[Tensor] = []
        self.handle = self.library.cutaway_open(ctypes.byref(self.shape(model)), threads)
        if not self.handle:
            raise CutawayError("there is not enough memory to run the model natively; take a smaller one")
        # Not when Python ends: a step may be under way then, in a thread that nobody waits for.
        weakref.finalize(self, self.library.cutaway_close, self.handle).atexit = False
        self.pack(model, weights, threads)
        for i, block in enumerate(model.blocks):
            assert isinstance(block, Block)
            self.library.cutaway_set_layer(self.handle, i, ctypes.byref(self.layer(block, i)))
            scales = (pages.k_scale[i], pages.v_scale[i]) if pages.k_scale and pages.v_scale else (None, None)
            kind = CACHES.index(pages.dtype)
            addresses = [None if each is None else each.data_ptr() for each in (pages.k[i], pages.v[i], *scales)]
            self.library.cutaway_set_pages(self.handle, i, kind, *addresses)

    def run(self, rows: Sequence[Row]) -> list[Float[Tensor, "n vocab"]]:
        """Read each row's tokens, store their keys and values, and give its logits; see `Runner`.

        Raises:
            BadInput: a token, a position or a page that there is not.
        """
        if not rows:
            return []
        counts = [len(row.tokens) for row in rows]
        ends = list(itertools.accumulate(counts))
        wanted = [count if row.every else 1 for row, count in zip(rows, counts, strict=True)]
        parts = (
            counts,
            [row.start for row in rows],
            [token for row in rows for token in row.tokens],
            [page for row in rows for page in row.pages],
            [0, *itertools.accumulate(len(row.pages) for row in rows)],
            [i for end, many in zip(ends, wanted, strict=True) for i in range(end - many, end)],
        )
        self.check(rows, parts[2], parts[3])
        numbers = np.array([number for part in parts for number in part], dtype=np.int32)
        bounds = [0, *itertools.accumulate(map(len, parts))]
        logits = torch.empty(sum(wanted), self.config.vocab_size)
        addresses = [numbers.ctypes.data + numbers.itemsize * begin for begin in bounds[:-1]]
        with self.lock:
            if self.rotated:
                self.reach(max(row.end for row in rows))
            angles = [table.data_ptr() for table in self.tables]
            step = StepParts(len(rows), ends[-1], len(logits), *addresses, logits.data_ptr(), *angles)
            if self.library.cutaway_step(self.handle, ctypes.byref(step)):
                raise CutawayError(f"there is not enough memory for a step of {ends[-1]} tokens; give it fewer at once")
        return list(logits.split(wanted))

    def check(self, rows: Sequence[Row], ids: Sequence[int], pages: Sequence[int]) -> None:
        """Raise `BadInput` for what would have the library read memory that is not its own."""
        for row in rows:
            if not row.tokens or row.start < 0 or row.end > len(row.pages) * PAGE:
                raise BadInput(f"positions {row.start} to {row.end} do not lie in {len(row.pages)} pages of {PAGE}")
            if row.end > self.config.context:
                raise BadInput(f"{row.end} tokens do not fit into the model's context of {self.config.context}")
        for what, numbers, many in (("token", ids, self.config.vocab_size), ("page", pages, len(self.pages.k[0]))):
            if min(numbers) < 0 or max(numbers) >= many:
                raise BadInput(f"there is a {what} outside of 0 to {many - 1}; give one that there is")

    def reach(self, end: int) -> None:
        """Have tables of rotary angles for the positions before `end`."""
        if self.tables and end <= len(self.tables[0]):
            return
        length = min(self.config.context, max(2 * end, STEPS_OF_TABLE))
        positions = torch.arange(length)
        far = rotation(positions, self.config, self.config.context)
        near = rotation(positions, self.config, self.config.context, local=True)
        self.tables = [table.float().contiguous() for table in (*far, *near)]

    def pack(self, model: Transformer, weights: Precision, threads: int) -> None:
        """Give the library all matrices, several at a time."""
        made = list(matrices(model))

        def one(i: int) -> int:
            matrix = made[i]()
            last = i == len(made) - 1
            kind = PRECISIONS.index("int8" if last and weights == "int4" else weights)
            return self.library.cutaway_pack(self.handle, i, matrix.data_ptr(), *matrix.shape, kind)

        with ThreadPoolExecutor(threads) as pool:
            if any(pool.map(one, range(len(made)))):
                raise CutawayError("there is not enough memory for the model's weights; take fewer bits for each")

    def address(self, tensor: Tensor | None) -> int | None:
        """Where a tensor lies, which from now on stays."""
        if tensor is None:
            return None
        self.kept.append(tensor)
        return tensor.data_ptr()

    def norm(self, norm: Norm | None) -> NormParts:
        """A norm, or none."""
        if norm is None:
            return NormParts()
        bias = None if norm.bias is None else norm.bias.detach().float().contiguous()
        return NormParts(self.address(gain(norm)), self.address(bias))

    def shape(self, model: Transformer) -> Shape:
        """What belongs to no layer."""
        config = model.config
        embed = model.embed.weight.detach()
        if embed.dtype != torch.bfloat16:
            embed = embed.float()
        places: Tensor | None = None
        if config.positions == "learned":
            places = model.pos_embed.weight.detach()[config.position_offset :].float().contiguous()
        elif config.positions == "sinusoidal":
            places = sinusoidal(torch.arange(config.context), config.d_model).contiguous()
        bias = bias_of(model.unembed)
        return Shape(
            n_layers=config.n_layers,
            d_model=config.d_model,
            n_heads=config.n_heads,
            n_kv_heads=config.n_kv_heads,
            d_head=config.d_head,
            d_rotary=config.d_rotary,
            d_mlp=config.d_mlp,
            vocab_size=config.vocab_size,
            centred=config.norm == "layer",
            norm_place=PLACES.index(config.norm_place),
            parallel=config.parallel,
            qk_norm=QK_NORMS.index(config.qk_norm),
            gated=config.gated,
            activation=get_args(Activation).index(config.activation),
            embed_bfloat16=embed.dtype == torch.bfloat16,
            norm_eps=config.norm_eps,
            attention_scale=config.scale,
            attention_softcap=config.attention_softcap or 0,
            embedding_scale=config.embedding_scale,
            logit_scale=config.logit_scale,
            final_softcap=config.final_softcap or 0,
            embed=self.address(embed.contiguous()),
            positions=self.address(places),
            slopes=self.address(alibi_slopes(config.n_heads).float() if config.positions == "alibi" else None),
            bias_unembed=self.address(None if bias is None else padded(bias)),
            norm_embed=self.norm(model.ln_embed if config.embedding_norm else None),
            norm_final=self.norm(model.ln_final),
        )

    def layer(self, block: Block, i: int) -> LayerParts:
        """What a layer has beside its matrices."""
        config = self.config
        local = i in config.local_layers
        turn = 0 if not self.rotated or i in config.unrotated_layers else 2 if local else 1
        has_qk_norm = config.qk_norm != "none"
        return LayerParts(
            norm1=self.norm(block.ln1),
            norm1_after=self.norm(block.ln1_post),
            norm2=self.norm(block.ln2),
            norm2_after=self.norm(block.ln2_post),
            norm_q=self.address(gain(block.attn.q_norm)) if has_qk_norm else None,
            norm_k=self.address(gain(block.attn.k_norm)) if has_qk_norm else None,
            window=config.sparsity.width if local and config.sparsity else 0,
            turn=turn,
            **{f"bias_{name}": self.address(bias) for name, bias in biases(block).items()},
        )
