"""How much memory a training step takes on a device, from the model's configuration alone.

Weights, their gradients and the optimiser's moments are there however little is read at once; what is kept of the way
forward grows with the rows that are read at once (Rajbhandari et al. 2020, section 3). A step is largest at one of four
moments: when the loss goes into its own gradient, in the first block on the way back, at the end of the way back when
all gradients are there, or while the optimiser works.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import Literal

from cutaway.model.anatomy import ATTENTION, CROSS, MLP, anatomy_of
from cutaway.model.config import ModelConfig
from cutaway.model.footprint import training_bytes
from cutaway.train.activations import FLOAT32, Kept, kept_of, stacks


@dataclass(frozen=True)
class Layout:
    """How a step goes through a device."""

    rows: int
    """Rows at once."""
    length: int
    """Tokens a row."""
    compute: int = 2
    """Bytes of a number in matrix products: 2 under autocast to bfloat16, 4 in float32. Weights are float32."""
    compiled: bool = True
    recompute: bool = False
    """Whether each block is worked out again on the way back instead of being kept."""
    shards: int = 1
    """Devices among which weights, gradients and moments are divided (FSDP)."""
    accumulated: bool = False
    """Whether a step has several portions, whose gradients add up."""
    optimizer: Literal["muon", "adamw"] = "muon"


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step on one device."""

    weights: float
    gradients: float
    optimizer: float
    """Moments."""
    copies: float
    """Weights beside the device's own: in bfloat16 under autocast; gathered, where they are divided."""
    kept: float
    """What is kept of the way forward until the way back, but for the logits."""
    logits: float
    """The logits and what the loss makes of them."""
    working: float
    """The optimiser's room to work in."""
    moments: dict[str, float]
    """All that is there at each of the moments at which there may be most."""

    @property
    def peak(self) -> float:
        """The most that is there at once."""
        return max(self.moments.values())

    @property
    def at(self) -> str:
        """When that is."""
        return max(self.moments, key=lambda moment: self.moments[moment])


def step_memory(config: ModelConfig, layout: Layout) -> StepMemory:
    """What a step takes in its steady state, from the second step on, when the optimiser has its moments."""
    n, anatomy = layout.shards, anatomy_of(config)
    weights = FLOAT32 * anatomy.parameters
    trained = training_bytes(anatomy)
    moments = trained.get("Muon" if layout.optimizer == "muon" else "AdamW", trained["AdamW"]) - 2 * weights
    kept = kept_of(config, layout.rows, layout.length, compute=layout.compute, compiled=layout.compiled)
    embedding = FLOAT32 * config.vocab_size * config.d_model
    in_blocks = FLOAT32 * sum(row.weights for row in anatomy.matrices if row.part in (ATTENTION, CROSS, MLP))
    copies, passing = beside(
        layout, in_blocks, weights - in_blocks, embedding, config.n_layers + config.n_encoder_layers
    )
    blocks = kept.all_blocks(recompute=layout.recompute)
    held = weights / n if layout.accumulated else 0.0
    always = (weights + moments) / n
    working = room_to_work(config, layout)
    return StepMemory(
        weights=weights / n,
        gradients=weights / n,
        optimizer=moments / n,
        copies=copies,
        kept=blocks + kept.ends,
        logits=kept.logits + kept.loss,
        working=working,
        moments={
            "at the loss": always + held + copies + blocks + kept.ends + kept.logits + kept.loss,
            "in the last norm on the way back": always + held + copies + blocks + kept.last_norm,
            "in the first block on the way back": always
            + max(held, embedding / n)
            + copies
            + passing
            + blocks
            + again(kept, layout)
            + kept.widest,
            "at the end of the way back": always + weights / n + copies + passing + embedding + first(kept, layout),
            "in the optimiser's update": always + weights / n + working,
        },
    )


def again(kept: Kept, layout: Layout) -> float:
    """What a block that is worked out again keeps beside its input."""
    return max(whole - entering for whole, entering in zip(kept.blocks, kept.inputs, strict=True)) * layout.recompute


def first(kept: Kept, layout: Layout) -> float:
    """What is left of the first block when its own gradients are worked out."""
    return kept.inputs[0] + kept.widest


def beside(layout: Layout, in_blocks: float, outside: float, embedding: float, n_blocks: int) -> tuple[float, float]:
    """Bytes of weights beside the device's own, and of gradients that are on their way to other devices.

    Under autocast every matrix has a bfloat16 copy until its gradient is there. Where weights are divided, those
    outside the blocks are gathered throughout, and of the blocks two at a time: the one at work and the next.
    """
    share = layout.compute / FLOAT32
    if layout.shards == 1:
        return (0.0 if share == 1 else share * (in_blocks + embedding)), 0.0
    of_head = 0.0 if share == 1 else share * embedding
    return outside + of_head + 2 * share * in_blocks / n_blocks, outside + (share + 1) * in_blocks / n_blocks


def muons_matrices(config: ModelConfig) -> Counter[tuple[int, int]]:
    """How many matrices of each shape, rows and columns as they are stored, Muon moves: those in blocks but experts.

    In the order in which it comes to them.
    """
    matrices: Counter[tuple[int, int]] = Counter()
    q, kv, width = config.n_heads * config.d_head, config.n_kv_heads * config.d_head, config.d_model
    for stack in stacks(config):
        attentions = stack.n_layers * (2 if stack.kind == "encoder-decoder" else 1)
        sparse = sum(layer < stack.n_layers for layer in stack.expert_layers) if stack.experts else 0
        dense = stack.n_layers - sparse
        matrices[q, width] += attentions
        matrices[kv, width] += 2 * attentions
        matrices[width, q] += attentions
        matrices[config.d_mlp, width] += dense * (1 + config.gated)
        matrices[width, config.d_mlp] += dense
        if stack.experts:
            matrices[stack.experts.n, width] += sparse
    return matrices


def room_to_work(config: ModelConfig, layout: Layout) -> float:
    """Bytes that the optimiser takes while it works.

    AdamW, fused, needs none. Muon takes the matrices of one shape at once: their gradients in one stack, that stack
    scaled, and the products of its rows with each other, five of them at a time (`cutaway.train.optimizer`); what it
    made of the shape before is still there.
    """
    if layout.optimizer == "adamw":
        return 0.0
    most = before = 0.0
    for (rows, columns), count in muons_matrices(config).items():
        each = ceil(count / layout.shards)
        stack, gram = FLOAT32 * each * rows * columns, FLOAT32 * each * min(rows, columns) ** 2
        passing = 3 * stack if layout.shards > 1 else 0.0  # sent, received and sent back
        most = max(most, before + passing + max(2 * stack + 5 * gram, 3 * stack + 3 * gram))
        before = stack
    return most
