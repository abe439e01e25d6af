"""A model's opening and its forward pass, beside `transformers`.

    .venv/bin/python bench/model.py              # a random directory of a billion weights; takes 7 GB of disk
    .venv/bin/python bench/model.py --small      # of 60 million
    .venv/bin/python bench/model.py --cpu-time   # on a busy machine: the processor's time instead of the clock's

Each opening has a process of its own. Its memory is the highest it held less what it held when the library had been
imported, so that libraries are not counted; files that are mapped are, once they are read. The forward passes take
turns in one process; the figures are medians.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cutaway.evals.markdown import markdown_table
from cutaway.infer.trace import Trace
from cutaway.model import ModelConfig, Transformer, attach, catalogue, load_model, save_model, tap_names
from cutaway.model.gguf import load_gguf
from cutaway.model.taps import UNTOUCHED, Tap, Under

ONE = torch.ones(1)
SMOL = "smollm2-135m"
BILLION = ModelConfig(
    vocab_size=32_000, n_layers=16, d_model=2048, n_heads=32, n_kv_heads=8, d_head=64, d_mlp=8192, context=2048
)
SMALL = ModelConfig(
    vocab_size=32_000, n_layers=8, d_model=640, n_heads=10, n_kv_heads=5, d_head=64, d_mlp=1792, context=2048
)


def held(which: str) -> int:
    """Bytes of memory: VmRSS now, VmHWM at most. `getrusage` would tell the parent's peak where that was higher."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(which)


def open_in_child(who: str, path: str, dtype_name: str) -> None:
    """What a child does: import, note, open, tell."""
    dtype = getattr(torch, dtype_name)
    file = Path(path)
    if who == "transformers":
        from transformers import AutoModelForCausalLM

        importlib.import_module("transformers.models.qwen3.modeling_qwen3")

        gguf = {"gguf_file": file.name} if file.suffix == ".gguf" else {}
        opened = functools.partial(AutoModelForCausalLM.from_pretrained, file.parent if gguf else file, **gguf)
    else:
        opened = functools.partial(load_gguf if file.suffix == ".gguf" else load_model, file)
    before, began, began_cpu = held("VmRSS"), time.perf_counter(), time.process_time()
    model = opened(dtype=dtype)
    # What is mapped and not read is not there yet.
    touched = sum(float(weight.flatten()[:: 4096 // weight.element_size()].sum()) for weight in model.parameters())
    ended, ended_cpu = time.perf_counter(), time.process_time()
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    print(json.dumps({"seconds": ended - began, "cpu": ended_cpu - began_cpu, "peak": held("VmHWM") - before,
                      "weights": weights, "finite": touched == touched}))  # fmt: skip


def child(*arguments: str) -> dict[str, float] | None:
    """What this file says when it is run with these arguments; None if it fails."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        print(f"({' '.join(arguments[1:])}: {(done.stderr.strip().splitlines() or ['?'])[-1][:160]})\n")
        return None
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}


def write_random(path: str, shape: str) -> None:
    """A directory of random weights in each type, by a child, whose memory goes with it."""
    config = BILLION if shape == "billion" else SMALL
    with torch.device("meta"):
        model = Transformer(config).to(torch.bfloat16)
    model.to_empty(device="cpu")
    model.unembed.weight = model.embed.weight
    model.requires_grad_(False)
    for weight in model.parameters():
        weight.normal_(std=0.02)
    save_model(model, Path(path, "bfloat16"), dtype=torch.bfloat16)
    save_model(model, Path(path, "float32"), dtype=torch.float32)


def openings(shape: str, rounds: int, *, cpu_time: bool) -> None:
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as directory:
        child("--child", "write", directory, shape)
        smol = catalogue.find(SMOL)
        if smol is None:
            print(f"({SMOL} is not here; get it with `cutaway models get {SMOL}`)\n")
        cases = [(f"random, {name}", Path(directory, name), name) for name in ("bfloat16", "float32")]
        cases += [("SmolLM2 135M, GGUF to float32", smol, "float32")] if smol else []
        for title, path, dtype in cases:
            found: dict[str, list[dict[str, float]]] = {"Cutaway": [], "transformers": []}
            for _ in range(rounds):
                for who, results in found.items():
                    result = child("--child", who, str(path), dtype)
                    results += [result] if result else []
            clock = "cpu" if cpu_time else "seconds"
            medians = {
                who: {key: statistics.median(r[key] for r in results) for key in (clock, "peak", "weights")}
                for who, results in found.items()
                if results
            }
            for who, median in medians.items():
                peer = medians.get("transformers", median)
                size, peak = median["weights"], median["peak"]
                rows.append([title if who == "Cutaway" else "", who, f"{size / 1e9:.2f} GB", f"{median[clock]:.2f}",
                             f"{peer[clock] / median[clock]:.2f}×",
                             f"{peak / 1e9:.2f} GB", f"{peak / size:.2f}"])  # fmt: skip
    print(markdown_table(["Opening", "", "weights", "s", "speed-up", "peak memory", "of the weights"], rows) + "\n")


class Counting(Tap):
    """Counts what a forward pass asks of a tap."""

    def __init__(self) -> None:
        self.calls = self.questions = self.prefixes = 0

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        self.calls += 1
        return tensor

    def wants(self, name: str) -> bool:
        self.questions += 1
        return False

    def under(self, prefix: str) -> Tap:
        self.prefixes += 1
        return Under(self, prefix)


def seconds_of(act: Callable[[], object], times: int = 100_000) -> float:
    began = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - began) / times


def forwards(rounds: int, *, cpu_time: bool) -> None:
    from transformers import AutoModelForCausalLM

    clock = time.process_time if cpu_time else time.perf_counter
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as directory:
        save_model(Transformer(SMALL), Path(directory))
        model = load_model(Path(directory))
        peer = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    names = list(tap_names(SMALL).shapes)
    # Each head's own input and output are as many copies of the residual stream as there are heads.
    light = [name for name in names if not name.endswith(("_input", "attn_in", "_result", "_pattern", "_scores"))]
    kept: dict[str, Tensor] = {}
    taps = {
        "one tap, on the residual stream": attach(SMALL, {"blocks.4.hook_resid_post": lambda x: kept.update(one=x)}),
        "one attention pattern": attach(SMALL, {"blocks.4.attn.hook_pattern": lambda x: kept.update(one=x)}),
        f"{len(light)} taps: all but patterns and each head's own": attach(SMALL, dict.fromkeys(light, lambda x: None)),
        f"all {len(names)} taps": attach(SMALL, dict.fromkeys(names, lambda x: None)),
    }
    for length in (1, 256):
        tokens = torch.randint(0, SMALL.vocab_size, (1, length))
        contenders: dict[str, Callable[[], object]] = {
            "transformers": lambda tokens=tokens: peer(tokens, use_cache=False),
            "Cutaway, no tap": lambda tokens=tokens: model(tokens),
            **{f"Cutaway, {name}": lambda tokens=tokens, tap=tap: model(tokens, tap=tap) for name, tap in taps.items()},
            "a trace of one name": lambda tokens=tokens: Trace(model, tokens)["blocks.4.hook_resid_post"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        with torch.no_grad():
            for round_ in range(rounds + 2):
                for name, forward in contenders.items():
                    began = clock()
                    forward()
                    if round_ >= 2:
                        seconds[name].append(clock() - began)
        medians = {name: statistics.median(some) for name, some in seconds.items()}
        plain = medians["Cutaway, no tap"]
        rows = [[name, f"{median * 1e3:.2f}", f"{median / plain:.3f}"] for name, median in medians.items()]
        print(markdown_table([f"Forward, {length} token{'s'[: length > 1]}", "ms", "of no tap"], rows) + "\n")
        counting = Counting()
        model(tokens, tap=counting)
        cost = (
            counting.calls * seconds_of(lambda: UNTOUCHED("hook_embed", ONE))
            + counting.questions * seconds_of(lambda: UNTOUCHED.wants("hook_embed"))
            + counting.prefixes * seconds_of(lambda: UNTOUCHED.under(f"blocks.{4}."))
        )
        print(f"{counting.calls} untouched taps, {counting.questions} questions and {counting.prefixes} prefixes take "
              f"{cost * 1e6:.0f} µs, {cost / plain:.2%} of such a pass.\n")  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="open a directory of 60 million weights")
    options.add_argument("--cpu-time", action="store_true", help="count the processor's time, not the clock's")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", choices=("open", "forward"))
    options.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = options.parse_args()
    match given.child:
        case ["write", path, shape]:
            write_random(path, shape)
        case [who, path, dtype]:
            open_in_child(who, path, dtype)
        case _:
            print(f"{torch.get_num_threads()} threads, {'processor' if given.cpu_time else 'wall-clock'} time\n")
            if given.only != "forward":
                openings("small" if given.small else "billion", given.rounds, cpu_time=given.cpu_time)
            if given.only != "open":
                forwards(5 * given.rounds, cpu_time=given.cpu_time)


if __name__ == "__main__":
    main()
