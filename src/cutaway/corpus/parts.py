"""A crawl's inputs cut into parts: the pieces in which it is worked through, resumed and numbered.

How files fall into parts follows from the files alone. Neither how many tasks share the parts nor who stopped when can
therefore show in what comes out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cutaway.runs import atomic
from cutaway.runs.errors import BadInput

PLAN = "plan.tsv"
"""The file that has the parts."""
SMALLEST_PART, LARGEST_PART = 1 << 16, 1 << 30
"""Bytes. A file that is larger is a part of its own."""
PARTS = 512
"""About so many parts a corpus has, unless they would become too small or too large."""


@dataclass(frozen=True)
class Input:
    """One file: by what name its pages go, where it is, and what tells that it was changed."""

    name: str
    path: str
    size: int
    modified: int
    """Nanoseconds since 1970."""

    @classmethod
    def of(cls, name: str, path: Path) -> Input:
        """A file as it is now. Raises `BadInput` where there is none."""
        try:
            stat = path.stat()
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None
        return cls(name, str(path), stat.st_size, stat.st_mtime_ns)

    def check(self) -> None:
        """Raise `BadInput` if the file is no longer what it was when the run began."""
        if Input.of(self.name, Path(self.path)) != self:
            raise BadInput(
                f"{self.path} has changed since the run began; put the earlier file back, or begin again with --again"
            )


def list_inputs(roots: Sequence[str]) -> list[Input]:
    """Every input file below `roots`, each once, in order. Names are relative to its root, and unique.

    Raises:
        BadInput: a root that is not there, or nothing to read at all.
    """
    from cutaway.corpus.sources import find_inputs  # here, because it brings what reads archives

    found: dict[str, Input] = {}
    names: set[str] = set()
    for root in roots:
        for path in find_inputs([root]):
            place = str(path.resolve())
            if place in found:
                continue
            name = _name(Path(root), path)
            if name in names:  # of two roots of the same name the second one's files are told apart by its number
                name = f"{len(found)}/{name}"
            names.add(name)
            found[place] = Input.of(name, path.resolve())
    if not found:
        raise BadInput("there is nothing to read; name files or folders: --set 'corpus.inputs=[\"my-crawl/\"]'")
    return list(found.values())


def _name(root: Path, path: Path) -> str:
    try:
        return (Path(root.resolve().name) / path.resolve().relative_to(root.resolve())).as_posix()
    except ValueError:  # a link that leads out of the root
        return path.name


def fingerprint(inputs: Iterable[Input]) -> str:
    """A hash of the inputs' names, sizes and times: it changes when a file does, and costs no reading."""
    digest = hashlib.sha256()
    for one in inputs:
        digest.update(f"{one.name}\0{one.size}\0{one.modified}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def cut(inputs: Sequence[Input]) -> Iterator[tuple[int, Input]]:
    """Each input with the number of its part, in order."""
    total = sum(one.size for one in inputs)
    full = min(LARGEST_PART, max(SMALLEST_PART, total // PARTS))
    part = held = 0
    for one in inputs:
        if held and held + one.size > full:
            part, held = part + 1, 0
        # Even an empty file takes room, so that a million of them are not one part.
        held += one.size + 256
        yield part, one


def write_plan(path: Path, inputs: Sequence[Input]) -> int:
    """Write the parts to `path`, a line an input; give their number.

    The plan of an interrupted run stays, and is checked to be the same.

    Raises:
        BadInput: the inputs are others now.
    """
    lines = [_line(part, one) for part, one in cut(inputs)]
    text = "".join(lines).encode("utf-8", "surrogateescape")
    if path.exists() and path.read_bytes() != text:
        raise BadInput(_changed(path, inputs))
    atomic.write_bytes(path, text)
    return int(lines[-1].split("\t", 1)[0]) + 1


def _line(part: int, one: Input) -> str:
    name, place = (text.encode("unicode_escape").decode("ascii") for text in (one.name, one.path))
    return f"{part}\t{one.size}\t{one.modified}\t{name}\t{place}\n"


def _changed(path: Path, inputs: Sequence[Input]) -> str:
    earlier = {one.name: one for _, one in read_plan(path)}
    now = {one.name: one for one in inputs}
    different = [name for name in now.keys() | earlier.keys() if now.get(name) != earlier.get(name)]
    first = f" (first {min(different)})" if different else ""
    return (
        f"{max(1, len(different))} of the inputs changed since the run in {path.parent} began{first}; put them back, "
        "choose another place with --out, or begin again with --again"
    )


def read_plan(path: Path) -> Iterator[tuple[int, Input]]:
    """What `write_plan` wrote, a line at a time."""
    with path.open(encoding="ascii") as lines:
        for line in lines:
            part, size, modified, name, place = line.rstrip("\n").split("\t")
            name, place = (text.encode("ascii").decode("unicode_escape") for text in (name, place))
            yield int(part), Input(name, place, int(size), int(modified))


def parts_of(path: Path, rank: int, tasks: int) -> Iterator[tuple[int, list[Input]]]:
    """The parts of one of so many tasks, each with its inputs, in order."""
    held: list[Input] = []
    current = -1
    for part, one in read_plan(path):
        if part != current:
            if held:
                yield current, held
            current, held = part, []
        if part % tasks == rank:
            held.append(one)
    if held:
        yield current, held
