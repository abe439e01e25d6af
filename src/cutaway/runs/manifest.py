"""The manifest of a run: which stages ran, from what, to what, with which versions, on which machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from cutaway.runs.atomic import TEMPORARY_SUFFIX, write_text
from cutaway.runs.directory import RunDirectory
from cutaway.runs.errors import BadInput

MANIFEST = "manifest.json"


class StageRecord(BaseModel):
    """What the manifest knows of one stage. Times are UTC, ISO 8601; hashes are hexadecimal SHA-256."""

    state: Literal["running", "finished", "failed"]
    settings_hash: str
    inputs: dict[str, str] = Field(default_factory=dict)
    """Hash of each input: an earlier stage's name, or a path outside the run."""
    outputs: dict[str, str] = Field(default_factory=dict)
    """Hash of each file the stage made that later stages may read, by its path below the stage's directory."""
    started: str
    finished: str | None = None
    seconds: float = 0.0
    """Working time, summed over every attempt it took."""
    peak_memory: int | None = None
    """The process's highest resident memory up to the stage's end, in bytes."""
    error: str | None = None
    """Why it failed, in one line."""


class Machine(BaseModel):
    """Where a run was made."""

    platform: str
    python: str
    processor: str
    cpus: int


class Manifest(BaseModel):
    """manifest.json."""

    format: Literal[1] = 1
    seed: int
    machine: Machine
    versions: dict[str, str]
    """Every installed package's version, by its name."""
    stages: dict[str, StageRecord] = Field(default_factory=dict)

    @classmethod
    def of_this_machine(cls, seed: int) -> Manifest:
        """A manifest with no stages, of this machine and the packages installed on it."""
        machine = Machine(
            platform=platform.platform(),
            python=platform.python_version(),
            processor=_processor(),
            cpus=os.cpu_count() or 1,
        )
        return cls(seed=seed, machine=machine, versions=_versions())

    @classmethod
    def read(cls, run: RunDirectory) -> Manifest | None:
        """The manifest of `run`, or None where there is none yet.

        Raises:
            BadInput: it is there but cannot be read as a manifest.
        """
        path = run.path / MANIFEST
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            first = error.errors()[0]
            if first["loc"] == ("format",):
                raise BadInput(f"{path} was written by another version of Cutaway; use that one, or --out") from error
            raise BadInput(
                f"{path} is damaged ({first['msg']}); remove it to make everything in the run anew"
            ) from error

    def write(self, run: RunDirectory) -> None:
        """Write it into `run`, atomically."""
        write_text(run.path / MANIFEST, self.model_dump_json(indent=2) + "\n")


def hash_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(root: Path, patterns: Iterable[str] = ("**/*",)) -> dict[str, str]:
    """SHA-256 of every file below `root` that matches one of the glob `patterns`, by its path relative to `root`.

    A pattern that matches a directory takes in everything below it.
    """
    found: set[Path] = set()
    for pattern in patterns:
        for path in root.glob(pattern):
            found.update(path.rglob("*") if path.is_dir() else (path,))
    return {
        path.relative_to(root).as_posix(): hash_file(path)
        for path in sorted(found)
        if path.is_file() and TEMPORARY_SUFFIX not in str(path.relative_to(root))
    }


def hash_path(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files with their names."""
    return hash_file(path) if path.is_file() else hash_object(hash_files(path))


def hash_object(obj: object) -> str:
    """SHA-256 of anything JSON can say, independent of the order of keys."""
    return hashlib.sha256(json.dumps(obj, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def peak_memory() -> int:
    """This process's highest resident memory so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # Half-removed packages have metadata without a name; `metadata` types this as never missing.
        name: str | None = distribution.metadata["Name"]
        if name:
            found[name.lower().replace("_", "-")] = distribution.version
    return dict(sorted(found.items()))


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
