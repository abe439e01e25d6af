"""datatrove's executor for one machine, without its noise, and with workers that do not outlive who started them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from typing import Any

import multiprocess
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.utils.logging import logger

from cutaway.corpus.executors import die_with_parent
from cutaway.runs.errors import CutawayError

GUARD_SECONDS = 1.0
PROCESSES: Any = multiprocess
"""The module whose processes datatrove starts; it makes its functions at run time."""

_dying = False
"""Whether a process that is forked now is one of an executor's."""


def _in_child() -> None:
    if _dying:
        die_with_parent()


os.register_at_fork(after_in_child=_in_child)


class LocalExecutor(LocalPipelineExecutor):
    """`LocalPipelineExecutor`, whose tasks log into files alone."""

    def run(self) -> Any:
        """Run all tasks. The helper process that datatrove forks for its queue dies with this one, too.

        Raises:
            CutawayError: a worker was killed, for which a pool of processes by itself would wait without end.
        """
        global _dying
        _dying = True
        PROCESSES.set_forkserver_preload(["cutaway.corpus.passes"])  # imported once, for the workers of all passes
        try:
            with _guarded(self.workers):
                return super().run()
        finally:
            _dying = False

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
        if self.workers > 1:
            die_with_parent()
        with quiet(Path(self.logging_dir.path) / f"task-{rank:05d}.log"):
            return super()._run_for_rank(rank, local_rank, node_rank)


@contextmanager
def _guarded(workers: int) -> Generator[None]:
    """Interrupt the block if one of the workers that it starts is lost; a pool would put another in its place."""
    if workers == 1 or current_thread() is not main_thread():
        yield
        return
    over = Event()

    def lost(number: int, frame: object) -> None:
        raise CutawayError(
            "a worker process was killed, most likely for want of memory; the same command carries on, "
            "with fewer at once by --set corpus.executor.workers=1"
        )

    def watch() -> None:
        seen: set[int] = set()
        while not over.wait(GUARD_SECONDS):
            seen |= {child.pid for child in PROCESSES.active_children() if child.pid}
            if len(seen) > workers + 1:  # the process of the queue is one, too
                os.kill(os.getpid(), signal.SIGUSR1)
                return

    before = signal.signal(signal.SIGUSR1, lost)
    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def quiet(path: Path) -> Generator[None]:
    """Send what is logged and written to standard error inside the block to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = sys.stderr
    with path.open("w", encoding="utf-8", errors="replace") as file:
        sys.stderr = file
        logger.remove()
        logger.add(file, level="INFO", colorize=False)
        try:
            yield
        finally:
            logger.remove()  # of the file, and of whatever sink datatrove has put in its place
            sys.stderr = before
