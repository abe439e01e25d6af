"""What references give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cutaway.runs.errors import BadInput
from cutaway.serve import offers as module
from cutaway.serve.offers import Lazy, offers, with_finished


def make_run(path: Path, *stages: str) -> Path:
    for stage in stages:
        (path / stage / "model").mkdir(parents=True)
        (path / stage / "model" / "config.json").write_text("{}")
    return path


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    refs: list[str] = []

    real = module.load

    def load(ref: str) -> Any:
        if "smollm2" not in ref and "demo" not in ref:
            return real(ref)
        refs.append(ref)
        return object()

    monkeypatch.setattr(module, "load", load)
    return refs


def test_a_run_offers_its_finished_stages_and_loads_each_once_when_asked(tmp_path: Path, loaded: list[str]) -> None:
    run = make_run(tmp_path / "demo", "pretrain", "sft")
    offered = offers([str(run)])
    assert [offer.name for offer in offered] == ["demo", "demo:pretrain", "demo:sft"]
    assert loaded == []
    assert offered[0].load() is offered[2].load()
    assert loaded == [f"{run}:sft"]


def test_one_stage_of_a_run(tmp_path: Path, loaded: list[str]) -> None:
    run = make_run(tmp_path / "demo", "pretrain")
    assert [offer.name for offer in offers([f"{run}:pretrain"])] == ["demo:pretrain"]


def test_a_model_directory(tmp_path: Path, loaded: list[str]) -> None:
    offered = offers([str(tmp_path / "models" / "smollm2") + "/"])
    assert [(offer.name, offer.stage) for offer in offered] == [("smollm2", None)]


def test_a_run_that_goes_on(tmp_path: Path, loaded: list[str]) -> None:
    first, last = make_run(tmp_path / "first", "pretrain"), make_run(tmp_path / "last", "pretrain")
    before = offers([str(first), str(last)])
    new = tmp_path / "new"
    assert with_finished(before, new) == tuple(before)  # there is nothing of it yet
    make_run(new, "pretrain")
    assert [offer.name for offer in with_finished(before, new)] == [
        "first", "first:pretrain", "last", "last:pretrain", "new", "new:pretrain",
    ]  # fmt: skip
    make_run(first, "sft")
    after = with_finished(before, first)
    assert [offer.name for offer in after] == ["first", "first:pretrain", "first:sft", "last", "last:pretrain"]
    assert after[1] is before[1]  # whose weights may be in memory
    assert after[0].load is after[2].load
    assert after[0].stage == "sft"
    assert with_finished(after, first) == after
    # Another run of a name that is taken is not offered.
    assert with_finished(before, make_run(tmp_path / "b" / "first", "pretrain")) == tuple(before)


def test_what_cannot_be_served(tmp_path: Path, loaded: list[str]) -> None:
    run = make_run(tmp_path / "b" / "demo", "pretrain")
    (tmp_path / "a").mkdir()
    with pytest.raises(BadInput, match="no finished model"):
        offers([str(tmp_path / "a")])
    with pytest.raises(BadInput, match="two models would be called"):
        offers([str(run), f"{run}/../demo"])
    with pytest.raises(BadInput, match="there is no model at absent"):
        offers(["absent"])
    with pytest.raises(BadInput, match="no model to serve"):
        offers([])


def test_lazy_loads_once_over_threads_and_again_after_a_failure() -> None:
    calls: list[int] = []

    def load() -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise BadInput("not yet")
        return object()

    lazy = Lazy(load)
    with pytest.raises(BadInput):
        lazy()
    assert lazy() is lazy()
    assert len(calls) == 2
