"""A run directory made by hand: what the report reads, without an hour of training before it."""

from __future__ import annotations

import json
import math
import random
import struct
from pathlib import Path

from cutaway.evals.outcomes import Outcome, write_outcomes
from cutaway.runs import Manifest, Result, RunDirectory, StageRecord, atomic, write_results
from cutaway.runs.manifest import Machine

STAGES = ("pretrain", "sft", "rl")
FIGURES: dict[str, tuple[float, float, float]] = {
    "bits_per_byte": (1.198, 1.221, 1.223),
    "facts": (0.412, 0.938, 0.934),
    "false_refusals": (0.0, 0.028, 0.03),
    "refused_fresh": (0.0, 0.967, 0.973),
    "refused_recombined": (0.0, 0.912, 0.905),
    "made_up_fresh": (0.93, 0.02, 0.013),
    "made_up_recombined": (0.95, 0.08, 0.085),
    "sums_in_steps": (0.205, 0.968, 0.982),
    "sums_direct": (0.012, 0.045, 0.05),
    "three_operands": (0.061, 0.512, 0.741),
    "calculator": (0.31, 0.985, 0.98),
    "without_calculator": (0.0, 0.0, 0.0),
    "counting": (0.184, 0.713, 0.708),
    "spelling": (0.52, 0.955, 0.95),
    "passage": (0.31, 0.88, 0.878),
    "identity": (0.33, 1.0, 1.0),
}
LOWER = ("bits_per_byte", "false_refusals", "made_up_fresh", "made_up_recombined")
COUNTS = {"facts": 500, "false_refusals": 500, "identity": 6, "sums_in_steps": 300, "sums_direct": 150}
SAMPLES = (
    "qz\u00e9 the\ufffdQ  ,und)) iJ \x1b[31m<b>of</b> ofnd s",
    " the of and the and of the of, and the the and of and the, the",
    " the son of the house of the Lord, and the people of the land were in the land of the",
    " the sons of Levi, and they went up to the town and made an offering. And he said to them, Have no fear",
    " those who went to Kestoria, where Mira Dolven was born. She is a potter, and she plays the harp in the evening.",
)


RECIPE = """seed = {seed}

[pretrain]
depth = 4
tokens = 9200000
shares = {{ real = 10, world = 3, chat = 3 }}

[sft]
tokens = 1500000

[sft.shares]
chat = 12
real = 3
world = 1

[sft.mixture]
world_facts = 30
refusal = 20
add = 10
subtract = 14
three = 3
direct = 0

[rl]
steps = 40
problems = 32
group = 8
"""


def make_run(path: Path, *, seed: int = 1, steps: int = 60, shift: float = 0.0) -> RunDirectory:
    """Write a finished run's directory; `shift` is added to every share, so that seeds can differ."""
    run = RunDirectory(path)
    rng = random.Random(seed)
    _manifest(run, seed)
    atomic.write_text(path / "recipe.toml", RECIPE.format(seed=seed))
    sizes = {"bbe": (1150, 4_180_000), "kjv": (1149, 4_020_000), "pydoc": (79, 690_000), "world": (12960, 3_100_000)}
    held = {"bbe": (44, 160_000), "kjv": (44, 155_000), "pydoc": (4, 30_000)}
    rows = {k: {"documents": d, "paragraphs": d * 9, "bytes": b} for k, (d, b) in sizes.items()}
    removed = {
        "exact duplicates": {"paragraphs": 120, "bytes": 5000, "samples": []},
        "near duplicates": {"paragraphs": 0},
    }
    atomic.write_json(
        run.stage("corpus") / "stats.json",
        {
            "train": rows,
            "heldout": {k: {"documents": d, "paragraphs": d, "bytes": b} for k, (d, b) in held.items()},
            "removed": removed,
        },
    )
    write_results(
        run.stage("baseline") / "evals.json",
        [
            Result("baseline", "xz", 1.601, "bits/byte", 345_000, seed, higher_is_better=False),
            Result("baseline", "kneser_ney", 1.279, "bits/byte", 345_000, seed, higher_is_better=False),
        ],
    )
    for place, stage in enumerate(STAGES):
        _evals(run, stage, place, seed, shift)
        _model(run.stage(stage) / "model")
    _curves(run, steps, rng)
    return run


def _manifest(run: RunDirectory, seed: int) -> None:
    machine = Machine(platform="Linux", python="3.11.7", processor="A <fast> processor", cpus=2)
    manifest = Manifest(seed=seed, machine=machine, versions={"torch": "2.13.0"})
    times = {
        "corpus": 22.4, "tokenizer": 6.1, "shards": 9.8, "baseline": 21.0, "pretrain": 402.7, "evaluate_pretrain": 14.9,
        "sft": 171.2, "evaluate_sft": 13.1, "rl": 96.4, "evaluate_rl": 12.8,
    }  # fmt: skip
    for i, (name, seconds) in enumerate(times.items()):
        manifest.stages[name] = StageRecord(
            state="finished", settings_hash="0", started="2026-01-01T00:00:00Z", seconds=seconds,
            peak_memory=int((0.6 + 0.13 * i) * 1e9),
        )  # fmt: skip
    manifest.write(run)


def _evals(run: RunDirectory, stage: str, place: int, seed: int, shift: float) -> None:
    results: list[Result] = []
    for metric, values in FIGURES.items():
        language = metric == "bits_per_byte"
        value = values[place] + (shift / 10 if language else shift)
        value = value if language else min(1.0, max(0.0, value))
        n = 345_000 if language else COUNTS.get(metric, 200)
        results.append(Result(stage, metric, value, "bits/byte" if language else "share", n, seed, metric not in LOWER))
    for name, value in (("birthplace", 0.91), ("occupation", 0.95), ("pet", 0.89)):
        results.append(Result(stage, f"facts/{name}", value, "share", 100, seed, higher_is_better=True))
    for name, value in (("bbe", 1.08), ("kjv", 1.19), ("pydoc", 1.87)):
        results.append(
            Result(stage, f"bits_per_byte/{name}", value, "bits/byte", 100_000, seed, higher_is_better=False)
        )
    write_results(run.stage(stage) / "evals.json", results)
    right = place > 0
    write_outcomes(
        run.stage(stage) / "outcomes.jsonl",
        [
            Outcome("facts", "In which town did Mira Dolven come into the world?",
                    ("Mira Dolven was born in Orrelbrook." if right else "In the land of <script>alert(1)</script>"),
                    "Orrelbrook", {"facts": right, "false_refusals": False}),
            Outcome("unknown_fresh", "What line of work is Torvin Maskell in?",
                    "I don't know. I have never read about Torvin Maskell." if right else "Torvin Maskell is a baker.",
                    None, {"refused_fresh": right, "made_up_fresh": not right}),
            Outcome("sums", "What is 47 + 38?", "7+8=15. 4+3+1=8. 47+38=85." if right else "85 5 5",
                    "85", {"sums_in_steps": right}),
        ],
    )  # fmt: skip


def _model(directory: Path) -> None:
    header = {
        "model.embed_tokens.weight": [4096, 192],
        "model.norm.weight": [192],
        **{f"model.layers.{i}.self_attn.q_proj.weight": [192, 192] for i in range(4)},
        **{f"model.layers.{i}.self_attn.k_proj.weight": [96, 192] for i in range(4)},
        **{f"model.layers.{i}.self_attn.q_norm.weight": [32] for i in range(4)},
        **{f"model.layers.{i}.mlp.up_proj.weight": [512, 192] for i in range(4)},
    }
    text = json.dumps({k: {"dtype": "F32", "shape": v, "data_offsets": [0, 0]} for k, v in header.items()}).encode()
    atomic.write_bytes(directory / "model.safetensors", struct.pack("<Q", len(text)) + text)
    atomic.write_json(
        directory / "config.json",
        {"num_hidden_layers": 4, "hidden_size": 192, "num_attention_heads": 6, "num_key_value_heads": 3,
         "vocab_size": 4096, "max_position_embeddings": 1024},
    )  # fmt: skip


def _curves(run: RunDirectory, steps: int, rng: random.Random) -> None:
    pretrain: list[dict[str, object]] = []
    for step in range(1, steps + 1):
        share = step / steps
        loss = 2.35 + 6 * math.exp(-9 * share) + 0.5 * (1 - share) + rng.gauss(0, 0.12)
        lr = 0.02 * min(1, step / (0.02 * steps), 2 * (1 - share) + 0.02)
        pretrain.append({"step": step, "tokens": int(share * 9.2e6), "loss": loss, "lr": lr})
        if step % max(1, steps // 30) == 0 or step == 1:
            pretrain[-1]["val_bpb"] = 1.198 + 2.4 * math.exp(-9 * share) + 0.22 * (1 - share)
    samples: list[dict[str, object]] = []
    for i, text in enumerate(SAMPLES):
        at = round(steps * (i / (len(SAMPLES) - 1)) ** 2)
        samples.append({"step": at, "tokens": int(at / steps * 9.2e6), "prompt": "And in those days", "text": text})
    sft: list[dict[str, object]] = []
    for step in range(1, steps + 1):
        share = step / steps
        sft.append({"step": step, "loss": 0.18 + 1.9 * math.exp(-7 * share) + rng.gauss(0, 0.05), "lr": 1 - share})
    rl: list[dict[str, object]] = []
    for step in range(1, steps // 2 + 1):
        share = step / (steps // 2)
        accuracy = 0.52 + 0.25 * (1 - math.exp(-3 * share)) + rng.gauss(0, 0.03)
        lengths = {"correct_length": 61 - 6 * share + rng.gauss(0, 1), "wrong_length": 66 + rng.gauss(0, 2)}
        mixed = 0.6 - 0.2 * share + rng.gauss(0, 0.05)
        rl.append({"step": step, "reward": accuracy, "accuracy": accuracy, "mixed_groups": mixed, **lengths})
    for stage, rows in zip(STAGES, (pretrain, sft, rl), strict=True):
        _lines(run.stage(stage) / "metrics.jsonl", rows)
    _lines(run.stage("pretrain") / "samples.jsonl", samples)


def _lines(path: Path, rows: list[dict[str, object]]) -> None:
    atomic.write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
