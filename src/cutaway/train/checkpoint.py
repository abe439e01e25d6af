"""Checkpoints: a directory a step, written whole or not at all, while training goes on."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Generator, Mapping
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from cutaway.runs import BadInput, Terminated, atomic
from cutaway.train import sharded, sharded_checkpoint
from cutaway.train.step import Alone

POSITION = "position.json"
Parts = Mapping[str, Mapping[str, Tensor]]
"""What a checkpoint holds beside its position: the tensors of the model, the optimiser and so on, by name."""


@dataclass(frozen=True)
class Position:
    """How far a run has come."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Time spent on them."""
    best: float | None = None
    """The least of the watched figures so far, and the step that it was seen at."""
    best_step: int = 0
    since_best: int = 0
    """Looks since then."""
    skipped: int = 0
    """Steps left out one after another, up to now, because their loss was not finite."""
    line: dict[str, float] | None = None
    """The last step's line of metrics, where it is not written because the look that belongs to it was broken off."""

    @property
    def is_best(self) -> bool:
        """Whether the last look was the best, and at this step."""
        return self.best is not None and self.best_step == self.step


class Checkpoints:
    """The checkpoints of one training: the latest `keep`, and the best one where scores are watched.

    `save` comes back as soon as the state is copied; another thread writes it. Of several processes the first writes,
    unless the weights are divided among them: then each writes its part, and `save` comes back when all have.
    """

    def __init__(self, root: Path, *, keep: int = 2, processes: Alone | None = None) -> None:
        self.root = root
        self.keep = keep
        self.processes = processes or Alone()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def save(self, position: Position, parts: Parts) -> None:
        """Begin to write `step-000500/`, once the one before is written.

        On a full disk the earlier ones stay as they were.

        Raises:
            CutawayError: the disk was full at the checkpoint before this one.
        """
        self.wait()
        if any(sharded.is_divided(weight) for weight in parts["model"].values()):
            self._write_together(position, parts)
            return
        if not self.processes.is_first:
            return
        copied = {
            name: {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
            for name, tensors in parts.items()
        }
        self._writing = self._writer.submit(self._write, position, copied)

    @contextmanager
    def kept(self, state: Callable[[], tuple[Position, Parts]]) -> Generator[None]:
        """Within the block, being stopped leaves a checkpoint of where the run stands; all is written at its end."""
        try:
            yield
        except (KeyboardInterrupt, Terminated):
            self.save(*state())
            self.wait()
            # Who ends first has the others ended.
            self.processes.barrier()
            raise
        finally:
            self.wait()

    def wait(self) -> None:
        """Until what was begun is on disk. Raises `CutawayError` if it could not be written."""
        if writing := self._writing:
            futures.wait([writing])
            self._writing = None
            writing.result()

    def load(self, weights: Mapping[str, Tensor]) -> tuple[Position, dict[str, dict[str, Tensor]]] | None:
        """The last checkpoint, its tensors divided as `weights` are; None if there is none.

        Raises:
            BadInput: it is damaged; the message names the file.
        """
        found = self.processes.same(checkpoints(self.root))
        return read_checkpoint(found[-1], weights, self.processes) if found else None

    def load_best(self, weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]] | None:
        """The tensors of the checkpoint with the least score, if there is one."""
        self.wait()
        scored = [(best, path) for path in checkpoints(self.root) if (best := best_score(path)) is not None]
        best = self.processes.same(min(scored)[1] if scored else None)
        return read_checkpoint(best, weights, self.processes)[1] if best else None

    def _write(self, position: Position, parts: Parts) -> None:
        with atomic.directory(directory_of(self.root, position.step)) as directory:
            sums: dict[str, int] = {}
            for name, tensors in parts.items():
                file = directory / f"{name}.safetensors"
                save_file(dict(tensors), file)
                sums[file.name] = checksum(file)
            write_position(directory, position, sums)
        self.prune(position)

    def _write_together(self, position: Position, parts: Parts) -> None:
        first, target = self.processes.is_first, directory_of(self.root, position.step)
        with ExitStack() as stack, atomic.told_plainly(target):
            place = self.processes.same(stack.enter_context(atomic.directory(target)) if first else target)
            written = sharded_checkpoint.write(place, parts, self.processes)
            sums = self.processes.gathered({file.name: checksum(file) for file in written})
            if first:
                write_position(place, position, {name: sum_ for each in sums for name, sum_ in each.items()})
        if first:
            self.prune(position)
        self.processes.barrier()

    def prune(self, position: Position) -> None:
        """Drop all but the latest, and the best."""
        best = directory_of(self.root, position.best_step) if position.best is not None else None
        for old in checkpoints(self.root)[: -self.keep]:
            if old != best:
                shutil.rmtree(old, ignore_errors=True)  # what is left of it goes with the next


def directory_of(root: Path, step: int) -> Path:
    """The directory of a step's checkpoint."""
    return root / f"step-{step:06d}"


def checkpoints(root: Path) -> list[Path]:
    """The whole checkpoints, oldest first."""
    found = (path for path in root.glob("step-*") if (path / POSITION).exists())
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def write_position(directory: Path, position: Position, sums: Mapping[str, int]) -> None:
    """Note where a run stands, and the CRC-32 of each file beside."""
    (directory / POSITION).write_text(json.dumps({**asdict(position), "crc32": dict(sums)}) + "\n")


def read_position(directory: Path) -> tuple[Position, dict[str, int]]:
    """What `write_position` wrote."""
    noted: dict[str, Any] = json.loads((directory / POSITION).read_text())
    sums = noted.pop("crc32")
    return Position(**noted), sums


def best_score(directory: Path) -> float | None:
    """The score of a checkpoint that was the best so far when it was written."""
    try:
        position, _ = read_position(directory)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return position.best if position.is_best else None


def read_checkpoint(
    directory: Path, weights: Mapping[str, Tensor], processes: Alone
) -> tuple[Position, dict[str, dict[str, Tensor]]]:
    """A checkpoint's position, and its tensors divided as `weights` are. All processes read it together.

    Raises:
        BadInput: it is damaged; the message names the file.
    """
    at = directory
    try:
        position, sums = read_position(directory)
        names = sorted(sums)
        damage = [damage_of(directory / name, sums[name]) for name in names[processes.rank :: processes.world]]
        for found in processes.gathered(next(filter(None, damage), None)):
            if found:
                at, reason = found
                raise ValueError(reason)
        if any(name.startswith(sharded_checkpoint.SHARD) for name in names):
            return position, sharded_checkpoint.read(directory, weights, processes)
        parts: dict[str, dict[str, Tensor]] = {}
        for at in (directory / name for name in names):
            parts[at.stem] = sharded_checkpoint.read_plain(at, weights)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"the checkpoint {directory} is damaged ({at.name}: {error}); "
            "delete that directory to go on from the one before"
        ) from None
    return position, parts


def damage_of(file: Path, expected: int) -> tuple[Path, str] | None:
    """The file and what is wrong with it, if it is not as it was written."""
    try:
        return None if checksum(file) == expected else (file, "it is not as it was written")
    except OSError as error:
        return file, str(error.strerror)


def checksum(path: Path) -> int:
    """The CRC-32 of a file."""
    sum_ = 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 22):
            sum_ = zlib.crc32(chunk, sum_)
    return sum_


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Weights by name, a shared one once."""
    return {name: weight.detach() for name, weight in model.named_parameters()}


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Those of them that require a gradient: beside an adapter's frozen matrices, little of a model."""
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


@torch.no_grad()
def put_weights(model: nn.Module, weights: Mapping[str, Tensor], directory: Path) -> None:
    """Give a model the weights of a checkpoint that it trains; the others are as they were when training began.

    Raises:
        BadInput: they are not this model's.
    """
    for name, weight in trained_weights(model).items():
        if name not in weights or weights[name].shape != weight.shape:
            raise BadInput(f"the checkpoint in {directory} is of another model ({name}); delete that directory")
        weight.copy_(weights[name])
