"""From a crawl to documents: the passes of the web pipeline, one after another, resumable at any moment.

After Penedo et al., "The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale" (2024), section 3.
Everything on the way lies below WORK in the directory that it makes; a killed run is carried on from there, and gives
the same bytes as one that was never stopped, on however many tasks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cutaway.corpus.clusters import clusters_to_read
from cutaway.corpus.crawl_settings import CrawlSettings, check, names_of_steps
from cutaway.corpus.domains import merge_domains
from cutaway.corpus.executors import Pass, run_passes
from cutaway.corpus.funnel import READ, Flow, Funnel
from cutaway.corpus.parts import PLAN, list_inputs, write_plan
from cutaway.corpus.segments import segment_files
from cutaway.runs import atomic
from cutaway.runs.progress import Progress

WORK = ".work"
"""Hidden, so that who reads the directory as a corpus sees the corpus alone."""
STATS = "stats.json"
LARGE = 1 << 30
"""Bytes of inputs. With fewer, comparing all pages takes less time than starting processes for it."""
CORPUS = "train-*.parquet"
"""The documents: columns id, source, text, url, language, language_score."""


def build_crawl(settings: CrawlSettings, directory: Path, progress: Progress) -> dict[str, Any]:
    """Read the inputs and write train-NNNNN.parquet and stats.json into `directory`; give the statistics.

    Stopped at any moment the same call carries on.

    Raises:
        BadInput: inputs that are not there or changed since an interrupted attempt, a library that is not installed, a
            setting that a step cannot work with.
        CutawayError: a pass failed, or the disk is full.
    """
    check(settings)
    work = directory / WORK
    inputs = list_inputs(settings.inputs)
    parts = write_plan(work / PLAN, inputs)
    size = sum(one.size for one in inputs)
    progress.say(f"{_counted(len(inputs), 'file')}, {size / 1e6:,.1f} MB, in {_counted(parts, 'part')}")
    run_passes(_passes(settings, work, parts, size), settings.executor, work, progress)
    stats = _gather(settings, directory, parts)
    stats["inputs"] = {"files": len(inputs), "bytes": size}
    atomic.write_json(directory / STATS, stats)
    kept, read = stats["documents"], stats["steps"][READ]["documents_in"]
    progress.say(f"{_counted(kept, 'document')} of {_counted(read, 'page')}, {stats['bytes'] / 1e6:,.1f} MB of text")
    if not kept:
        progress.say(_why_nothing(stats))
    return stats


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _why_nothing(stats: Mapping[str, Any]) -> str:
    """Why a corpus is empty: the step that took most, and one of what could not be read."""
    lost, name = max((flow["documents_in"] - flow["documents_out"], name) for name, flow in stats["steps"].items())
    if not lost:
        return "the inputs hold no page"
    if name != READ:
        return f"nothing is left: the step {name} took most, {_counted(lost, 'page')}"
    reason, one = max(stats["skipped"].items(), key=lambda item: item[1]["documents"])
    where = f" ({one['sample'][0][1]['where']})" if one["sample"] else ""
    return f"nothing is left: of {_counted(lost, 'record')} that could not be read most had this: {reason}{where}"


def _passes(settings: CrawlSettings, work: Path, parts: int, size: int) -> list[Pass]:
    from cutaway.corpus import passes  # here, because it brings datatrove

    tasks, place = settings.executor.tasks_for(parts), str(work.resolve())

    def made(folder: str) -> Callable[[], bool]:
        return lambda: all((work / folder / f"{part:05d}").is_dir() for part in range(parts))

    def marked(name: str, units: int) -> Callable[[], bool]:
        return lambda: all(passes.marked(work, name, unit).exists() for unit in range(units))

    def shared(units: int) -> int:
        return settings.executor.tasks_for(units, each=1) if size >= LARGE else 1

    found = [Pass("pages", passes.PagesPass(settings, place), tasks, made(passes.PARTS), size, "bytes")]
    if settings.minhash or settings.repeated_lines:
        step = passes.GatheringPass(settings, place)
        found.append(Pass(step.name, step, 1, (work / passes.GATHERED).is_dir, 1, "tasks"))
    if settings.minhash:
        step, units = passes.PairsPass(settings, place), settings.minhash.buckets
        found.append(Pass(step.name, step, shared(units), marked(step.name, units), units, "buckets"))
        step = passes.ClustersPass(settings, place)
        found.append(Pass(step.name, step, 1, marked(step.name, 1), 1, "tasks"))
    if settings.repeated_lines:
        step, units = passes.RepeatedPass(settings, place), passes.SHARES
        found.append(Pass(step.name, step, shared(units), marked(step.name, units), units, "shares"))
    return [
        *found,
        Pass("documents", passes.DocumentsPass(settings, place), tasks, made(passes.FINISHED), parts, "parts"),
    ]


def _gather(settings: CrawlSettings, directory: Path, parts: int) -> dict[str, Any]:
    """Give the documents their names in `directory`, and add up what the passes counted."""
    from cutaway.corpus import passes

    work = directory / WORK
    funnel = Funnel()
    funnel.expect(names_of_steps(settings))
    domains: list[Path] = []
    documents: list[Path] = []
    for part in range(parts):
        for folder in (passes.PARTS, passes.FINISHED):
            place = work / folder / f"{part:05d}"
            funnel.merge(Funnel.from_json(json.loads((place / passes.FUNNEL).read_bytes())))
            domains.append(place / passes.DOMAINS)
        documents += [path for _, path in segment_files(work / passes.FINISHED / f"{part:05d}")]
    _name_documents(documents, directory)
    scratch = work / "domains"
    scratch.mkdir(exist_ok=True)
    count, top = merge_domains(domains, scratch)
    last = list(funnel.steps.values())[-1] if funnel.steps else Flow()
    clusters = (
        clusters_to_read(work / passes.GATHERED / passes.SIGNATURES, work / passes.PARTS) if settings.minhash else None
    )
    return {
        "kind": "corpus",
        "documents": last.documents_out,
        "bytes": last.bytes_out,
        # What other readers of a run's corpus look for.
        "train": {"web": {"documents": last.documents_out, "bytes": last.bytes_out}},
        "heldout": {},
        **funnel.to_json(),
        "domains": {"count": count, "top": [list(row) for row in top]},
        "clusters": clusters,
    }


def _name_documents(documents: Sequence[Path], directory: Path) -> None:
    """Let the finished segments be train-00000.parquet and so on, in the order of the inputs."""
    from cutaway.corpus.passes import link

    wanted = {f"train-{number:05d}.parquet": path for number, path in enumerate(documents)}
    for stale in directory.glob(CORPUS):
        if stale.name not in wanted:
            stale.unlink()
    for name, path in wanted.items():
        link(path, directory / name)
