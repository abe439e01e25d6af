"""Decoding speed: our batched generation beside `transformers`' `generate`, on one model directory, greedily.

    .venv/bin/python bench/infer.py                                # the demo's shape, random weights
    .venv/bin/python bench/infer.py --model runs/demo/rl/model

The two take turns on the same prompts, and must write the same tokens; a tie between two logits that is decided by the
order of additions may part them, so the share of sequences that agree is shown.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from cutaway.evals.markdown import markdown_table
from cutaway.infer import generate_batch
from cutaway.model import ModelConfig, Transformer, load_model, save_model
from cutaway.train.machine import matmul_flops

BATCHES = (1, 16, 128)


def memory_bandwidth() -> float:
    """Bytes a second that this machine reads from memory: the ceiling of decoding one sequence."""
    block = torch.ones(2**26)
    times: list[float] = []
    for _ in range(7):
        began = time.perf_counter()
        block.sum()
        times.append(time.perf_counter() - began)
    return block.numel() * 4 / statistics.median(times)


def prompts_of(batch: int, vocab: int) -> list[list[int]]:
    draw = torch.Generator().manual_seed(batch)
    lengths = torch.randint(12, 40, (batch,), generator=draw).tolist()
    return [torch.randint(8, vocab, (length,), generator=draw).tolist() for length in lengths]


def theirs(peer: torch.nn.Module, prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
    longest = max(map(len, prompts))
    tokens = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = GenerationConfig(max_new_tokens=max_tokens, do_sample=False, eos_token_id=None, pad_token_id=0)
    with torch.inference_mode():
        written = peer.generate(tokens, attention_mask=mask, generation_config=settings)
    return written[:, longest:].tolist()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, help="a model directory; else random weights of the demo's shape")
    options.add_argument("--tokens", type=int, default=64, help="tokens to write after each prompt")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        directory = given.model or Path(temporary)
        if given.model is None:
            torch.manual_seed(0)
            save_model(Transformer(ModelConfig.from_depth(4, 4096, context=512)), directory)
        model = load_model(directory)
        peer = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        peer.generation_config = GenerationConfig()
        weights = sum(weight.numel() for weight in model.parameters())
        ceilings: list[float] = []
        bandwidths: list[float] = []
        rows: list[list[str]] = []
        for batch in BATCHES:
            prompts = prompts_of(batch, model.config.vocab_size)
            times: dict[str, list[float]] = {"ours": [], "theirs": []}
            for round_ in range(given.rounds + 1):
                # Past the cache: the ceilings move with the machine, so they take their turn in each round.
                ceilings.append(matmul_flops.__wrapped__())
                bandwidths.append(memory_bandwidth())
                began = time.perf_counter()
                mine = generate_batch(model, prompts, max_tokens=given.tokens, stop_ids=())
                middle = time.perf_counter()
                other = theirs(peer, prompts, given.tokens)
                ended = time.perf_counter()
                if round_:
                    times["ours"].append(middle - began)
                    times["theirs"].append(ended - middle)
            ceiling, bandwidth = statistics.median(ceilings), statistics.median(bandwidths)
            ours_s, theirs_s = (statistics.median(times[who]) for who in ("ours", "theirs"))
            speed = batch * given.tokens / ours_s
            same = sum(a == b for a, b in zip(mine, other, strict=True)) / batch
            rows.append([str(batch), f"{speed:,.0f}", f"{batch * given.tokens / theirs_s:,.0f}",
                         f"{theirs_s / ours_s:.2f}×", f"{same:.0%}", f"{speed * 2 * weights / ceiling:.0%}",
                         f"{speed / batch * 4 * weights / bandwidth:.0%}"])  # fmt: skip
    print(
        f"{weights / 1e6:.2f}M parameters, {given.tokens} tokens after each prompt, float32, "
        f"{torch.get_num_threads()} threads, {ceiling / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s\n"
    )
    head = ["Sequences", "Cutaway, tokens/s", "transformers", "ratio", "same text", "of matrix products", "of memory"]
    print(markdown_table(head, rows))


if __name__ == "__main__":
    main()
