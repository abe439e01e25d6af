"""What the loop offers beside learning: averages, early ends, faults, stops, trackers, portions."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from cutaway.model import ModelConfig, Transformer
from cutaway.runs import BadInput, CutawayError, MetricsLog, SilentProgress, Terminated
from cutaway.train import Example, LoopSettings, Rows, Source, Watch, lay_out, train, unwatched
from cutaway.train.checkpoint import Checkpoints, checkpoints, weights_of
from cutaway.train.cross_entropy import cross_entropy
from cutaway.train.ema import WeightAverage
from cutaway.train.machine import can_compile
from cutaway.train.objectives import LanguageModelling
from cutaway.train.optimizer import Optimizer, OptimizerSettings
from cutaway.train.recompute import recomputed
from cutaway.train.step import TrainStep

CONFIG = ModelConfig(vocab_size=50, n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=64, context=32)
SETTINGS = LoopSettings(tokens=40 * 4 * 16, batch_tokens=64, row_length=16, compile=False, checkpoint_seconds=1e-6)


def counting_rows() -> Rows:
    examples = [Example([(start + i) % 50 for i in range(20)]) for start in range(50)]
    return lay_out([Source("counting", examples, 1.0)], 160, 16, seed=0)


def new_model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(CONFIG)


def changed(**fields: object) -> LoopSettings:
    return LoopSettings.model_validate(SETTINGS.model_dump() | fields)


def trained(directory: Path, settings: LoopSettings, watch: Watch | None = None) -> Transformer:
    model = new_model()
    train(model, counting_rows(), settings, directory, SilentProgress(), watch or unwatched(), "counting")
    return model


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_schedules_equal_torchs(schedule: str) -> None:
    settings = changed(tokens=100 * 64, schedule=schedule, warmup=0.1, final=0.1)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, total_iters=9)
    fall: torch.optim.lr_scheduler.LRScheduler = (
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 91, eta_min=0.1)
        if schedule == "cosine"
        else torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=91)
    )
    theirs: list[float] = []
    for step in range(100):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        (rise if step < 9 else fall).step()
    assert [settings.scale(step) for step in range(100)] == pytest.approx(theirs, abs=1e-6)


def test_portions_of_a_batch_give_the_whole_batchs_gradient() -> None:
    batch = counting_rows().batch(0, 8)
    batch["learned"] = torch.rand(batch["learned"].shape, generator=torch.Generator().manual_seed(0)) < 0.5

    def gradients(micro_rows: int) -> list[torch.Tensor]:
        model = new_model()
        step = TrainStep(
            model,
            LanguageModelling(z_loss=1e-3),
            Optimizer(model, OptimizerSettings()),
            compiled=False,
            dtype=torch.float32,
            clip=1e9,
            micro_rows=micro_rows,
        )
        step.gradient(batch)
        return [weight.grad for weight in model.parameters() if weight.grad is not None]

    for whole, portions in zip(gradients(0), gradients(3), strict=True):
        torch.testing.assert_close(whole, portions, rtol=1e-4, atol=1e-7)


def test_clipping_is_torchs() -> None:
    batch = counting_rows().batch(0, 8)
    ours, theirs = new_model(), new_model()
    step = TrainStep(
        ours,
        LanguageModelling(),
        Optimizer(ours, OptimizerSettings()),
        compiled=False,
        dtype=torch.float32,
        clip=0.1,
    )
    outcome = step.gradient(batch)
    logits = theirs(batch["tokens"])
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten()).backward()
    norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
    assert outcome.norm == pytest.approx(float(norm), rel=1e-5)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("compiled", [False, True])
def test_recomputed_blocks_give_the_same_gradient_from_less_memory(compiled: bool) -> None:
    if compiled and not can_compile():
        pytest.skip("no C++ compiler")
    batch = counting_rows().batch(0, 8)

    def gradients(wanted: bool) -> tuple[list[torch.Tensor], int]:
        model, kept = new_model(), 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        step = TrainStep(
            model,
            LanguageModelling(),
            Optimizer(model, OptimizerSettings()),
            compiled=compiled,
            dtype=torch.float32,
            clip=1e9,
        )
        with recomputed(model, wanted=wanted):
            if not compiled:
                with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                    step.gradient(batch)
            else:
                step.gradient(batch)
        assert "forward" not in vars(model.blocks[0])
        return [weight.grad for weight in model.parameters() if weight.grad is not None], kept

    (plain, more), (again, less) = gradients(False), gradients(True)
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)
    assert compiled or less < more


def test_z_loss_is_the_papers() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(7, 11), torch.randint(0, 11, (7,))
    log_z = logits.double().exp().sum(-1).log()
    expected = (log_z - logits.double()[range(7), targets] + 1e-2 * log_z**2).sum()
    assert float(cross_entropy(logits, targets, 1e-2)) == pytest.approx(float(expected), rel=1e-6)


def test_the_average_is_the_sum_that_it_stands_for() -> None:
    layer = nn.Linear(3, 2)
    average = WeightAverage(layer, 0.9)
    expected = layer.weight.detach().clone()
    for step in range(30):
        with torch.no_grad():
            layer.weight.add_(torch.randn(2, 3))
        average.update(layer, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    torch.testing.assert_close(average.weights["weight"], expected)
    last = layer.weight.detach().clone()
    with average.in_place_of(layer):
        torch.testing.assert_close(layer.weight.detach(), expected)
    assert torch.equal(layer.weight, last)


def test_a_run_with_average_dropout_and_cosine_resumes_to_the_same_bits(tmp_path: Path) -> None:
    settings = changed(ema=0.9, dropout=0.1, schedule="cosine", z_loss=1e-4)
    whole = trained(tmp_path / "whole", settings)

    def stop(model: Transformer, step: int) -> dict[str, float]:
        if step == 13 and not stopped:
            stopped.append(step)
            raise RuntimeError
        return {}

    stopped: list[int] = []
    with pytest.raises(RuntimeError):
        trained(tmp_path / "cut", settings, Watch(1, stop))
    resumed = trained(tmp_path / "cut", settings, Watch(1, stop))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    plain = trained(tmp_path / "plain", changed(schedule="cosine", z_loss=1e-4))
    assert not all(torch.equal(a, b) for a, b in zip(whole.parameters(), plain.parameters(), strict=True))


def test_it_ends_early_with_the_best_model(tmp_path: Path) -> None:
    seen: dict[int, list[torch.Tensor]] = {}

    def look(model: Transformer, step: int) -> dict[str, float]:
        seen[step] = [weight.detach().clone() for weight in model.parameters()]
        return {"val_loss": abs(step - 12)}

    model = trained(tmp_path, changed(patience=3, keep=1), Watch(4, look))
    assert max(seen) == 24
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), seen[12], strict=True))
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-000012", "step-000024"]
    again = trained(tmp_path, changed(patience=3, keep=1), Watch(4, look))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), seen[12], strict=True))


class Poisoned:
    """Rows of which some steps' batches hold a token that a hostile model makes NaN of."""

    def __init__(self, steps: set[int]) -> None:
        self.rows, self.steps, self.model = counting_rows(), steps, new_model()

    def batch(self, step: int, size: int) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            self.model.embed.weight[49] = torch.nan if step in self.steps else 0.01
        batch = self.rows.batch(step, size)
        batch["tokens"] = batch["tokens"].clamp(max=48)
        if step in self.steps:
            batch["tokens"][1, 3] = 49
        return batch


def test_a_fault_is_named_with_its_batch_and_tensor(tmp_path: Path) -> None:
    feed = Poisoned({5})
    with pytest.raises(CutawayError, match=r"step 6 of x, rows 20 to 23 .* the weight embed\.weight\)"):
        train(feed.model, feed, SETTINGS, tmp_path, SilentProgress(), unwatched(), "x")


def test_the_first_tensor_that_is_not_finite_is_named(tmp_path: Path) -> None:
    model = new_model()
    with torch.no_grad():
        model.blocks[1].mlp.up.weight.fill_(1e30)  # pyright: ignore
        model.blocks[1].mlp.gate.weight.fill_(1e30)  # pyright: ignore
    with pytest.raises(CutawayError, match=r"the first that is not is blocks\.1\.mlp\.\w+"):
        train(model, counting_rows(), SETTINGS, tmp_path, SilentProgress(), unwatched(), "x")


def test_steps_that_are_not_finite_are_left_out_where_the_recipe_says_so(tmp_path: Path) -> None:
    feed = Poisoned({5, 6, 30})
    train(feed.model, feed, changed(nonfinite="skip"), tmp_path, SilentProgress(), unwatched(), "x")
    losses = {row["step"]: row["loss"] for row in MetricsLog.read(tmp_path / "metrics.jsonl")}
    assert [step for step, loss in losses.items() if loss is None] == [6, 7, 31]
    assert losses[40] < 2
    endless = Poisoned(set(range(3, 40)))
    with pytest.raises(CutawayError, match=r"step 12 of x.*8 steps before it were not either"):
        train(endless.model, endless, changed(nonfinite="skip"), tmp_path / "y", SilentProgress(), unwatched(), "x")


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_leaves_a_checkpoint_of_the_last_whole_step(tmp_path: Path, number: int, error: type) -> None:
    whole = trained(tmp_path / "whole", SETTINGS)

    class Signalling(Rows):
        def batch(self, step: int, size: int) -> dict[str, torch.Tensor]:
            if step == 17 and not sent:
                sent.append(step)
                os.kill(os.getpid(), number)
            return super().batch(step, size)

    sent: list[int] = []
    rows = counting_rows()
    settings = changed(checkpoint_seconds=1e6)
    cut = tmp_path / "cut"
    with pytest.raises(error):
        train(new_model(), Signalling(rows.tokens, rows.learned), settings, cut, SilentProgress(), unwatched(), "x")
    assert [path.name for path in checkpoints(cut / "checkpoints")] == ["step-000017"]
    resumed = trained(cut, settings)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cutaway.train import checkpoint

    written: list[Path] = []

    def save(tensors: dict[str, torch.Tensor], path: Path) -> None:
        written.append(path)
        if len(written) > 6:
            raise OSError(28, "No space left on device")
        real(tensors, path)

    real = checkpoint.save_file
    monkeypatch.setattr(checkpoint, "save_file", save)
    with pytest.raises(CutawayError, match="no space left on the disk"):
        trained(tmp_path, SETTINGS)
    left = Checkpoints(tmp_path / "checkpoints").load(weights_of(new_model()))
    assert left is not None
    assert left[0].step == 3
    monkeypatch.setattr(checkpoint, "save_file", real)
    trained(tmp_path, SETTINGS)


def test_a_changed_byte_in_a_checkpoint_is_found(tmp_path: Path) -> None:
    trained(tmp_path, SETTINGS)
    weights = checkpoints(tmp_path / "checkpoints")[-1] / "optimizer.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    with pytest.raises(BadInput, match=r"optimizer\.safetensors: it is not as it was written"):
        trained(tmp_path, SETTINGS)


def test_metrics_go_to_tensorboard(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trained(tmp_path, changed(track=["tensorboard"]))
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    logged = MetricsLog.read(tmp_path / "metrics.jsonl")
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([row["loss"] for row in logged])


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(BadInput, match="pip install trackio"):
        trained(tmp_path, changed(track=["trackio"]))


KILLED = """
import sys, time, torch
sys.path.insert(0, {here!r})
import test_training as t
from pathlib import Path
slow = t.Watch(1, lambda model, step: time.sleep(0.01) or {{}})
settings = t.changed(ema=0.9, dropout=0.1)
t.trained(Path({run!r}), settings, slow)
"""


@pytest.mark.slow
def test_kills_at_any_moment_change_no_bit(tmp_path: Path) -> None:
    """A few kills here; `bench/kill.py` does thirty of each kind of training."""
    whole = trained(tmp_path / "whole", changed(ema=0.9, dropout=0.1))
    script = KILLED.format(here=str(Path(__file__).parent), run=str(tmp_path / "cut"))
    rng = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        while not checkpoints(tmp_path / "cut/checkpoints") and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.wait()
    resumed = trained(tmp_path / "cut", changed(ema=0.9, dropout=0.1))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert json.loads((checkpoints(tmp_path / "cut/checkpoints")[-1] / "position.json").read_text())["step"] == 40
    assert load_file(checkpoints(tmp_path / "cut/checkpoints")[-1] / "average.safetensors").keys()
