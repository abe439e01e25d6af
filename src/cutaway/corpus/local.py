"""datatrove's executor for one machine, without its noise, and with workers that do not outlive who started them."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.utils.logging import logger

from cutaway.runs.errors import CutawayError


class LocalExecutor(LocalPipelineExecutor):
    """`LocalPipelineExecutor`, whose tasks log into files alone, and which sees when one of its processes is killed."""

    def run(self) -> Any:
        """Run all tasks.

        Raises:
            CutawayError: a worker was killed. datatrove's own pool would wait for it without end.
        """
        if self.workers == 1:
            return super().run()
        context = multiprocessing.get_context("forkserver")
        os.environ["CUTAWAY_STARTER"] = str(os.getpid())  # for corpus/mortal.py
        # Imported once, for the workers of all passes.
        context.set_forkserver_preload(["cutaway.corpus.mortal", "cutaway.corpus.passes"])
        pool = ProcessPoolExecutor(self.workers, mp_context=context)
        try:
            for done in as_completed([pool.submit(self._run_for_rank, rank) for rank in range(self.tasks)]):
                done.result()
        except BrokenProcessPool:
            raise CutawayError(
                "a worker process was killed, most likely for want of memory; the same command carries on, "
                "with fewer at once by --set corpus.executor.workers=1"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
        with quiet(Path(self.logging_dir.path) / f"task-{rank:05d}.log"):
            return super()._run_for_rank(rank, local_rank, node_rank)


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
