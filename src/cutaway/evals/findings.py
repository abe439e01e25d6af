"""Everything a report draws on, read out of a run directory. What is not there is left empty, not an error."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cutaway.evals.measures import BASELINE_STAGE, RESULTS, RUN_STAGE, WITHOUT_REFUSALS
from cutaway.evals.outcomes import OUTCOMES, Outcome, read_outcomes
from cutaway.runs.directory import RunDirectory
from cutaway.runs.manifest import Manifest
from cutaway.runs.metrics import MetricsLog
from cutaway.runs.results import Result, read_results

Row = Mapping[str, Any]

_ORDER = ("corpus", "tokenizer", "shards", BASELINE_STAGE, "pretrain", WITHOUT_REFUSALS, "sft", "rl")


@dataclass(frozen=True)
class Source:
    """One kind of text in the corpus: how much of it there is, and what of it is held out. Bytes are UTF-8."""

    name: str
    documents: int
    bytes: int
    heldout_bytes: int = 0


@dataclass(frozen=True)
class StageTime:
    """What a stage took. ``peak_memory`` is the process's highest resident memory up to its end, in bytes."""

    name: str
    seconds: float
    peak_memory: int | None = None


@dataclass(frozen=True)
class Findings:
    """A run as its report sees it. Every mapping is by stage name."""

    name: str
    seed: int = 0
    machine: str = ""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    recipe: str = ""
    times: tuple[StageTime, ...] = ()
    results: tuple[Result, ...] = ()
    sources: tuple[Source, ...] = ()
    corpus: Row = field(default_factory=dict[str, Any])
    shape: Row = field(default_factory=dict[str, Any])
    parameters: Mapping[str, int] = field(default_factory=dict[str, int])
    curves: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    samples: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    outcomes: Mapping[str, list[Outcome]] = field(default_factory=dict[str, list[Outcome]])

    @property
    def seconds(self) -> float:
        """Working time of the whole run."""
        return sum(time.seconds for time in self.times)

    @property
    def peak_memory(self) -> int | None:
        """The highest of the stages' peaks, in bytes; None if no stage noted one."""
        return max((time.peak_memory for time in self.times if time.peak_memory), default=None)


def gather(run: RunDirectory) -> Findings:
    """Read a run directory. Raises BadInput for a manifest or results that cannot be read."""
    manifest = Manifest.read(run)
    names = [stage for stage in _ORDER if run.stage(stage).is_dir()]
    names += (
        sorted(p.name for p in run.path.iterdir() if p.is_dir() and p.name not in _ORDER) if run.path.is_dir() else []
    )
    times = _times(manifest)
    seed = manifest.seed if manifest else 0
    results = [
        r for name in names if (run.stage(name) / RESULTS).exists() for r in read_results(run.stage(name) / RESULTS)
    ]
    corpus = _json(run.stage("corpus") / "stats.json")
    model = next((d for name in reversed(names) if (d := run.stage(name) / "model").is_dir()), None)
    machine = ""
    if manifest:
        machine = f"{manifest.machine.processor}, {manifest.machine.cpus} cores, Python {manifest.machine.python}"
    recipe = run.path / "recipe.toml"
    return Findings(
        name=run.path.resolve().name,
        seed=seed,
        machine=machine,
        versions=manifest.versions if manifest else {},
        recipe=recipe.read_text(encoding="utf-8") if recipe.exists() else "",
        times=times,
        results=(*results, *_of_run(times, seed)),
        sources=_sources(corpus),
        corpus=corpus,
        shape=_json(model / "config.json") if model else {},
        parameters=parameter_counts(model / "model.safetensors") if model else {},
        curves={name: rows for name in names if (rows := MetricsLog.read(run.stage(name) / "metrics.jsonl"))},
        samples={name: rows for name in names if (rows := MetricsLog.read(run.stage(name) / "samples.jsonl"))},
        outcomes={name: rows for name in names if (rows := read_outcomes(run.stage(name) / OUTCOMES))},
    )


def parameter_counts(path: Path) -> dict[str, int]:
    """Numbers of parameters in a safetensors file, by part of the model, from its header alone."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, dict[str, Any]] = json.loads(file.read(length))
    found: dict[str, int] = {}
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        count = 1
        for size in tensor["shape"]:
            count *= size
        part = _part(name)
        found[part] = found.get(part, 0) + count
    return found


def _part(name: str) -> str:
    # Norms first: those of queries and keys live inside the attention.
    for part, marks in (
        ("Norms", ("norm",)),
        ("Embedding", ("embed", "lm_head")),
        ("Attention", ("attn",)),
        ("MLP", ("mlp",)),
    ):
        if any(mark in name for mark in marks):
            return part
    return "Other"


def _times(manifest: Manifest | None) -> tuple[StageTime, ...]:
    if manifest is None:
        return ()
    return tuple(
        StageTime(name, record.seconds, record.peak_memory)
        for name, record in manifest.stages.items()
        # A comparison is no part of the way to the assistant.
        if record.seconds > 0 and WITHOUT_REFUSALS not in name
    )


def _of_run(times: tuple[StageTime, ...], seed: int) -> list[Result]:
    """Time and memory of the whole run, as results like any other."""
    if not times:
        return []
    found = [Result(RUN_STAGE, "seconds", sum(t.seconds for t in times), "seconds", 1, seed, higher_is_better=False)]
    memory = max((t.peak_memory for t in times if t.peak_memory), default=None)
    if memory:
        found.append(Result(RUN_STAGE, "peak_memory", float(memory), "bytes", 1, seed, higher_is_better=False))
    return found


def _sources(corpus: Row) -> tuple[Source, ...]:
    train, heldout = corpus.get("train") or {}, corpus.get("heldout") or {}
    return tuple(
        Source(name, row["documents"], row["bytes"], held.get("bytes", 0))
        for name in dict.fromkeys([*train, *heldout])
        for row, held in [(train.get(name) or {"documents": 0, "bytes": 0}, heldout.get(name) or {})]
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    found: object = json.loads(path.read_bytes())
    return dict(found) if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
