"""Attention for long texts: what full, windowed, local-and-global and block-sparse attention cost on this machine.

    .venv/bin/python bench/attention.py                     # 1k to 16k positions; takes some minutes
    .venv/bin/python bench/attention.py --lengths 1024 4096 --cpu-time

Each pattern goes through `scaled_dot_product_attention` as a mask, which works out every score and throws away what the
mask hides, and through a compiled `flex_attention`, which leaves out blocks that are hidden whole. Both must give the
same result. The figures are medians; compiling and making the mask are not in them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from cutaway.evals.markdown import markdown_table
from cutaway.model.config import Sparsity
from cutaway.model.reach import causal, sparse
from cutaway.train.machine import can_compile

HEADS, D_HEAD = 4, 64
PATTERNS = {
    "full": None,
    "window of 256": Sparsity("window", 256),
    "window of 256, 16 global": Sparsity("window", 256, 16),
    "blocks of 256, 16 of each": Sparsity("blocks", 256, 16),
}


def mask_of(length: int, sparsity: Sparsity | None) -> Tensor:
    """`[query, key]`, True where a key may be read."""
    places = torch.arange(length)
    mask = causal(places, places)
    return mask & sparse(places, places, sparsity) if sparsity else mask


def rule_of(sparsity: Sparsity | None) -> Callable[..., Tensor]:
    """The same as a rule for one query and one key, which is how `flex_attention` wants it."""

    def rule(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        if sparsity is None:
            return q >= k
        if sparsity.kind == "window":
            return (q >= k) & ((q - k < sparsity.width) | (k < sparsity.global_tokens))
        late = k % sparsity.width >= sparsity.width - sparsity.global_tokens
        return (q >= k) & ((q // sparsity.width == k // sparsity.width) | late)

    return rule


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--lengths", type=int, nargs="+", default=[1024, 2048, 4096, 8192, 16384])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--cpu-time", action="store_true", help="count the processor's time, not the clock's")
    given = options.parse_args()
    clock = time.process_time if given.cpu_time else time.perf_counter
    flex: Any = torch.compile(flex_attention) if can_compile() else None
    print(f"{HEADS} heads of {D_HEAD}, float32, {torch.get_num_threads()} threads, "
          f"{'processor' if given.cpu_time else 'wall-clock'} time\n")  # fmt: skip
    rows: list[list[str]] = []
    for length in given.lengths:
        draw = torch.Generator().manual_seed(length)
        q, k, v = (torch.randn(1, HEADS, length, D_HEAD, generator=draw) for _ in range(3))
        ways: dict[tuple[str, str], Callable[[], Tensor]] = {
            ("full", "causal flag"): lambda q=q, k=k, v=v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
        }
        read: dict[str, float] = {}
        for name, sparsity in PATTERNS.items():
            mask = mask_of(length, sparsity)
            read[name] = float(mask.sum()) / length**2
            ways[name, "mask"] = lambda q=q, k=k, v=v, m=mask: F.scaled_dot_product_attention(q, k, v, m)
            if flex is not None:
                blocks = create_block_mask(rule_of(sparsity), None, None, length, length, device="cpu")
                ways[name, "flex"] = lambda q=q, k=k, v=v, b=blocks: flex(q, k, v, block_mask=b)
        seconds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
        with torch.no_grad():
            for (name, how), run in ways.items():
                same = ways[name, "mask"]()
                assert (run() - same).abs().max() < 1e-4, f"{name} by {how} is another attention"
            for _ in range(given.rounds):
                for way, run in ways.items():
                    began = clock()
                    run()
                    seconds[way].append(clock() - began)
        medians = {way: statistics.median(some) for way, some in seconds.items()}
        full = medians["full", "causal flag"]
        for name in PATTERNS:
            row = [f"{length:,}" if name == "full" else "", name, f"{read[name]:.1%}"]
            for how in ("causal flag", "mask", "flex"):
                median = medians.get((name, how))
                row.append("" if median is None else f"{median * 1e3:,.1f} ({median / full:.2f})")
            rows.append(row)
    head = ["Positions", "Pattern", "pairs read", "causal flag, ms (of full)", "mask", "flex_attention"]
    print(markdown_table(head, rows))


if __name__ == "__main__":
    main()
