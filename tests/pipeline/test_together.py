"""A run of several processes: who does what, and how it ends."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cutaway.model import load_model
from cutaway.pipeline import Recipe, together
from cutaway.pipeline.run import run_stages
from cutaway.pipeline.stage import Stage, StageContext
from cutaway.pipeline.together import follow
from cutaway.runs import CutawayError, MetricsLog, RunDirectory, Settings, SilentProgress
from cutaway.train.step import Alone

TINY = """
seed = 3
owner = "Ann"
corpus.built_in = false
corpus.text = ["{text}"]
corpus.heldout_fraction = 0.2
corpus.world = {{people = 8, places = 4, tellings_per_entity = 3}}
tokenizer.vocab_size = 384

[pretrain]
depth = 1
width = 32
heads = 2
tokens = 4096
batch_tokens = 512
row_length = 64
context = 256
compile = false
parallel = "shard"
"""


class Thread(Alone):
    """One of two threads that stand for processes: what the first says, the other hears."""

    def __init__(self, rank: int, words: queue.Queue[Any]) -> None:
        self.rank, self.world, self.words = rank, 2, words

    def same(self, value: Any) -> Any:
        if self.rank:
            heard = self.words.get(timeout=60)
            if isinstance(heard, Exception):
                raise heard
            return heard
        self.words.put(value)
        return value


def stage(name: str, function: Callable[[StageContext[Any]], None], **choices: Any) -> Stage[Any]:
    return Stage(name, name, function, lambda recipe: Settings(), **choices)


def test_the_others_join_where_all_are_needed_and_nowhere_else(tmp_path: Path) -> None:
    words: queue.Queue[Any] = queue.Queue()
    first, second = Thread(0, words), Thread(1, words)
    did: list[tuple[str, int, int, str]] = []

    def note(context: StageContext[Any]) -> None:
        did.append((context.directory.name, context.processes.rank, context.processes.world, context.recipe.owner))

    stages = [stage("before", note), stage("training", note, together=True), stage("after", note)]
    follower = threading.Thread(target=follow, args=(stages, second))
    follower.start()
    run_stages(stages, Recipe(owner="Ann"), RunDirectory(tmp_path / "run"), SilentProgress(), processes=first)
    words.put(None)
    follower.join(60)
    assert not follower.is_alive()
    assert sorted(did) == [
        ("after", 0, 1, "Ann"),
        ("before", 0, 1, "Ann"),
        ("training", 0, 2, "Ann"),
        ("training", 1, 2, "Ann"),
    ]


def test_a_follower_ends_with_the_first_and_leaves_it_to_tell_what_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    words: queue.Queue[Any] = queue.Queue()
    words.put(RuntimeError("Connection closed by peer"))
    follow([], Thread(1, words))

    def fail(context: StageContext[Any]) -> None:
        raise CutawayError("the loss is not finite")

    waited: list[float] = []
    monkeypatch.setattr(together.time, "sleep", waited.append)
    words.put(together.Call("training", Path("run"), Recipe()))
    with pytest.raises(CutawayError, match="not finite"):
        follow([stage("training", fail, together=True)], Thread(1, words))
    assert waited == [together.SECONDS_TO_SPEAK]


@pytest.mark.timeout(600)
def test_a_recipe_is_pretrained_under_torchrun(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    words = "the old man went down to the water and saw a boat that had come from far away over night".split()
    text.write_text("\n\n".join(" ".join(words[(i * k) % 20] for i in range(60)) + f" {k}." for k in range(1, 80)))
    (tmp_path / "tiny.toml").write_text(TINY.format(text=text))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "cutaway", "pretrain", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    # One process alone spoke, and wrote each line and each sample once.
    assert [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")] == [
        "corpus",
        "tokenizer",
        "shards",
        "pretrain",
    ]
    assert [row["step"] for row in MetricsLog.read(tmp_path / "run/pretrain/metrics.jsonl")] == list(range(1, 9))
    assert [row["step"] for row in MetricsLog.read(tmp_path / "run/pretrain/samples.jsonl")] == list(range(1, 9))
    assert load_model(tmp_path / "run/pretrain/model").config.d_model == 32
    assert not (tmp_path / "run/pretrain/checkpoints").exists()
