"""Where the metrics of a training go beside `metrics.jsonl`: TensorBoard, Weights & Biases, Trackio."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from cutaway.runs import BadInput, atomic
from cutaway.train.settings import Tracker


class Follower(Protocol):
    """Somewhere that metrics go to."""

    def log(self, figures: Mapping[str, Any], step: int) -> None:
        """Take one step's figures."""
        ...

    def finish(self) -> None:
        """Nothing more comes."""
        ...


def followers(names: Sequence[Tracker], directory: Path, step: int, settings: Mapping[str, Any]) -> list[Follower]:
    """Those of these names, going on after `step`, with what they write below `directory`.

    Raises:
        BadInput: the package of one is not installed; it says how to get it.
    """
    made: dict[Tracker, type[TensorBoard | WeightsAndBiases | Trackio]]
    made = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases, "trackio": Trackio}
    return [made[name](directory, step, settings) for name in dict.fromkeys(names)]


def package(name: Tracker, module: str) -> Any:
    """The module of a tracker's package."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise BadInput(f"{name} is not installed; pip install {name}, or leave it out of `track`") from None


def identity_of(directory: Path) -> str:
    """What a training is called elsewhere: the same when it is resumed, another when it is done anew."""
    file = directory / "tracked-as"
    if not file.exists():
        atomic.write_text(file, "-".join([*directory.absolute().parts[-2:], secrets.token_hex(4)]))
    return file.read_text("utf-8")


class TensorBoard:
    """Event files in `tensorboard/`: `tensorboard --logdir runs/` shows all runs."""

    def __init__(self, directory: Path, step: int, settings: Mapping[str, Any]) -> None:
        package("tensorboard", "tensorboard")
        module = package("tensorboard", "torch.utils.tensorboard")
        # What a killed run had written of the steps that now come again is not shown.
        self.writer = module.SummaryWriter(str(directory / "tensorboard"), purge_step=step + 1)

    def log(self, figures: Mapping[str, Any], step: int) -> None:
        """A point on the curve of each figure."""
        for name, value in figures.items():
            if name != "step":
                self.writer.add_scalar(name, value, step)

    def finish(self) -> None:
        """Write what is left."""
        self.writer.close()


class WeightsAndBiases:
    """A run at Weights & Biases, or in `wandb/` where WANDB_MODE is offline; resumed under one name."""

    def __init__(self, directory: Path, step: int, settings: Mapping[str, Any]) -> None:
        module = package("wandb", "wandb")
        identity = identity_of(directory)
        self.run = module.init(
            project="cutaway", id=identity, name=identity, dir=str(directory), config=dict(settings), resume="allow"
        )

    def log(self, figures: Mapping[str, Any], step: int) -> None:
        """A point on the curve of each figure."""
        self.run.log(dict(figures), step=step)

    def finish(self) -> None:
        """Send what is left."""
        self.run.finish()


class Trackio:
    """A local project of Trackio: `trackio show --project cutaway`."""

    def __init__(self, directory: Path, step: int, settings: Mapping[str, Any]) -> None:
        self.module = package("trackio", "trackio")
        self.module.init(project="cutaway", name=identity_of(directory), config=dict(settings), resume="allow")

    def log(self, figures: Mapping[str, Any], step: int) -> None:
        """A point on the curve of each figure."""
        self.module.log(dict(figures), step=step)

    def finish(self) -> None:
        """Write what is left."""
        self.module.finish()
