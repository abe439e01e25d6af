"""The engine: every operation beside torch and finite differences, the order of the graph, what adds up where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from cutaway.ladder.autograd import Tensor, cross_entropy
from cutaway.ladder.gradient_check import OPERATIONS, engine_gradients, finite_differences, measured_gradients, weighed
from cutaway.runs import BadInput


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_torchs_value_and_gradients(name: str) -> None:
    operation = OPERATIONS[name]
    inputs = operation.inputs(np.random.default_rng(1))
    theirs = [torch.tensor(x, requires_grad=True) for x in inputs]
    expected = operation.apply(*theirs)
    np.testing.assert_allclose(operation.apply(*map(Tensor, inputs)).data, expected.detach().numpy(), atol=1e-13)
    weighed(operation, theirs, torch.from_numpy).backward()
    for ours, tensor in zip(engine_gradients(operation, inputs), theirs, strict=True):
        np.testing.assert_allclose(ours, tensor.grad, atol=1e-12)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operations_gradients_are_those_of_finite_differences(name: str) -> None:
    operation = OPERATIONS[name]
    inputs = operation.inputs(np.random.default_rng(2))
    for ours, measured in zip(engine_gradients(operation, inputs), measured_gradients(operation, inputs), strict=True):
        np.testing.assert_allclose(ours, measured, rtol=1e-7, atol=1e-8)


def test_finite_differences_of_a_known_function() -> None:
    x = np.array([[0.3, -1.2], [2.0, 0.7]])
    found = finite_differences(lambda a: float((a**3).sum() + a[0, 0] * a[1, 1]), x)
    expected = 3 * x**2 + np.array([[0.7, 0], [0, 0.3]])
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_all_ways_from_a_number_to_the_result_add_up() -> None:
    a, b = Tensor(2.0), Tensor(-3.0)
    c = a * b
    d = c + a
    result = c * d + d  # c and d are both used twice, on ways of different lengths
    result.backward()
    # (ab)(ab + a) + ab + a = a²b² + a²b + ab + a
    assert a.gradient == 2 * 2 * 9 + 2 * 2 * -3 - 3 + 1
    assert b.gradient == 2 * 4 * -3 + 4 + 2
    assert d.gradient == -6 + 1


def test_gradients_are_those_of_the_last_backward_alone() -> None:
    x = Tensor([1.0, 2.0])
    (x * x).sum().backward()
    (3 * x).sum().backward()
    np.testing.assert_array_equal(x.gradient, [3, 3])


def test_what_the_result_did_not_come_from_has_no_part_in_it() -> None:
    x, other = Tensor([1.0, 2.0]), Tensor([5.0, 6.0])
    _ = other * x
    x.sum().backward()
    np.testing.assert_array_equal(other.gradient, [0, 0])


def test_an_array_to_the_left_of_a_tensor_leaves_the_operation_to_it() -> None:
    x = Tensor([[1.0, 2.0]])
    result = np.array([[3.0], [4.0]]) * x
    assert isinstance(result, Tensor)
    assert result.shape == (2, 2)
    result.sum().backward()
    np.testing.assert_array_equal(x.gradient, [[7, 7]])


def test_a_graph_may_be_deeper_than_functions_nest() -> None:
    x = Tensor(1.0)
    result = x
    for _ in range(20_000):
        result = result + 1
    result.backward()
    assert x.gradient == 1


@given(st.data())
def test_the_graph_is_in_topological_order(data: st.DataObject) -> None:
    tensors = [Tensor(1.0), Tensor(2.0)]
    for _ in range(data.draw(st.integers(1, 15))):
        i, j = (data.draw(st.integers(0, len(tensors) - 1)) for _ in range(2))
        tensors.append(tensors[i] + tensors[j])
    order = tensors[-1].graph()
    place = {id(tensor): i for i, tensor in enumerate(order)}
    assert len(place) == len(order)
    assert order[-1] is tensors[-1]
    for tensor in order:
        assert all(place[id(parent)] < place[id(tensor)] for parent in tensor.parents)


def test_cross_entropy_is_torchs_and_its_gradient_the_difference_from_one_hot() -> None:
    rng = np.random.default_rng(0)
    z, labels = rng.normal(0, 3, (5, 4)), np.array([0, 3, 3, 1, 2])
    logits = Tensor(z)
    loss = cross_entropy(logits, labels)
    loss.backward()
    assert loss.data == pytest.approx(F.cross_entropy(torch.from_numpy(z), torch.from_numpy(labels)).item(), abs=1e-12)
    expected = (torch.from_numpy(z).softmax(-1).numpy() - np.eye(4)[labels]) / 5
    np.testing.assert_allclose(logits.gradient, expected, atol=1e-12)


def test_neither_a_softmax_nor_a_sigmoid_overflows() -> None:
    x = Tensor([[-1000.0, 0.0, 1000.0]])
    with np.errstate(over="raise", invalid="raise"):
        result = x.log_softmax()[0, 0] + x.softmax().sum() + x.sigmoid().sum()
        result.backward()
    assert result.data == pytest.approx(-2000 + 1 + 1.5)
    assert np.isfinite(x.gradient).all()


def test_a_mask_of_minus_infinity_lets_nothing_through() -> None:
    x = Tensor([[1.0, 2.0, 3.0]])
    pattern = (x + np.array([0, 0, -np.inf])).softmax()
    (pattern * np.array([1.0, 2.0, 5.0])).sum().backward()
    assert pattern.data[0, 2] == 0
    assert x.gradient[0, 2] == 0
    assert x.gradient[0, 0] < 0 < x.gradient[0, 1]


def test_only_one_number_has_gradients() -> None:
    with pytest.raises(BadInput, match=r"shape \(2,\)"):
        Tensor([1.0, 2.0]).backward()


@pytest.mark.parametrize("labels", [[0], [0, -1], [0, 3]])
def test_labels_that_do_not_fit(labels: list[int]) -> None:
    with pytest.raises(BadInput, match="2 rows of logits need as many labels, each from 0 to 2"):
        cross_entropy(Tensor(np.zeros((2, 3))), np.array(labels))


def test_a_tensor_is_printed_with_its_value() -> None:
    assert repr(Tensor([1.0, 2.5], name="x")) == "Tensor(x: [1.  2.5])"
