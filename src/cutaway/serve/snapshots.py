"""Models kept on the way of a training: which there are, and those last looked at, held open."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from cutaway.infer import LanguageModel, load
from cutaway.serve.offers import Offer
from cutaway.train.snapshots import snapshots_in

AT = "@"
"""Between a model's name and a step: "demo:pretrain@64"."""
MOST_OPEN = 4
"""Models held open at once."""
LAST_LINES = 8 << 10


class Snapshots:
    """The snapshots of all stages; safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[Path, int], LanguageModel] = OrderedDict()

    def open(self, path: Path) -> LanguageModel:
        """The model in a directory. Of those opened before, only the last are still there.

        Raises:
            BadInput: its files are damaged.
        """
        # A run that is made anew writes other models to the same places.
        key = path, (path / "config.json").stat().st_mtime_ns
        with self._lock:
            if key not in self._open:
                self._open[key] = load(path)
            self._open.move_to_end(key)
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
            return self._open[key]


def stage_of(offer: Offer) -> Path | None:
    """The directory of the stage that made a model, where a run's stage did."""
    return offer.run / offer.stage if offer.run and offer.stage else None


def steps_kept(offer: Offer) -> dict[int, Path]:
    """The models kept on the way to an offer's, by step in order."""
    stage = stage_of(offer)
    return snapshots_in(stage) if stage else {}


def last_step(offer: Offer) -> int | None:
    """The step after which the offer's own model was written, as the log of its training has it."""
    stage = stage_of(offer)
    with suppress(OSError, ValueError, KeyError, IndexError, TypeError):
        if stage:
            with (stage / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_LINES))
                return int(json.loads(file.read().splitlines()[-1])["step"])
    return None
