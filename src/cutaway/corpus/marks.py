"""What the tasks of a pass tell the process that watches them: how far they are, and what stopped one.

Files, because that is all that processes on several machines share. Nothing that lasts depends on them.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from cutaway.runs import atomic
from cutaway.runs.errors import BadInput, CutawayError

TELL_SECONDS = 0.5
"""Between two reports of a task."""


class Teller:
    """Says how far one task of a pass is."""

    def __init__(self, directory: Path, name: str, rank: int) -> None:
        self.path = _folder(directory) / f"{name}-{rank:05d}.done"
        self.done = self.documents = 0
        self._told = 0.0
        self._open: Path | None = None
        self._size = 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._tell()

    def reading(self, path: Path, size: int) -> None:
        """From now on the file at `path` is read, of so many bytes, which count as done as far as they are read."""
        self._open, self._size = path, size

    def document(self) -> None:
        """One more document was dealt with."""
        self.documents += 1
        if self.documents % 16 == 0 and time.monotonic() - self._told > TELL_SECONDS:
            self._tell()

    def add(self, done: int, documents: int = 0) -> None:
        """So many units, and documents, are done for good."""
        self.done += done
        self.documents += documents
        self._open = None
        self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        within = min(_position(self._open), self._size) if self._open else 0
        # Not by way of another name: a look that comes in between sees a number too few, and looks again.
        with suppress(OSError):
            self.path.write_text(f"{self.done + within} {self.documents}\n", encoding="ascii")


def _position(path: Path) -> int:
    """How far this process has read in a file that it has open, in bytes, where the system tells."""
    try:
        for descriptor in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/self/fd/{descriptor}") == str(path):
                    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as info:
                        return int(info.readline().split()[1])
    except OSError:
        pass
    return 0


def progress_of(directory: Path, name: str) -> tuple[int, int]:
    """Units and documents that the tasks of a pass have done."""
    done = documents = 0
    for path in _folder(directory).glob(f"{name}-*.done"):
        with suppress(OSError, ValueError):
            a, b = path.read_text(encoding="ascii").split()
            done, documents = done + int(a), documents + int(b)
    return done, documents


def fail(directory: Path, name: str, rank: int, error: BaseException) -> None:
    """Leave word of what stopped a task."""
    kind = "input" if isinstance(error, BadInput) else "failure"
    text = str(error) if isinstance(error, CutawayError) else f"{type(error).__name__}: {error}"
    with suppress(CutawayError, OSError):
        atomic.write_text(_folder(directory) / f"{name}-{rank:05d}.failed", f"{kind}\n{text}\n")


def failures(directory: Path, name: str, *, clear: bool = False) -> CutawayError | None:
    """What stopped the first task of a pass that was stopped; with `clear` all word of earlier attempts is removed."""
    for path in sorted(_folder(directory).glob(f"{name}-*.*")):
        if clear:
            path.unlink(missing_ok=True)
        elif path.suffix == ".failed":
            kind, _, text = path.read_text(encoding="utf-8").partition("\n")
            return BadInput(text.strip()) if kind == "input" else CutawayError(text.strip())
    return None


def _folder(directory: Path) -> Path:
    return directory / "progress"
