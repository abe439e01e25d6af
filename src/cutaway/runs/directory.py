"""A run directory: everything one recipe made, and the lock that lets one process at a time work on it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cutaway.runs.atomic import sweep, told_plainly
from cutaway.runs.errors import BadInput


class RunDirectory:
    """The directory of one run; nothing is made on disk before `lock` is taken.

    Raises:
        BadInput: `path` is there and is not a directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path} is a file, not a run directory; choose another place with --out")

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    def stage(self, name: str) -> Path:
        """The directory of the stage `name`; it may not exist yet."""
        return self.path / name

    def held(self) -> bool:
        """Whether a process works on the run now. Asking holds the lock for microseconds, shared with other askers."""
        try:
            descriptor = os.open(self.path / ".lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def holder(self) -> int | None:
        """The id of the process that works on the run now, as that wrote it down; None if none does."""
        if not self.held():
            return None
        noted = (self.path / ".lock").read_text("ascii", "replace").strip()
        return int(noted) if noted.isdecimal() else None

    @contextmanager
    def lock(self) -> Generator[None]:
        """Hold the run for this process, making the directory if needed, and sweep away what a killed process left.

        The kernel drops the lock when its holder dies, however it dies, so there are no stale locks.

        Raises:
            BadInput: another process holds the run; the message names its process id.
        """
        file = self.path / ".lock"
        with told_plainly(file):
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                # One that has only just taken the lock has not yet written down who it is.
                who, stop = (f"process {holder}", f"stop it (kill {holder}), ") if holder else ("another process", "")
                raise BadInput(
                    f"{self.path} is in use by {who}; wait for it, {stop}or choose another place with --out"
                ) from None
            with told_plainly(file):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            sweep(self.path)
            yield
        finally:
            os.close(descriptor)
