"""Training speed: our step beside `transformers`' Qwen3 of the same shape, on the same batches, in the same process.

    .venv/bin/python bench/train.py            # the demo's shape
    .venv/bin/python bench/train.py --depth 8

All take a whole step: forward, loss, backward, clipping, update. Ours updates the blocks' matrices with Muon, which
costs more than the peer's AdamW; so that model and optimiser can be told apart, it is also run with AdamW alone. The
contenders take turns in every round, so that a machine that slows down slows all of
them; the figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from cutaway.evals.markdown import markdown_table
from cutaway.model import ModelConfig, Transformer
from cutaway.model.huggingface import config_json, rules_of
from cutaway.model.weights import own_tensors, parts_of
from cutaway.train.loop import flops_per_token
from cutaway.train.machine import can_compile, compute_dtype, matmul_flops
from cutaway.train.optimizer import Optimizer, OptimizerSettings
from cutaway.train.step import TrainStep

Step = Callable[[Tensor, Tensor], float]


class PlainAdamW:
    """The peer's optimiser behind the interface of ours."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.adamw = torch.optim.AdamW(model.parameters(), lr=0.004, betas=(0.9, 0.95), fused=True)

    def step(self, scale: float) -> None:
        self.adamw.step()

    def zero_grad(self) -> None:
        self.adamw.zero_grad(set_to_none=True)


def ours(config: ModelConfig, dtype: torch.dtype, *, compiled: bool, muon: bool = True) -> Step:
    torch.manual_seed(0)
    model = Transformer(config)
    optimizer: Any = Optimizer(model, OptimizerSettings()) if muon else PlainAdamW(model)
    step = TrainStep(model, optimizer, compiled=compiled, dtype=dtype)
    return lambda inputs, targets: step(inputs, targets, torch.ones(inputs.shape, dtype=torch.bool), scale=1.0)[0]


def theirs(config: ModelConfig, dtype: torch.dtype, *, compiled: bool) -> Step:
    torch.manual_seed(0)
    ours = Transformer(config)
    state = {name: parts_of(held, own_tensors(ours))[0] for name, held in rules_of(ours).items()}
    model = Qwen3ForCausalLM(Qwen3Config(**config_json(config), attn_implementation="sdpa"))
    model.load_state_dict(state, strict=False)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.004, betas=(0.9, 0.95), fused=True)

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = model(inputs, use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    compute = torch.compile(loss_of) if compiled else loss_of

    def step(inputs: Tensor, targets: Tensor) -> float:
        loss = compute(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--depth", type=int, default=4)
    options.add_argument("--vocab", type=int, default=4096)
    options.add_argument("--rows", type=int, default=16)
    options.add_argument("--length", type=int, default=256)
    options.add_argument("--rounds", type=int, default=8)
    given = options.parse_args()

    config = ModelConfig.from_depth(given.depth, given.vocab, context=given.length)
    dtype = compute_dtype()
    flops = flops_per_token(config, given.length)
    contenders: dict[str, Step] = {
        "transformers, eager": theirs(config, dtype, compiled=False),
        "Cutaway, eager": ours(config, dtype, compiled=False),
    }
    if can_compile():
        contenders["transformers, torch.compile"] = theirs(config, dtype, compiled=True)
        contenders["Cutaway, torch.compile"] = ours(config, dtype, compiled=True)
        contenders["Cutaway, torch.compile, AdamW"] = ours(config, dtype, compiled=True, muon=False)

    draw = torch.Generator().manual_seed(1)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    first: dict[str, float] = {}
    ceilings: list[float] = []
    for round_ in range(given.rounds + 2):
        tokens = torch.randint(0, given.vocab, (given.rows, given.length + 1), generator=draw)
        # Measured anew each round, past the cache: the ceiling moves with the machine too.
        ceilings.append(matmul_flops.__wrapped__(dtype))
        for name, step in contenders.items():
            began = time.perf_counter()
            loss = step(tokens[:, :-1], tokens[:, 1:])
            # The first two rounds warm up: the first compiles, and in the second memory is found.
            if round_ >= 2:
                seconds[name].append(time.perf_counter() - began)
            first.setdefault(name, loss)
    losses = list(first.values())
    assert max(losses) - min(losses) < 0.02 * max(losses), f"the contenders compute different losses: {first}"

    ceiling = statistics.median(ceilings)
    size = given.rows * given.length
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    rows: list[list[str]] = []
    for name, median in medians.items():
        peer = medians[name.replace("Cutaway", "transformers").removesuffix(", AdamW")]
        rows.append([name, f"{size / median:,.0f}", f"{median * 1e3:.0f}", f"{size / median * flops / ceiling:.0%}",
                     f"{peer / median:.2f}×"])  # fmt: skip
    weights = sum(weight.numel() for weight in Transformer(config).parameters())
    print(f"{weights / 1e6:.2f}M parameters, {given.rows} rows of {given.length} tokens, {str(dtype)[6:]}, "
          f"{torch.get_num_threads()} threads, matrix products at {ceiling / 1e9:.0f} GFLOP/s\n")  # fmt: skip
    print(markdown_table(["Training step", "tokens/s", "ms a step", "of the ceiling", "speed-up"], rows))


if __name__ == "__main__":
    main()
