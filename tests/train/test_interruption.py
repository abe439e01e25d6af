"""Being stopped while something is looked at: at once, and nothing is lost of it or done twice."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cutaway.model import ModelConfig, Transformer
from cutaway.runs import MetricsLog, SilentProgress, Terminated
from cutaway.train import Example, LoopSettings, Rows, Source, Watch, lay_out, train
from cutaway.train.checkpoint import checkpoints
from cutaway.train.interruption import stoppable
from cutaway.train.step import Alone

CONFIG = ModelConfig(vocab_size=50, n_layers=1, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=64, context=32)
SETTINGS = LoopSettings(
    tokens=40 * 4 * 16, batch_tokens=64, row_length=16, ema=0.9, dropout=0.1, compile=False, checkpoint_seconds=1e6
)
CLOCK = {"seconds", "tokens_per_second", "flops_utilization", "peak_memory"}


def counting_rows() -> Rows:
    examples = [Example([(start + i) % 50 for i in range(20)]) for start in range(50)]
    return lay_out([Source("counting", examples, 1.0)], 160, 16, seed=0)


def score(model: Transformer, step: int) -> dict[str, float]:
    """Best at the sixteenth step, and something that hangs on the weights."""
    return {"val_loss": abs(step - 16.0), "val_norm": float(model.embed.weight.detach().norm())}


def endless(model: Transformer) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        model(torch.zeros(1, 4, dtype=torch.int64))
    raise AssertionError("it went on looking")


def broken_off_at(step: int, number: int = signal.SIGTERM) -> Callable[[Transformer, int], dict[str, float]]:
    """A look that would last for ever at this step, in which a signal comes."""

    def look(model: Transformer, at: int) -> dict[str, float]:
        if at == step:
            os.kill(os.getpid(), number)
            endless(model)
        return score(model, at)

    return look


def trained(directory: Path, look: Callable[[Transformer, int], dict[str, float]], **changes: object) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(CONFIG)
    settings = LoopSettings.model_validate(SETTINGS.model_dump() | changes)
    train(model, counting_rows(), settings, directory, SilentProgress(), Watch(8, look), "counting")
    return model


def lines(directory: Path) -> list[dict[str, float]]:
    rows = MetricsLog.read(directory / "metrics.jsonl")
    return [{key: value for key, value in row.items() if key not in CLOCK} for row in rows]


def position(directory: Path) -> dict[str, object]:
    last = checkpoints(directory / "checkpoints")[-1]
    noted = json.loads((last / "position.json").read_text())
    return {key: value for key, value in noted.items() if key not in ("seconds", "crc32")}


@pytest.mark.parametrize("patience", [0, 2])
@pytest.mark.parametrize("step", [1, 16, 24, 40])
def test_a_look_is_broken_off_and_done_again(tmp_path: Path, step: int, patience: int) -> None:
    whole = trained(tmp_path / "whole", score, patience=patience)
    if patience and step == 40:
        step = 32  # the look after which patience is at its end
    with pytest.raises(Terminated):
        trained(tmp_path / "cut", broken_off_at(step), patience=patience)
    assert checkpoints(tmp_path / "cut/checkpoints")[-1].name == f"step-{step:06d}"
    assert [line["step"] for line in lines(tmp_path / "cut")] == list(range(1, step))
    # Once more, in the very look that is made up for.
    with pytest.raises(Terminated):
        trained(tmp_path / "cut", broken_off_at(step), patience=patience)
    resumed = trained(tmp_path / "cut", score, patience=patience)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert position(tmp_path / "cut") == position(tmp_path / "whole")


def test_a_line_is_not_doubled_when_a_kill_follows(tmp_path: Path) -> None:
    with pytest.raises(Terminated):
        trained(tmp_path / "cut", broken_off_at(16))

    class Killed(Exception):
        pass

    def die(model: Transformer, step: int) -> dict[str, float]:
        if step == 24:
            raise Killed
        return score(model, step)

    # No checkpoint after that of step 16, whose line of metrics was written meanwhile.
    with pytest.raises(Killed):
        trained(tmp_path / "cut", die)
    trained(tmp_path / "whole", score)
    trained(tmp_path / "cut", score)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_ctrl_c_breaks_off_a_look_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, broken_off_at(8, signal.SIGINT))
    assert position(tmp_path)["step"] == 8


def test_the_first_of_several_tells_the_others_that_it_was_stopped(tmp_path: Path) -> None:
    class OneOfTwo(Alone):
        """Where what the first process says to the others can be heard."""

        world = 2

        def same(self, value: object) -> object:
            said.append(value)
            return value

    said: list[object] = []
    torch.manual_seed(0)
    with pytest.raises(Terminated):
        train(
            Transformer(CONFIG),
            counting_rows(),
            SETTINGS,
            tmp_path,
            SilentProgress(),
            Watch(8, broken_off_at(8)),
            "counting",
            processes=OneOfTwo(),  # pyright: ignore
        )
    assert said[-1] is None
    assert position(tmp_path)["step"] == 8


def test_a_second_signal_does_not_break_off_what_the_first_one_keeps() -> None:
    kept: list[str] = []
    with pytest.raises(Terminated), stoppable() as stopping:
        try:
            with stopping.hold():
                with stopping.let_go():
                    os.kill(os.getpid(), signal.SIGTERM)
                    kept.append("looking")
                kept.append("held")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            kept.append("saved")
    assert kept == ["saved"]


def test_what_is_held_is_done_whole() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), stoppable() as stopping:
        with stopping.hold():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("held")
        done.append("after")
    assert done == ["held"]
