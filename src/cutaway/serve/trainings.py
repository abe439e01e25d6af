"""Starting, stopping and resuming runs: `cutaway run RUN` in a process of its own, which outlives the server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutaway.pipeline import read_recipe
from cutaway.pipeline.find import shipped_recipes
from cutaway.runs import BadInput, CutawayError, RunDirectory, atomic, to_toml
from cutaway.serve.errors import ApiError

RECIPE, LOG = "recipe.toml", "run.log"
MOST_AT_WORK = 2
"""Runs that may be at work at once."""
LEAST_FREE = 1 << 30
"""Bytes that must be free on the disk before a run is begun: the demo's takes less than half of that."""
TAIL = 16 << 10
"""Bytes at the end of a log that are told."""


@dataclass(frozen=True)
class Plan:
    """A recipe that a run can be started from, and what of it can be set: None where a setting is not the recipe's."""

    name: str
    of_run: bool
    """Whether it is the recipe of a run here, or one that comes with Cutaway."""
    seed: int
    tokens: int | None
    depth: int | None
    """Of a run's recipe never: what follows from the depth stands in it already."""


class Trainings:
    """The processes that this server has begun, and how those of any run in its folder are stopped."""

    def __init__(self, folder: Path | None, tell: Callable[[Path], None]) -> None:
        """`folder` is where new runs go; None: the server has no runs, and begins none. `tell` hears of each begun."""
        self.folder = folder
        self._tell = tell
        self._lock = threading.Lock()
        self._begun: dict[Path, subprocess.Popen[bytes]] = {}

    def at_work(self, path: Path) -> bool:
        """Whether a process works on the run, one that has only just been begun too."""
        return self._beginning(path) or RunDirectory(path).held()

    def plans(self, runs: dict[str, Path]) -> list[Plan]:
        """The recipes that need nothing but themselves: those that come with Cutaway, then those of `runs`."""
        files = [(name, False, path) for name, path in shipped_recipes().items()]
        files += [(name, True, path / RECIPE) for name, path in runs.items() if (path / RECIPE).is_file()]
        found = (_plan(name, path, of_run=of_run) for name, of_run, path in files)
        return [plan for plan in found if plan]

    def start(self, plan: Plan, source: Path, name: str, overrides: Sequence[str], runs: dict[str, Path]) -> Path:
        """Make the directory `name` with the recipe in `source`, changed by `overrides`, and begin the run.

        Raises:
            ApiError: 409, the name is taken or enough runs are at work; 507, it cannot be written.
            BadInput: the recipe and what is set do not go together.
        """
        if self.folder is None:
            raise ApiError(409, "this server serves no run, so it has no folder for new ones", code="no_folder")
        recipe, _ = read_recipe(source, overrides)
        path = self.folder / name
        with self._lock:
            self._must_have_room(self.folder, runs)
            with _written(path):
                try:
                    path.mkdir()
                except FileExistsError:
                    raise ApiError(409, f"{name} exists in {self.folder}; choose another name", param="name") from None
                try:
                    atomic.write_text(path / RECIPE, to_toml(recipe))
                    self._begin(path)
                except BaseException:
                    shutil.rmtree(path, ignore_errors=True)
                    raise
        return path

    def resume(self, path: Path, runs: dict[str, Path]) -> None:
        """Go on with a run where it stopped. Raises `ApiError` as `start` does."""
        if not (path / RECIPE).is_file():
            raise ApiError(409, f"{path.name} has no {RECIPE} to go on by; start it anew under another name")
        with self._lock:
            if self.at_work(path):
                raise ApiError(409, f"another process works on {path.name} already", code="at_work")
            self._must_have_room(path, runs)
            with _written(path):
                self._begin(path)

    def stop(self, path: Path) -> None:
        """Ask the process that works on a run to stop, as `kill` does; in training it leaves a checkpoint first.

        Raises:
            ApiError: 409, nobody works on the run, or somebody whom this server cannot reach.
        """
        with self._lock:
            if self._beginning(path):
                self._begun[path].terminate()
                return
        run = RunDirectory(path)
        holder = run.holder()
        if holder is None:
            raise ApiError(409, f"no process works on {path.name}", code="not_at_work")
        if not _has_open(holder, path / ".lock"):
            message = f"process {holder} works on {path.name} and was begun elsewhere; stop it there"
            raise ApiError(409, message, code="not_reachable")
        try:
            os.kill(holder, signal.SIGTERM)
        except ProcessLookupError:
            return  # it has just ended
        except PermissionError:
            raise ApiError(409, f"process {holder}, which works on {path.name}, is another user's") from None

    def _beginning(self, path: Path) -> bool:
        """Whether a process is there that this server has begun for the run; those that ended are forgotten."""
        for each, process in list(self._begun.items()):
            if process.poll() is not None:
                self._begun.pop(each, None)
        return path in self._begun

    def _must_have_room(self, place: Path, runs: dict[str, Path]) -> None:
        working = [path.name for path in runs.values() if self.at_work(path)]
        if len(working) >= MOST_AT_WORK:
            message = f"{' and '.join(working)} are at work, and {MOST_AT_WORK} may be at once; stop one, or wait"
            raise ApiError(409, message, code="too_many")
        free = shutil.disk_usage(place).free
        if free < LEAST_FREE:
            message = (
                f"{free >> 20} MiB are free on the disk that holds {place}, and a run needs {LEAST_FREE >> 20}; "
                "free some, then try again"
            )
            raise ApiError(507, message, code="disk_full")

    def _begin(self, path: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "CUTAWAY_TOKEN"}
        with (path / LOG).open("ab") as log:
            # A session of its own, so that neither Ctrl-C at the server's terminal nor its end reaches it; -P, so that
            # no file where the server was started is taken for a module.
            self._begun[path] = subprocess.Popen(
                [sys.executable, "-P", "-m", "cutaway", "run", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment | {"COLUMNS": "100"},
            )
        self._tell(path)


def tail(path: Path) -> list[str]:
    """The last lines of a run's log; none if it was not begun from the page."""
    with suppress(FileNotFoundError), (path / LOG).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        lines = file.read().decode("utf-8", "replace").splitlines()
        return lines[1:] if size > TAIL else lines
    return []


@contextmanager
def _written(path: Path) -> Generator[None]:
    """Tell what cannot be written within the block, for a full disk or a forbidden place, as an `ApiError` 507."""
    try:
        with atomic.told_plainly(path):
            yield
    except CutawayError as error:
        raise ApiError(507, str(error), code="not_written") from None


def _plan(name: str, path: Path, *, of_run: bool) -> Plan | None:
    """What can be set of a recipe; None if it cannot be read, or reads files that it does not name or that are gone."""
    try:
        recipe, stages = read_recipe(path, [])
        if not all(file.exists() for stage in stages for file in stage.files(recipe)):
            return None
        if getattr(getattr(recipe, "corpus", None), "inputs", True) == ():  # of a crawl, which are no stage's files
            return None
    except BadInput:
        return None
    pretrain: Any = getattr(recipe, "pretrain", None)
    tokens = pretrain.tokens if pretrain else None
    return Plan(name, of_run, recipe.seed, tokens, pretrain.depth if pretrain and not of_run else None)


def _has_open(process: int, file: Path) -> bool:
    """Whether a process of this machine has a file open: the number that stands in a lock may be another machine's."""
    with suppress(OSError):
        return any(os.path.realpath(each) == str(file.resolve()) for each in Path(f"/proc/{process}/fd").iterdir())
    return False
