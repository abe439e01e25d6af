"""Distillation against its formula, its gradient in closed form, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cutaway.model import ModelConfig, Taps, Transformer
from cutaway.runs import BadInput
from cutaway.train.cost import flops_per_token
from cutaway.train.loop import set_dropout
from cutaway.train.objectives import Batch
from cutaway.train.objectives.distillation import Distillation
from cutaway.train.optimizer import Optimizer, OptimizerSettings
from cutaway.train.step import TrainStep

STUDENT = ModelConfig(vocab_size=23, n_layers=1, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=64, context=32)
TEACHER = ModelConfig(vocab_size=23, n_layers=2, d_model=48, n_heads=3, n_kv_heads=1, d_head=16, d_mlp=96, context=32)
T, ALPHA = 2.5, 0.7


def made(config: ModelConfig, seed: int, spread: float = 0.15) -> Transformer:
    """A model with opinions."""
    torch.manual_seed(seed)
    model = Transformer(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=spread)
    return model


def batch(rows: int, seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 23, (rows, 13), generator=draw)
    learned = torch.rand(rows, 12, generator=draw) < 0.6
    return {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "learned": learned}


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def numbers(x: torch.Tensor) -> np.ndarray:
    return x.detach().double().numpy()


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    """∂/∂z of T² KL is T (softmax(z/T) − softmax(v/T)): Hinton et al. (2015), eq. 2 times T²."""
    student, teacher, some = made(STUDENT, 1), made(TEACHER, 2), batch(3)
    objective = Distillation(teacher, STUDENT, temperature=T, alpha=ALPHA)
    gradients: list[torch.Tensor] = []
    tap = Taps(backward={"unembed.hook_out": [gradients.append]})
    loss = objective.total(student, objective.ready(some), tap)
    loss.backward()

    learned = some["learned"]
    z, v = numbers(student(some["tokens"])[learned]), numbers(teacher(some["tokens"])[learned])
    p, q, hard = softmax(v / T), softmax(z / T), softmax(z)
    onehot = np.eye(23)[some["targets"][learned].numpy()]
    divergence = (p * (np.log(p) - np.log(q))).sum()
    expected = ALPHA * T**2 * divergence - (1 - ALPHA) * (onehot * np.log(hard)).sum()
    assert divergence > 1
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    gradient = ALPHA * T * (q - p) + (1 - ALPHA) * (hard - onehot)
    np.testing.assert_allclose(numbers(gradients[0]), gradient, atol=2e-6)
    assert all(weight.grad is None for weight in teacher.parameters())


def test_a_teacher_of_ones_own_mind_teaches_nothing() -> None:
    student, teacher = made(STUDENT, 1), made(STUDENT, 1)
    objective = Distillation(teacher, STUDENT, temperature=T, alpha=1.0)
    loss = objective.total(student, objective.ready(batch(3)))
    loss.backward()
    assert abs(loss.item()) < 1e-4
    assert max(float(weight.grad.abs().max()) for weight in student.parameters() if weight.grad is not None) < 1e-5


def test_the_teacher_drops_nothing_out() -> None:
    student, teacher = made(STUDENT, 1).eval(), made(TEACHER, 2)
    set_dropout(teacher, 0.5)
    objective = Distillation(teacher.train(), STUDENT)
    ready = objective.ready(batch(3))
    assert torch.equal(objective.total(student, ready), objective.total(student, ready))


def test_it_sums_over_learned_tokens_however_a_batch_is_divided() -> None:
    student, whole = made(STUDENT, 1), batch(4)
    objective = Distillation(made(TEACHER, 2), STUDENT)
    assert objective.count(whole) == int(whole["learned"].sum()) > 0
    parts = [{key: values[rows] for key, values in whole.items()} for rows in (slice(0, 1), slice(1, 4))]
    total = sum(objective.total(student, objective.ready(part)).item() for part in parts)
    assert objective.total(student, objective.ready(whole)).item() == pytest.approx(total, rel=1e-5)
    nothing = batch(2) | {"learned": torch.zeros(2, 12, dtype=torch.bool)}
    assert objective.total(student, objective.ready(nothing)).item() == 0


def test_its_cost_is_a_step_of_the_student_and_a_reading_by_the_teacher() -> None:
    objective = Distillation(made(TEACHER, 2), STUDENT)
    some = batch(2) | {"learned": torch.ones(2, 12, dtype=torch.bool)}
    expected = 24 * (flops_per_token(STUDENT, 12) + flops_per_token(TEACHER, 12) / 3)
    assert objective.flops(made(STUDENT, 1), some) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 24}, "24 tokens and the student's 23"),
        ({"kind": "encoder"}, "kind encoder and the student decoder"),
    ],
)
def test_a_teacher_that_cannot_teach_this_student_is_refused(change: dict[str, object], message: str) -> None:
    teacher = Transformer(ModelConfig(**{**vars(TEACHER), **change}))
    with pytest.raises(BadInput, match=message):
        Distillation(teacher, STUDENT)


def test_rows_beyond_the_teachers_context_are_refused() -> None:
    short = ModelConfig(**{**vars(TEACHER), "context": 8})
    with pytest.raises(BadInput, match="rows of 12 tokens are longer than the teacher's context of 8"):
        Distillation(made(short, 2), STUDENT).ready(batch(2))


def test_soft_labels_teach_more_than_hard_ones() -> None:
    """From the same start, for as many steps, on the same 32 texts of the teacher's, which are soon known by heart."""
    teacher = made(TEACHER, 2).eval()
    texts = [written(teacher, rows=8, seed=seed) for seed in range(4)]
    unseen = written(teacher, rows=64, seed=1000)
    soft, hard = (apart_after(teacher, texts, unseen, alpha) for alpha in (1.0, 0.0))
    start = divergence(teacher, made(STUDENT, 1), unseen)
    assert soft < 0.6 * start
    assert soft < 0.5 * hard


def written(teacher: Transformer, rows: int, seed: int) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 23, (rows, 1), generator=draw)
    with torch.no_grad():
        for _ in range(12):
            chances = teacher(tokens)[:, -1].softmax(-1)
            tokens = torch.cat([tokens, torch.multinomial(chances, 1, generator=draw)], 1)
    return {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "learned": torch.ones(rows, 12, dtype=torch.bool)}


def apart_after(teacher: Transformer, texts: list[Batch], unseen: Batch, alpha: float) -> float:
    student = made(STUDENT, 1)
    objective = Distillation(teacher, STUDENT, temperature=1.0, alpha=alpha)
    optimizer = Optimizer(student, OptimizerSettings(kind="adamw"))
    step = TrainStep(student, objective, optimizer, compiled=False, dtype=torch.float32)
    for some in texts * 15:
        step(some, scale=1.0)
    return divergence(teacher, student, unseen)


def divergence(teacher: Transformer, student: Transformer, unseen: Batch) -> float:
    """Mean of KL(teacher ‖ student) over tokens, in nats."""
    with torch.no_grad():
        v, z = numbers(teacher(unseen["tokens"])), numbers(student.eval()(unseen["tokens"]))
    p = softmax(v)
    return float((p * (np.log(p) - np.log(softmax(z)))).sum(-1).mean())
