"""Running a recipe's stages, as make would: what is finished and unchanged is not done again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from cutaway.pipeline.stage import Stage, StageContext
from cutaway.pipeline.together import Call
from cutaway.runs import BadInput, Manifest, Progress, RunDirectory, StageRecord, atomic, to_toml
from cutaway.runs.manifest import hash_files, hash_object, hash_path, peak_memory
from cutaway.train.step import Alone

AnyStage = Stage[Any]
AnyRecipe = Any
"""The settings of a run of some kind; each has a `seed`. See `cutaway.pipeline.kinds`."""


def run_recipe(
    recipe: AnyRecipe,
    every: Sequence[AnyStage],
    run: RunDirectory,
    progress: Progress,
    until: str | None = None,
    *,
    again: bool = False,
    compare: bool = False,
    processes: Alone | None = None,
) -> None:
    """Bring `run` up to the stage or verb `until` (None: all of `every`), doing only what is not done yet.

    With `compare` the optional stages too, which make what the assistant is compared with. Stopped at any moment, by
    Ctrl-C or kill -9, the same call carries on. Of several `processes` this is the first; the others `follow` it.

    Raises:
        BadInput: another process uses the run, there is no such stage, a stage found its input at fault, or the run
            holds models that were trained otherwise and would be lost; `again` says that they may be.
        CutawayError: a stage failed, or the disk is full.
    """
    stages = needed_for(until, every)
    run_stages(stages, recipe, run, progress, every=every, again=again, optional=compare, processes=processes)
    if processes:
        processes.same(None)  # the others may go


def needed_for(until: str | None, stages: Sequence[AnyStage]) -> list[AnyStage]:
    """The stages, in order, that the stage or verb `until` needs, with itself; all of them for None."""
    if until is None:
        return list(stages)
    wanted = {stage.name for stage in stages if until in (stage.name, stage.verb)}
    if not wanted:
        raise BadInput(f"there is no stage {until}; the stages are {', '.join(stage.name for stage in stages)}")
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted.update(stage.inputs)
    return [stage for stage in stages if stage.name in wanted]


def run_stages(
    stages: Sequence[AnyStage],
    recipe: AnyRecipe,
    run: RunDirectory,
    progress: Progress,
    *,
    every: Sequence[AnyStage] = (),
    again: bool = False,
    optional: bool = False,
    processes: Alone | None = None,
) -> None:
    """Go through `stages` in order, which names every stage after its inputs. See `run_recipe`.

    `every` are all that a run may hold, those after `stages` too: what they made is lost when `stages` change.
    """
    with run.lock():
        manifest = _manifest(run, recipe.seed)
        for stage in stages:
            _must_exist(stage.files(recipe))
        _discard(_outdated(every or stages, recipe, run, manifest), run, manifest, again=again)
        atomic.write_text(run.path / "recipe.toml", to_toml(recipe))
        unchanged: list[str] = []
        for stage in stages:
            if stage.optional and not optional:
                _forget_if_changed(stage, recipe, run, manifest)
                continue
            if _is_done(stage, recipe, run, manifest):
                unchanged.append(stage.name)
            else:
                _tell(unchanged, progress)
                with progress.stage(stage.name):
                    _run_stage(stage, recipe, run, manifest, progress, processes or Alone())
            # Not before it is on record as finished: until then they are what a killed stage resumes from.
            for name in stage.scratch:
                shutil.rmtree(run.stage(stage.folder) / name, ignore_errors=True)
        _tell(unchanged, progress)


def _manifest(run: RunDirectory, seed: int) -> Manifest:
    """The run's manifest, brought up to this machine's state, with the records of earlier stages."""
    earlier = Manifest.read(run)
    manifest = Manifest.of_this_machine(seed)
    if earlier:
        manifest.stages = earlier.stages
    return manifest


def _must_exist(paths: Iterable[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise BadInput(f"there is no file or folder {path}; the run reads it: put it there, or name another")


def _outdated(every: Sequence[AnyStage], recipe: AnyRecipe, run: RunDirectory, manifest: Manifest) -> list[AnyStage]:
    """The stages on record, of those that are costly, whose settings or inputs are others now, or will be."""
    names: set[str] = set()
    for stage in every:
        record = manifest.stages.get(stage.name)
        if record and (not names.isdisjoint(stage.inputs) or _will_differ(record, stage, recipe, manifest)):
            names.add(stage.name)
    return [stage for stage in every if stage.costly and stage.name in names]


def _will_differ(record: StageRecord, stage: AnyStage, recipe: AnyRecipe, manifest: Manifest) -> bool:
    """Whether the stage was made from other settings or inputs.

    An input that is being made again of its own settings, because something had harmed it, will be what it was.
    """
    begun = {name for name in stage.inputs if name in manifest.stages and manifest.stages[name].state != "finished"}
    before, now = record.inputs, _input_hashes(stage, recipe, manifest)
    return record.settings_hash != _settings_hash(stage, recipe) or any(
        before.get(name) != now.get(name) for name in (before.keys() | now.keys()) - begun
    )


def _discard(outdated: Sequence[AnyStage], run: RunDirectory, manifest: Manifest, *, again: bool) -> None:
    """Clear away, before anything else changes, the work that nothing in the run will stand for any more.

    Otherwise a run stopped in between would go on answering with its models.
    """
    lost = [stage.name for stage in outdated if _holds_work(stage, run, manifest)]
    if lost and not again:
        raise BadInput(
            f"{run.path} holds work made from other settings or inputs ({', '.join(lost)}), which would be lost; "
            "choose another place with --out, or make it anew with --again"
        )
    for stage in outdated:
        del manifest.stages[stage.name]
    if outdated:
        manifest.write(run)
    for stage in outdated:
        _clear(stage, run)


def _holds_work(stage: AnyStage, run: RunDirectory, manifest: Manifest) -> bool:
    """Whether a stage has finished, or has left something that it would resume from."""
    finished = manifest.stages[stage.name].state == "finished"
    return finished or any((run.stage(stage.folder) / name).is_dir() for name in stage.scratch)


def _forget_if_changed(stage: AnyStage, recipe: AnyRecipe, run: RunDirectory, manifest: Manifest) -> None:
    """Clear away a stage that nobody asked for now, if it was made from other settings or inputs: no stale results."""
    record = manifest.stages.get(stage.name)
    if record is None or _is_same_work(record, stage, recipe, manifest):
        return
    _clear(stage, run)
    del manifest.stages[stage.name]


def _tell(unchanged: list[str], progress: Progress) -> None:
    if unchanged:
        progress.say(f"finished earlier, unchanged: {', '.join(unchanged)}")
        unchanged.clear()


def _is_done(stage: AnyStage, recipe: AnyRecipe, run: RunDirectory, manifest: Manifest) -> bool:
    record = manifest.stages.get(stage.name)
    return (
        record is not None
        and record.state == "finished"
        and _is_same_work(record, stage, recipe, manifest)
        # Also what is on disk: someone may have removed or cut short an output.
        and hash_files(run.stage(stage.folder), stage.outputs) == record.outputs
    )


def _run_stage(
    stage: AnyStage, recipe: AnyRecipe, run: RunDirectory, manifest: Manifest, progress: Progress, processes: Alone
) -> None:
    directory = run.stage(stage.folder)
    earlier = manifest.stages.get(stage.name)
    resumes = earlier is not None and _is_same_work(earlier, stage, recipe, manifest)
    # Cleared before the manifest says that the new work began: killed in between, the next call clears again.
    if not resumes:
        _clear(stage, run)
    elif earlier and earlier.state == "finished":
        # Finished and yet not done: an output is missing or damaged. Checkpoints beside them are still good.
        _remove(directory, stage.outputs)
    began = time.monotonic()
    spent = earlier.seconds if resumes and earlier else 0.0
    record = StageRecord(
        state="running",
        settings_hash=_settings_hash(stage, recipe),
        inputs=_input_hashes(stage, recipe, manifest),
        started=_now(),
        seconds=spent,
    )
    manifest.stages[stage.name] = record
    try:
        # Inside `told_plainly` because the disk may fill up under any library's hands.
        with atomic.told_plainly(directory):
            directory.mkdir(parents=True, exist_ok=True)
            manifest.write(run)
            together = processes if stage.together else Alone()
            if stage.together:
                processes.same(Call(stage.name, run.path, recipe))
            context = StageContext(run, directory, stage.settings(recipe), recipe.seed, progress, recipe, together)
            stage.function(context)
            record.outputs = hash_files(directory, stage.outputs)
        record.state = "finished"
    except Exception as error:
        record.state = "failed"
        record.error = " ".join(f"{type(error).__name__}: {error}".split())
        raise
    finally:
        record.finished = None if record.state == "running" else _now()
        record.seconds = round(spent + time.monotonic() - began, 3)
        record.peak_memory = peak_memory()
        _write_if_possible(manifest, run, must=record.state == "finished")


def _is_same_work(record: StageRecord, stage: AnyStage, recipe: AnyRecipe, manifest: Manifest) -> bool:
    return record.settings_hash == _settings_hash(stage, recipe) and record.inputs == _input_hashes(
        stage, recipe, manifest
    )


def _settings_hash(stage: AnyStage, recipe: AnyRecipe) -> str:
    whole = recipe.model_dump(mode="json")
    used = {key: reduce(getitem, key.split("."), whole) for key in stage.uses}
    settings = stage.settings(recipe)
    matters = settings.model_dump(mode="json", exclude=set(getattr(settings, "BOOKKEEPING", ())))
    return hash_object({"settings": matters, **used})


def _input_hashes(stage: AnyStage, recipe: AnyRecipe, manifest: Manifest) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for name in stage.inputs:
        record = manifest.stages.get(name)
        # An input that is not finished has no hash; of those only an optional one is in a finished stage's record.
        hashes[name] = hash_object(record.outputs) if record and record.state == "finished" else ""
    for path in stage.files(recipe):
        # What cannot be read is the stage's to complain about, in its own words.
        with suppress(OSError):
            hashes[str(path)] = hash_path(path)
    return hashes


def _clear(stage: AnyStage, run: RunDirectory) -> None:
    """Remove what the stage made: its directory, or its outputs in a directory that is another stage's."""
    if stage.place is None:
        shutil.rmtree(run.stage(stage.folder), ignore_errors=True)
    else:
        _remove(run.stage(stage.folder), stage.outputs)


def _remove(directory: Path, patterns: Sequence[str]) -> None:
    for relative in hash_files(directory, patterns):
        (directory / relative).unlink(missing_ok=True)


def _write_if_possible(manifest: Manifest, run: RunDirectory, *, must: bool) -> None:
    try:
        manifest.write(run)
    except Exception:
        # On a full disk even this may not fit; the record on disk then still says "running", which resumes as well,
        # and the error already on its way says why.
        if must:
            raise


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
