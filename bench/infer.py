"""Speed of writing and reading: our runners beside `transformers` and, where it is installed, `llama-cpp-python`.

    .venv/bin/python bench/infer.py  # shapes of 12M, 135M and 615M parameters, random weights
    .venv/bin/python bench/infer.py --sizes 12M --rounds 9
    .venv/bin/python bench/infer.py --model runs/demo/rl/model

All take turns in one process, on as many threads, greedily, after prompts of 32 tokens each; reading is one prompt of
512. Each figure is the median over the rounds; of `generate` the time after the first token counts. Ratios are to the
peer of the same precision: llama.cpp, or without it `transformers`. The ceiling of a sequence that is written alone is
how often a block of memory as large as the weights can be read a second.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, StoppingCriteria

from cutaway.evals.markdown import markdown_table
from cutaway.infer.native import NativeRunner
from cutaway.infer.pages import Pages, pages_for
from cutaway.infer.runner import Row, Runner, TorchRunner
from cutaway.model import ModelConfig, Transformer, load_model, save_model
from cutaway.model.gguf import save_gguf
from cutaway.model.presets import PRESETS

try:
    import llama_cpp
except ImportError:
    llama_cpp = None

BATCHES = (1, 8, 32)
PROMPT, LONG = 32, 512
CONTEXT = 1024
SMOLLM2 = ModelConfig(
    vocab_size=49_152, n_layers=30, d_model=576, n_heads=9, n_kv_heads=3, d_head=64, d_mlp=1536, family="llama",
    qk_norm="none", norm_eps=1e-5, rope_theta=1e5,
)  # fmt: skip
SHAPES = {
    "12M": dataclasses.replace(ModelConfig.from_depth(8, 6144), n_layers=6),
    "135M": SMOLLM2,
    "615M": PRESETS["qwen3-0.6b"].shape,
}
BITS = {"float32": 32, "bfloat16": 16, "int8": 8.5, "int4": 5}
FILES = {"float32": "f32", "bfloat16": "bf16", "int8": "q8_0", "int4": "q4_0"}


class Contender(Protocol):
    """Somebody who runs the model."""

    def begin(self, batch: int) -> None:
        """Read that many prompts."""

    def write(self, steps: int) -> float:
        """Write so many tokens after each; the seconds it took."""

    def read(self) -> float:
        """Read the long prompt from nothing; the seconds it took."""


def prompts_of(batch: int, length: int, vocab: int) -> list[list[int]]:
    draw = torch.Generator().manual_seed(batch)
    return torch.randint(8, vocab, (batch, length), generator=draw).tolist()


class Ours:
    """A runner and its pages."""

    def __init__(self, model: Transformer, made: Callable[[Pages], Runner], dtype: torch.dtype = torch.float32) -> None:
        self.vocab = model.config.vocab_size
        self.pages = Pages(model.config, max(BATCHES) * pages_for(CONTEXT // 2), dtype=dtype)
        self.runner = made(self.pages)

    def step(self, new: list[list[int]]) -> None:
        """One token more for each sequence, after it has read its `new` ones."""
        rows = [Row(ids, at, own) for ids, at, own in zip(new, self.lengths, self.own, strict=True)]
        logits = torch.cat(self.runner.run(rows))
        self.lengths = [at + len(ids) for ids, at in zip(new, self.lengths, strict=True)]
        self.last = logits.argmax(-1).tolist()

    def begin(self, batch: int) -> None:
        need = pages_for(CONTEXT // 2)
        self.own = [list(range(1 + i * need, 1 + (i + 1) * need)) for i in range(batch)]
        self.lengths = [0] * batch
        self.step(prompts_of(batch, PROMPT, self.vocab))

    def write(self, steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            self.step([[token] for token in self.last])
        return time.perf_counter() - began

    def read(self) -> float:
        prompt = prompts_of(1, LONG, self.vocab)[0]
        began = time.perf_counter()
        self.runner.run([Row(prompt, 0, list(range(1, 1 + pages_for(LONG))))])
        return time.perf_counter() - began


class Clock(StoppingCriteria):
    """Stops nothing, and notes when each token was chosen."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        self.times.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool)


class Transformers:
    """`generate`."""

    def __init__(self, directory: Path, dtype: torch.dtype) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype).eval()
        self.model.generation_config = GenerationConfig()

    def begin(self, batch: int) -> None:
        self.prompts = torch.tensor(prompts_of(batch, PROMPT, self.model.config.vocab_size))

    def write(self, steps: int) -> float:
        settings = GenerationConfig(max_new_tokens=steps + 1, do_sample=False, eos_token_id=None, pad_token_id=0)
        clock, present = Clock(), torch.ones_like(self.prompts)
        with torch.inference_mode():
            self.model.generate(
                self.prompts, attention_mask=present, generation_config=settings, stopping_criteria=[clock]
            )
        return clock.times[-1] - clock.times[0]

    def read(self) -> float:
        prompt = torch.tensor(prompts_of(1, LONG, self.model.config.vocab_size))
        began = time.perf_counter()
        with torch.inference_mode():
            self.model(prompt, logits_to_keep=1)
        return time.perf_counter() - began


class LlamaCpp:
    """llama.cpp by its own functions, many sequences in one batch."""

    def __init__(self, file: Path, vocab: int) -> None:
        self.vocab = vocab
        model = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(str(file).encode(), model)
        options = llama_cpp.llama_context_default_params()
        options.n_seq_max = max(BATCHES)
        options.n_ctx = max(BATCHES) * CONTEXT // 2
        options.n_batch = options.n_ubatch = max(BATCHES) * PROMPT
        options.n_threads = options.n_threads_batch = torch.get_num_threads()
        options.kv_unified = False
        options.no_perf = True
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        self.batch = llama_cpp.llama_batch_init(max(BATCHES) * PROMPT, 0, 1)

    def decode(self, new: list[list[int]], starts: list[int]) -> list[int]:
        """The likeliest token after each sequence."""
        batch, n, ends = self.batch, 0, []
        for sequence, (ids, start) in enumerate(zip(new, starts, strict=True)):
            for i, token in enumerate(ids):
                batch.token[n], batch.pos[n] = token, start + i
                batch.n_seq_id[n], batch.seq_id[n][0] = 1, sequence
                batch.logits[n] = i == len(ids) - 1
                n += 1
            ends.append(n - 1)
        batch.n_tokens = n
        if llama_cpp.llama_decode(self.context, batch):
            raise RuntimeError("llama.cpp could not decode")
        rows = (llama_cpp.llama_get_logits_ith(self.context, end) for end in ends)
        return [int(np.ctypeslib.as_array(row, (self.vocab,)).argmax()) for row in rows]

    def begin(self, batch: int) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        self.last = self.decode(prompts_of(batch, PROMPT, self.vocab), [0] * batch)
        self.lengths = [PROMPT] * batch

    def write(self, steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            self.last = self.decode([[token] for token in self.last], self.lengths)
            self.lengths = [length + 1 for length in self.lengths]
        return time.perf_counter() - began

    def read(self) -> float:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        prompt = prompts_of(1, LONG, self.vocab)
        began = time.perf_counter()
        self.decode(prompt, [0])
        return time.perf_counter() - began


def contenders(model: Transformer, directory: Path, precision: str) -> Iterator[tuple[str, Contender]]:
    """Everybody who can run it, by name, in this precision."""
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    yield "ours, native", Ours(model, lambda pages: NativeRunner(model, pages, weights=precision), dtype)
    if precision == "float32":
        yield "ours, PyTorch", Ours(model, lambda pages: TorchRunner(model, pages))
    if precision in ("float32", "bfloat16"):
        yield "transformers", Transformers(directory, dtype)
    if llama_cpp:
        file = directory / f"{precision}.gguf"
        save_gguf(model, file, kind=FILES[precision])
        yield "llama.cpp", LlamaCpp(file, model.config.vocab_size)


def bandwidth(size: float) -> float:
    """Bytes a second that a block of that many is read with, again and again."""
    block = torch.ones(int(size) // 4)
    times: list[float] = []
    for _ in range(9):
        began = time.perf_counter()
        block.sum()
        times.append(time.perf_counter() - began)
    return block.numel() * 4 / statistics.median(times)


def measured(who: Contender, seconds: float) -> dict[str, float]:
    """Tokens a second for each batch, and of reading."""
    speeds: dict[str, float] = {}
    for batch in BATCHES:
        who.begin(batch)
        one = min(who.write(2), who.write(2)) / 2
        steps = max(2, min(int(seconds / one), 128))
        who.begin(batch)
        speeds[str(batch)] = batch * steps / who.write(steps)
    speeds["reading"] = LONG / min(who.read(), who.read())
    return speeds


def compare(name: str, model: Transformer, directory: Path, given: argparse.Namespace) -> None:
    """Print one model's table."""
    weights = sum(parameter.numel() for parameter in model.parameters())
    rows: list[list[str]] = []
    for precision in given.precisions:
        made = dict(contenders(model, directory, precision))
        found: dict[str, list[dict[str, float]]] = {who: [] for who in made}
        ceilings: list[float] = []
        for round_ in range(given.rounds):
            order = list(made) if round_ % 2 else list(reversed(made))
            ceilings.append(bandwidth(weights * BITS[precision] / 8) / (weights * BITS[precision] / 8))
            for who in order:
                found[who].append(measured(made[who], given.seconds))
        medians = {
            who: {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
            for who, rounds in found.items()
        }
        peer = medians.get("llama.cpp") or medians.get("transformers")
        ceiling = statistics.median(ceilings)
        for who, speeds in medians.items():
            cells = [f"{speed:,.0f}" + ratio(speed, peer and peer[key]) for key, speed in speeds.items()]
            rows.append([precision, who, *cells, f"{speeds['1'] / ceiling:.0%}"])
        del made
    print(f"\n{name}: {weights / 1e6:.1f}M parameters, {torch.get_num_threads()} threads\n")
    head = ["Weights", "Runner", *(f"batch {batch}" for batch in BATCHES), f"reading {LONG}", "of the ceiling, batch 1"]
    print(markdown_table(head, rows, text_columns=2), flush=True)


def ratio(speed: float, peer: float | None) -> str:
    return "" if peer is None or speed == peer else f" ({speed / peer:.2f}×)"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, help="a model directory, instead of the shapes")
    options.add_argument("--sizes", nargs="+", choices=SHAPES, default=list(SHAPES))
    options.add_argument("--precisions", nargs="+", choices=BITS, default=list(BITS))
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=0.5, help="that each writes for, in each round and batch")
    given = options.parse_args()
    if llama_cpp:
        silent = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
    for name in [given.model.name] if given.model else given.sizes:
        with tempfile.TemporaryDirectory() as temporary:
            directory = Path(temporary)
            if given.model:
                model = load_model(given.model)
            else:
                torch.manual_seed(0)
                model = Transformer(dataclasses.replace(SHAPES[name], context=CONTEXT)).requires_grad_(False).eval()
            save_model(model, directory)
            compare(name, model, directory, given)


if __name__ == "__main__":
    main()
