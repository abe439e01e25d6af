"""Two processes against one: `torchrun` starts this file twice, and what both did is looked at here."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from cutaway.model import ModelConfig, Transformer
from cutaway.model.config import Experts
from cutaway.runs import BadInput, MetricsLog, SilentProgress, Terminated
from cutaway.train import Example, LoopSettings, Rows, Source, Watch, lay_out, train
from cutaway.train.checkpoint import checkpoints
from cutaway.train.distributed import Several, parallelise, processes
from cutaway.train.objectives import Batch, LanguageModelling, Objective
from cutaway.train.objectives.sequence_to_sequence import SequenceToSequence
from cutaway.train.optimizer import Optimizer, OptimizerSettings, StackedMuon
from cutaway.train.sharded import is_divided, whole
from cutaway.train.step import Alone, TrainStep

# Tied embeddings, in a number that two processes cannot halve.
CONFIG = ModelConfig(vocab_size=51, n_layers=2, d_model=32, n_heads=4, n_kv_heads=2, d_head=8, d_mlp=72, context=32)
WAYS = ("replicate", "shard", "tensor")
# From the first step to the last; the third way, slow where matrices are small, only takes up what others began.
WHOLE_WAY = WAYS[:2]
STEPS, FIRST_STOP, SECOND_STOP = 50, 15, 32
SETTINGS = LoopSettings(
    tokens=STEPS * 4 * 16,
    batch_tokens=64,
    row_length=16,
    ema=0.9,
    compile=False,
    precision="float32",
    checkpoint_seconds=1e9,
)
LANGUAGE = LanguageModelling()
# For machines that have much else to do.
pytestmark = pytest.mark.timeout(900)


def model_of(config: ModelConfig) -> Transformer:
    torch.manual_seed(0)
    return Transformer(config)


@dataclass
class Counting:
    """Rows of numbers that follow one another; the step `stop` is interrupted by SIGTERM."""

    rows: Rows
    stop: int | None = None

    def batch(self, step: int, size: int) -> Batch:
        if step == self.stop:
            signal.raise_signal(signal.SIGTERM)
        return self.rows.batch(step, size)


def counting(stop: int | None = None) -> Counting:
    examples = [Example([(start + i) % 50 for i in range(20)]) for start in range(50)]
    return Counting(lay_out([Source("counting", examples, 1.0)], 4 * STEPS, 16, seed=0), stop)


def look(model: Transformer, step: int) -> dict[str, float]:
    batch = counting().rows.batch(0, 8)
    with torch.inference_mode():
        return {"val_loss": float(LANGUAGE.total(model.eval(), LANGUAGE.ready(batch))) / LANGUAGE.count(batch)}


def run(directory: Path, how: str, among: Alone, stop: int | None = None) -> Transformer:
    model, settings = model_of(CONFIG), SETTINGS.model_copy(update={"parallel": how})
    train(model, counting(stop), settings, directory, SilentProgress(), Watch(10, look), "counting", processes=among)
    return model


# What both processes do, each job's result written down by each.


def continued(folder: Path, among: Several) -> Any:
    """Take up what one process left, until the second process is asked to stop."""
    said = []
    for how in WAYS:
        try:
            run(folder / f"passed-on-{how}", how, among, SECOND_STOP if among.rank == 1 else None)
        except Terminated:
            said.append([path.name for path in checkpoints(folder / f"passed-on-{how}" / "checkpoints")])
    return said


def fresh(folder: Path, among: Several) -> Any:
    """Train from the first step to the last; the sum of all weights at the end."""
    return [float(nn.utils.parameters_to_vector(run(folder / how, how, among).parameters()).sum()) for how in WHOLE_WAY]


def muon(folder: Path, among: Several) -> Any:
    """How far Muon on divided matrices is from Muon on whole ones, at most."""
    mesh = init_device_mesh("cpu", (among.world,))
    torch.manual_seed(0)
    # Odd numbers of rows, three of a shape, fewer of a shape than processes, fewer rows than processes.
    shapes = {"a": (7, 5), "b": (7, 5), "c": (7, 5), "d": (5, 9), "e": (1, 4), "f": (6, 6), "g": (7, 5), "h": (7, 6)}
    axes = {name: [Shard(1 if name in "gh" else 0)] for name in shapes}
    alone = {name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}
    divided = {name: nn.Parameter(distribute_tensor(w.detach().clone(), mesh, axes[name])) for name, w in alone.items()}
    optimizers = [StackedMuon(weights, weight_decay=0.1) for weights in (alone, divided)]
    for _ in range(4):
        for name, weight in alone.items():
            weight.grad = torch.randn_like(weight)
            divided[name].grad = distribute_tensor(weight.grad.clone(), mesh, axes[name])
        for optimizer in optimizers:
            optimizer.step(0.05)
    states = [optimizer.state_dict() for optimizer in optimizers]
    return max(
        *(float((whole(divided[name].detach()) - weight.detach()).abs().max()) for name, weight in alone.items()),
        *(float((whole(states[1][name]) - states[0][name]).abs().max()) for name in shapes),
    )


def gradients(folder: Path, among: Several) -> Any:
    """How far the gradients of divided models of several kinds are from those of whole ones, at most, by kind."""
    tokens = torch.randint(0, 50, (4, 12), generator=torch.Generator().manual_seed(1))
    learned = torch.arange(48).view(4, 12) % 5 > 0
    learned[2:] = False  # the second process has nothing to learn
    plain = {"tokens": tokens, "targets": tokens.roll(-1, 1), "learned": learned}
    expert = Experts(n=3, per_token=1, d_mlp=24)
    kinds: dict[str, tuple[ModelConfig, Objective, Batch]] = {
        "tied": (CONFIG, LANGUAGE, plain),
        "experts": (changed(experts=expert, expert_layers=(1,), tied_embeddings=False), LANGUAGE, plain),
        "masked": (changed(kind="encoder", head="masked", family="bert", positions="learned"), LANGUAGE, plain),
        "both ways": (
            changed(kind="encoder-decoder", n_encoder_layers=1, positions="relative", family="t5"),
            SequenceToSequence(),
            plain | {"source": tokens.flip(1)},
        ),
    }
    worst: dict[str, float] = {}
    for kind, (config, objective, batch) in kinds.items():
        reference = model_of(config)
        alone = step_of(reference, objective, Alone(), torch.float32)
        outcome = alone.gradient(batch)
        for how in WAYS:
            if how == "tensor" and kind == "both ways":
                continue  # relative positions bias each head's scores
            model, summed, sharing = parallelise(copy.deepcopy(reference), objective, how, torch.float32, among)
            shared = step_of(model, summed, sharing, torch.float32).gradient(batch)
            divided = [is_divided(weight) for weight in model.parameters()]
            assert {"replicate": not any(divided), "shard": all(divided), "tensor": any(divided)}[how]
            worst[f"{kind} {how}"] = max(
                abs(shared.loss - outcome.loss),
                abs(shared.norm - outcome.norm),
                *(furthest(*pair) for pair in zip(model.parameters(), reference.parameters(), strict=True)),
            )
    return worst


def changed(**choices: Any) -> ModelConfig:
    return ModelConfig(**{**vars(CONFIG), **choices})


def step_of(model: nn.Module, objective: Objective, among: Alone, dtype: torch.dtype) -> TrainStep:
    optimizer = Optimizer(model, OptimizerSettings())
    return TrainStep(model, objective, optimizer, compiled=False, dtype=dtype, clip=1e9, micro_rows=1, processes=among)


def furthest(mine: Tensor, reference: Tensor) -> float:
    if reference.grad is None:
        assert mine.grad is None
        return 0.0
    assert mine.grad is not None
    return float((whole(mine.grad) - reference.grad).abs().max())


def half_precision(folder: Path, among: Several) -> Any:
    """Loss and gradient norm with products in bfloat16: of one process, and of two that share or divide the weights."""
    batch, outcomes = counting().rows.batch(0, 4), []
    for how, group in (("replicate", Alone()), *((how, among) for how in WAYS)):
        model, summed, sharing = parallelise(model_of(CONFIG), LANGUAGE, how, torch.bfloat16, group)
        outcome = step_of(model, summed, sharing, torch.bfloat16).gradient(batch)
        outcomes.append((outcome.loss, outcome.norm))
    return outcomes


def refused(folder: Path, among: Several) -> Any:
    """What is said of rows and of heads that cannot be shared, and of a damaged part of a checkpoint."""
    said: list[str] = []
    for model in (model_of(changed(n_kv_heads=1)), model_of(changed(positions="alibi"))):
        with pytest.raises(BadInput) as caught:
            parallelise(model, LANGUAGE, "tensor", torch.float32, among)
        said.append(str(caught.value))
    with pytest.raises(BadInput) as caught:
        among.rows({"tokens": torch.zeros(9, 2)})
    said.append(str(caught.value))
    part = checkpoints(folder / "shard" / "checkpoints")[-1] / "shard-00002-model-00001-of-00001.safetensors"
    for harm in (flip_a_byte, Path.unlink):
        among.barrier()
        if among.is_first:
            harm(part)
        among.barrier()
        with pytest.raises(BadInput) as caught:
            run(folder / "shard", "shard", among)
        said.append(str(caught.value))
    return said


def flip_a_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


JOBS = (continued, fresh, muon, gradients, half_precision, refused)


def main(folder: Path) -> None:
    among = processes()
    assert isinstance(among, Several)
    for job in JOBS:
        result = job(folder, among)
        (folder / f"{job.__name__}-{among.rank}.json").write_text(json.dumps(result))


# What is expected of them.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one process ran alone, two went on with what one had left, and one went on with what two had left."""
    folder = tmp_path_factory.mktemp("two")
    run(folder / "alone", "replicate", Alone())
    with pytest.raises(Terminated):
        run(folder / "passed-on-replicate", "replicate", Alone(), FIRST_STOP)
    for how in WAYS[1:]:
        shutil.copytree(folder / "passed-on-replicate", folder / f"passed-on-{how}")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*torchrun, __file__, str(folder)], check=True, env=environment, timeout=800)
    for how in WAYS:
        run(folder / f"passed-on-{how}", how, Alone())
    return folder


def results(folder: Path, job: str) -> list[Any]:
    """What each process said of a job."""
    return [json.loads((folder / f"{job}-{rank}.json").read_text()) for rank in (0, 1)]


def curve(directory: Path, key: str = "loss") -> list[float]:
    """A figure by step; every step must be there once, the figure wherever it is measured."""
    rows = MetricsLog.read(directory / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    return [row[key] for row in rows if key in row]


@pytest.mark.parametrize("how", WHOLE_WAY)
def test_two_processes_reach_the_loss_of_one(folder: Path, how: str) -> None:
    losses, looks = curve(folder / "alone"), curve(folder / "alone", "val_loss")
    assert losses[-1] < 2 < 3 < losses[0]
    assert curve(folder / how) == pytest.approx(losses, abs=1e-4)
    assert curve(folder / how, "val_loss") == pytest.approx(looks, abs=1e-4)
    assert len(looks) == 6


def test_every_process_ends_with_the_same_whole_model(folder: Path) -> None:
    first, second = results(folder, "fresh")
    assert first == second
    assert first[0] == pytest.approx(first[1], abs=1e-2)


@pytest.mark.parametrize("how", WAYS)
def test_one_then_two_then_one_process_go_the_way_of_one(folder: Path, how: str) -> None:
    assert curve(folder / f"passed-on-{how}") == pytest.approx(curve(folder / "alone"), abs=1e-4)
    looks = curve(folder / f"passed-on-{how}", "val_loss")
    assert looks == pytest.approx(curve(folder / "alone", "val_loss"), abs=1e-4)


def test_all_stop_at_one_step_when_one_is_asked_to(folder: Path) -> None:
    # The step that the signal came in is done, and is the newest checkpoint.
    expected = [f"step-{FIRST_STOP:06d}", f"step-{SECOND_STOP + 1:06d}"]
    assert results(folder, "continued") == [[expected] * len(WAYS)] * 2


def test_each_process_writes_what_it_holds(folder: Path) -> None:
    parts = [f"shard-{rank:05d}-model-00001-of-00001.safetensors" for rank in (1, 2)]
    wholes = [f"{part}.safetensors" for part in ("average", "model", "optimizer")]
    for how, files in zip(WAYS, (wholes, parts, parts), strict=True):
        left = folder / f"passed-on-{how}" / "checkpoints" / f"step-{SECOND_STOP + 1:06d}"
        assert sorted(path.name for path in left.iterdir()) == sorted(["position.json", *files])
        noted = json.loads((left / "position.json").read_text())
        assert noted["step"] == SECOND_STOP + 1
        assert sorted(noted["crc32"]) == files


def test_muon_on_divided_matrices_is_muon(folder: Path) -> None:
    for worst in results(folder, "muon"):
        assert worst < 1e-6


def test_gradients_are_those_of_one_process_whatever_the_model(folder: Path) -> None:
    for worst in results(folder, "gradients"):
        assert worst == pytest.approx(dict.fromkeys(worst, 0.0), abs=2e-6)
        assert len(worst) == 11


def test_products_in_bfloat16_lose_no_more_among_several(folder: Path) -> None:
    for alone, *shared in results(folder, "half_precision"):
        for outcome in shared:
            assert outcome == pytest.approx(alone, rel=1e-2)


def test_what_is_wrong_is_said_in_one_line_by_all(folder: Path) -> None:
    first, second = results(folder, "refused")
    assert first == second
    heads, positions, rows, flipped, gone = first
    assert "1 key and value heads cannot be divided by its products among 2 processes" in heads
    assert "positions that bias each head's scores cannot be divided" in positions
    assert "9 rows cannot be shared equally by 2 processes" in rows
    assert "shard-00002-model-00001-of-00001.safetensors: it is not as it was written" in flipped
    assert "shard-00002-model-00001-of-00001.safetensors: No such file" in gone
    assert not any("\n" in line for line in first)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
