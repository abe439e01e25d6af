"""Where a crawl's passes run: processes of this machine, Slurm or Ray, through datatrove's executors.

What a pass does is the same everywhere. It says in files how far it is and what stopped it, for those are all that
the machines share; datatrove's own log goes into files as well.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from cutaway.corpus.marks import failures, progress_of
from cutaway.runs import atomic
from cutaway.runs.errors import BadInput, CutawayError
from cutaway.runs.progress import Progress
from cutaway.runs.recipe import Settings

if TYPE_CHECKING:
    from datatrove.pipeline.base import PipelineStep

LOOK_SECONDS = 0.5
"""Between looks at how far a pass is."""
SLURM_LOOK_SECONDS = 5.0
JOBS = "slurm.json"


class SlurmSettings(Settings):
    """What Slurm is asked for."""

    partition: str = ""
    """The partition to run in."""
    time: str = "24:00:00"
    """The most that a task may take."""
    cpus_per_task: int = Field(default=1, ge=1)
    memory_gb: int = Field(default=4, ge=1)
    """For each processor."""
    qos: str = ""
    setup: str = ""
    """Shell commands before each task; empty: the environment of the Python that launches."""
    arguments: dict[str, str] = Field(default={})
    """Further arguments of `sbatch`, by their long names."""


class RaySettings(Settings):
    """What Ray is asked for."""

    address: str = ""
    """Of the cluster ("auto": the one that this machine belongs to); empty: one is started here."""
    cpus_per_task: int = Field(default=1, ge=1)
    memory_gb: float = Field(default=2, gt=0)
    """For each processor."""


class ExecutorSettings(Settings):
    """Where the work is done. It does not show in what comes out."""

    kind: Literal["local", "slurm", "ray"] = "local"
    tasks: int = Field(default=0, ge=0)
    """Into how many tasks a pass is divided; 0: as many as there are parts, at most sixteen a worker."""
    workers: int = Field(default=0, ge=0)
    """How many tasks run at once; 0: one for each processor here, on Slurm no limit."""
    slurm: SlurmSettings = SlurmSettings()
    ray: RaySettings = RaySettings()

    def at_once(self) -> int:
        """Workers, counted."""
        return self.workers or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0])

    def tasks_for(self, units: int, each: int = 16) -> int:
        """Tasks for so many units of work; unless set, `each` a worker."""
        return max(1, min(units, self.tasks or each * self.at_once()))


@dataclass(frozen=True)
class Pass:
    """One pass: its name, what each task does, how many there are, and how one sees that it is done."""

    name: str
    step: PipelineStep
    tasks: int
    done: Callable[[], bool]
    total: int
    """Units of work, as its tasks report them."""
    unit: str


def run_passes(passes: Sequence[Pass], settings: ExecutorSettings, directory: Path, progress: Progress) -> None:
    """Run passes one after another, those that are not done, with their logs below `directory`.

    Raises:
        BadInput: what a pass said of its inputs or settings; no Slurm or Ray to be had.
        CutawayError: a pass failed; the message is the first task's that did.
    """
    left = [one for one in passes if not one.done()]
    if not left:
        return
    for one in left:
        failures(directory, one.name, clear=True)
    if settings.kind == "slurm":
        _on_slurm(left, settings, directory, progress)
        return
    for one in left:
        with _watched(one, directory, progress):
            if settings.kind == "ray":
                _on_ray(one, settings, directory)
            else:
                _here(one, settings, directory)
        _check(one, directory)


def _check(one: Pass, directory: Path) -> None:
    """Raise what stopped a pass, if it is not done."""
    failed = failures(directory, one.name)
    if failed:
        raise failed
    if not one.done():
        raise CutawayError(f"the pass {one.name} ended before its work was done; see {directory / 'logs' / one.name}")


@contextmanager
def _watched(one: Pass, directory: Path, progress: Progress) -> Generator[None]:
    """Show how far a pass is while the block runs it."""
    over = Event()
    with progress.task(one.name, total=one.total or None, unit=one.unit) as task:
        began = time.monotonic()

        def look() -> None:
            done, documents = progress_of(directory, one.name)
            if documents:
                rate = round(documents / (time.monotonic() - began))
                task.update(min(done, one.total or done), documents=documents, documents_s=rate)
            elif done:
                task.update(min(done, one.total or done))

        def watch() -> None:
            while not over.wait(LOOK_SECONDS):
                look()

        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
        look()


def _here(one: Pass, settings: ExecutorSettings, directory: Path) -> None:
    """Run a pass in processes of this machine."""
    from cutaway.corpus.local import LocalExecutor, quiet

    with quiet(directory / "logs" / one.name / "run.log"):
        LocalExecutor(
            [one.step],
            tasks=one.tasks,
            workers=min(settings.at_once(), one.tasks),
            logging_dir=str(directory / "logs" / one.name),
            skip_completed=False,  # a pass's own marks are finer, and do not depend on the number of tasks
            start_method="forkserver",
        ).run()


def _on_ray(one: Pass, settings: ExecutorSettings, directory: Path) -> None:
    """Run a pass on Ray."""
    try:
        import ray
    except ImportError:
        raise BadInput("corpus.executor.kind is ray, which is not installed: pip install 'ray[default]'") from None
    from datatrove.executor.ray import RayPipelineExecutor

    from cutaway.corpus.local import quiet

    logs = directory / "logs" / one.name
    with quiet(logs / "run.log"):
        if not ray.is_initialized():
            try:
                ray.init(address=settings.ray.address or None, log_to_driver=False, include_dashboard=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise BadInput(f"no Ray cluster at {settings.ray.address or 'this machine'}: {error}") from None
        RayPipelineExecutor(
            [one.step],
            tasks=one.tasks,
            workers=min(settings.at_once(), one.tasks),
            logging_dir=str(logs),
            skip_completed=False,
            cpus_per_task=settings.ray.cpus_per_task,
            mem_per_cpu_gb=settings.ray.memory_gb,
        ).run()


def _on_slurm(passes: Sequence[Pass], settings: ExecutorSettings, directory: Path, progress: Progress) -> None:
    """Hand the passes to Slurm, each to wait for the one before, unless they wait there already; see them through."""
    jobs = directory / JOBS
    if not _in_queue(jobs):
        _submit(passes, settings, directory)
        progress.say("handed to Slurm; stopped here, the same command watches on")
    for one in passes:
        with _watched(one, directory, progress):
            while not one.done() and not failures(directory, one.name) and _in_queue(jobs):
                time.sleep(SLURM_LOOK_SECONDS)
        _check(one, directory)
    jobs.unlink(missing_ok=True)


def _submit(passes: Sequence[Pass], settings: ExecutorSettings, directory: Path) -> None:
    from datatrove.executor.slurm import SlurmPipelineExecutor

    from cutaway.corpus.local import quiet

    slurm = settings.slurm
    executor: Any = None
    chain: list[Any] = []
    for one in passes:
        executor = SlurmPipelineExecutor(
            [one.step],
            tasks=one.tasks,
            workers=settings.workers or -1,
            time=slurm.time,
            partition=slurm.partition,
            cpus_per_task=slurm.cpus_per_task,
            mem_per_cpu_gb=slurm.memory_gb,
            qos=slurm.qos,
            env_command=slurm.setup or f"export PATH={Path(sys.executable).parent}:$PATH",
            sbatch_args=dict(slurm.arguments),
            job_name=f"cutaway-{one.name}",
            logging_dir=str(directory / "logs" / one.name),
            skip_completed=False,
            depends=executor,
        )
        chain.append(executor)
    with quiet(directory / "logs" / "slurm.log"):
        try:
            executor.run()
        except FileNotFoundError as error:
            raise BadInput(f"corpus.executor.kind is slurm, and there is no {error.filename} on this machine") from None
        except subprocess.CalledProcessError as error:
            raise BadInput(f"Slurm refused the job ({' '.join(map(str, error.cmd[:1]))}: {error})") from None
    atomic.write_json(directory / JOBS, {"jobs": [str(one.job_id) for one in chain]})


def _in_queue(jobs: Path) -> bool:
    """Whether Slurm still has any of the jobs on record."""
    import json

    if not jobs.exists():
        return False
    wanted = ",".join(json.loads(jobs.read_bytes())["jobs"])
    # An unknown id is an error of squeue's: then they are long over.
    found = subprocess.run(["squeue", "--noheader", f"--jobs={wanted}"], capture_output=True, text=True, check=False)
    return found.returncode == 0 and bool(found.stdout.strip())


def die_with_parent() -> None:
    """Have this process killed when the one that started it dies, however that dies. Linux alone can do that."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
