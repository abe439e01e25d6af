"""Training speed: our step beside `transformers`' GPT-2 and Llama and `litgpt`'s GPT, on the same tokens.

    .venv/bin/python bench/train.py                        # 3.4M, 12M and 29M weights at 256 positions
    .venv/bin/python bench/train.py --shapes 124M 124M-1024 --rounds 4
    .venv/bin/python bench/train.py --processor-time       # on a machine that others use too

A step is forward, loss, backward, clipping and update. The peers are taken as shipped (eager, float32) and tuned:
`torch.compile`, and bfloat16 under autocast as well where the machine multiplies that faster. Peers update with AdamW;
so does ours, and once with Muon, which costs more a step and needs fewer of them. All shapes are those of the peer
(Llama's: RMSNorm, rotary positions, SwiGLU; GPT-2's: its own), with the same width, depth, heads and vocabulary; ours
has Llama's. The contenders take turns in every round, so that a machine that slows down slows all of them; figures are
medians over the rounds. `litgpt` takes part where it is installed (`make oracles` does).
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cutaway.evals.markdown import markdown_table
from cutaway.model import ModelConfig, Transformer
from cutaway.train.cost import flops_per_token
from cutaway.train.machine import can_compile, compute_dtype, device, keep_freed_memory, matmul_flops
from cutaway.train.objectives import LanguageModelling
from cutaway.train.optimizer import Optimizer, OptimizerSettings
from cutaway.train.settings import LoopSettings
from cutaway.train.step import TrainStep

Step = Callable[[Tensor], float]


class Shape(NamedTuple):
    width: int
    layers: int
    heads: int
    vocab: int
    length: int
    rows: int


SHAPES = {
    "3.4M": Shape(192, 6, 6, 4096, 256, 16),
    "12M": Shape(384, 6, 6, 4096, 256, 16),
    "29M": Shape(512, 8, 8, 8192, 256, 16),
    "124M": Shape(768, 12, 12, 50_304, 256, 8),
    "124M-1024": Shape(768, 12, 12, 50_304, 1024, 2),
    "1B": Shape(2048, 18, 16, 50_304, 1024, 8),
}


def config_of(shape: Shape) -> ModelConfig:
    return ModelConfig(
        vocab_size=shape.vocab, n_layers=shape.layers, d_model=shape.width, n_heads=shape.heads,
        n_kv_heads=shape.heads, d_head=shape.width // shape.heads, d_mlp=32 * round(shape.width * 8 / 3 / 32),
        context=shape.length, qk_norm="none", family="llama",
    )  # fmt: skip


def ours(shape: Shape, dtype: torch.dtype, kind: str, *, compiled: bool) -> Step:
    torch.manual_seed(0)
    model = Transformer(config_of(shape)).to(device())
    optimizer = Optimizer(model, OptimizerSettings.model_validate({"kind": kind}))
    settings = LoopSettings(tokens=1, row_length=shape.length)
    step = TrainStep(
        model, LanguageModelling(), optimizer, compiled=compiled, dtype=dtype, micro_rows=settings.rows_at_once
    )

    def run(tokens: Tensor) -> float:
        learned = torch.ones(tokens.shape[0], shape.length, dtype=torch.bool, device=tokens.device)
        return step({"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "learned": learned}, scale=1.0).loss

    return run


def peer(model: nn.Module, logits_of: Callable[[Any], Tensor], dtype: torch.dtype, *, compiled: bool) -> Step:
    model = model.to(device()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.004, betas=(0.9, 0.95), fused=True)

    def loss_of(tokens: Tensor) -> Tensor:
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = logits_of(model(tokens[:, :-1]))
        return nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())

    compute = torch.compile(loss_of) if compiled else loss_of

    def step(tokens: Tensor) -> float:
        loss = compute(tokens)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def gpt2(shape: Shape) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=shape.vocab, n_positions=shape.length, n_embd=shape.width, n_layer=shape.layers,
        n_head=shape.heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def llama(shape: Shape) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    ours = config_of(shape)
    config = LlamaConfig(
        vocab_size=shape.vocab, hidden_size=shape.width, intermediate_size=ours.d_mlp,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
        max_position_embeddings=shape.length, tie_word_embeddings=True, use_cache=False,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def lit(shape: Shape) -> nn.Module:
    from litgpt.config import Config
    from litgpt.model import GPT

    torch.manual_seed(0)
    config = Config(
        name="bench", block_size=shape.length, vocab_size=shape.vocab, padded_vocab_size=shape.vocab,
        n_layer=shape.layers, n_head=shape.heads, n_query_groups=shape.heads, n_embd=shape.width,
        rotary_percentage=1.0, parallel_residual=False, bias=False, norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP", intermediate_size=config_of(shape).d_mlp,
    )  # fmt: skip
    model = GPT(config)
    model.lm_head.weight = model.transformer.wte.weight
    for weight in model.parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=0.02)
    return model


def contenders(shape: Shape, dtype: torch.dtype) -> dict[str, Step]:
    found: dict[str, tuple[Callable[[Shape], nn.Module], Callable[[Any], Tensor]]] = {
        "transformers GPT-2": (gpt2, lambda output: output.logits),
        "transformers Llama": (llama, lambda output: output.logits),
    }
    if importlib.util.find_spec("litgpt"):
        found["litgpt"] = (lit, lambda output: output)
    else:
        print("litgpt is not installed and takes no part")
    steps: dict[str, Step] = {}
    for name, (make, logits_of) in found.items():
        steps[f"{name}, as shipped"] = peer(make(shape), logits_of, torch.float32, compiled=False)
        if can_compile():
            steps[f"{name}, tuned"] = peer(make(shape), logits_of, dtype, compiled=True)
    for kind in ("adamw", "muon"):
        steps[f"Cutaway, {kind}"] = ours(shape, dtype, kind, compiled=can_compile())
    return steps


def measure(name: str, shape: Shape, rounds: int, clock: Callable[[], float]) -> None:
    dtype = compute_dtype()
    steps = contenders(shape, dtype)
    draw = torch.Generator().manual_seed(1)
    seconds: dict[str, list[float]] = {each: [] for each in steps}
    first: dict[str, float] = {}
    ceilings: list[float] = []
    for round_ in range(rounds + 2):
        tokens = torch.randint(0, shape.vocab, (shape.rows, shape.length + 1), generator=draw).to(device())
        # Measured anew each round, past the cache: the ceiling moves with the machine too.
        ceilings.append(matmul_flops.__wrapped__(dtype))
        for each, step in steps.items():
            began = clock()
            loss = step(tokens)
            if tokens.is_cuda:
                torch.cuda.synchronize()
            # The first two rounds warm up: the first compiles, and in the second memory is found.
            if round_ >= 2:
                seconds[each].append(clock() - began)
            first.setdefault(each, loss)
    assert max(first.values()) - min(first.values()) < 0.02 * max(first.values()), f"losses differ: {first}"

    ceiling, size = statistics.median(ceilings), shape.rows * shape.length
    flops = flops_per_token(config_of(shape), shape.length)
    medians = {each: statistics.median(times) for each, times in seconds.items()}
    shipped = medians["transformers GPT-2, as shipped"]
    best = min(median for each, median in medians.items() if "Cutaway" not in each)
    threads = torch.get_num_threads()
    share = 1 if clock is time.perf_counter else threads
    rows = [
        [each, f"{size / median:,.0f}", f"{median * 1e3:,.0f}", f"{share * size / median * flops / ceiling:.0%}",
         f"{shipped / median:.2f}×", f"{best / median:.2f}×"]
        for each, median in medians.items()
    ]  # fmt: skip
    weights = sum(weight.numel() for weight in Transformer(config_of(shape)).parameters())
    print(f"\n### {name}: {weights / 1e6:.1f}M weights, {shape.rows} rows of {shape.length} tokens\n")
    print(f"{str(dtype)[6:]}, {threads} threads, matrix products at {ceiling / 1e9:,.0f} GFLOP/s, {rounds} rounds\n")
    heads = ["Training step", "tokens/s", "ms a step", "of the ceiling", "of GPT-2 as shipped", "of the best peer"]
    print(markdown_table(heads, rows), flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shapes", nargs="+", choices=SHAPES, default=["3.4M", "12M", "29M"])
    options.add_argument("--rounds", type=int, default=6)
    options.add_argument("--processor-time", action="store_true", help="count the processor's seconds, not the clock's")
    given = options.parse_args()
    keep_freed_memory()
    for name in given.shapes:
        measure(name, SHAPES[name], given.rounds, time.process_time if given.processor_time else time.perf_counter)
        gc.collect()
        # It gives up on a function of which it has eight graphs, and every model is one.
        torch.compiler.reset()


if __name__ == "__main__":
    main()
