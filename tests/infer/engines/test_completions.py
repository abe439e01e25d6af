"""`cutaway generate --engine` writes what our strategies write, told in the same form; engines are found by name."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cutaway.cli.main import run_command
from cutaway.infer import Completion, Decoding, LanguageModel, Sampling, Step
from cutaway.infer.beam import Beams
from cutaway.infer.contrastive import Contrast
from cutaway.infer.decoding import grammar_of
from cutaway.infer.engines import completions_by, engine_of, llama_context
from cutaway.infer.native import native_or_torch
from cutaway.runs import BadInput

OWN = engine_of("cutaway")


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(max_tokens=20, top=3),
        Decoding(Sampling(0.9, top_k=20, seed=3), 20),
        Decoding(Sampling(0.0, repetition_penalty=1.4), 20),
        Decoding(max_tokens=20, stops=["he", "\u65e5"]),
        Decoding(max_tokens=20, grammar=grammar_of(None, "[a-d]{3,9}", None)),
        Decoding(max_tokens=500),
    ],
)
def test_completions_are_those_of_our_strategies(lm: LanguageModel, decoding: Decoding) -> None:
    (expected,) = lm.complete("In the", decoding)
    *steps, completion = completions_by(OWN, lm, "In the", decoding)
    assert isinstance(completion, Completion)
    assert steps == completion.steps
    assert (completion.text, completion.finish) == (expected.text, expected.finish)
    assert [step.token for step in completion.steps] == [step.token for step in expected.steps]
    for step, other in zip(completion.steps, expected.steps, strict=True):
        assert step.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert [token for token, _ in step.alternatives] == [token for token, _ in other.alternatives]


def test_several_come_one_after_the_other(lm: LanguageModel) -> None:
    events = list(completions_by(OWN, lm, "In the", Decoding(Sampling(1.0, seed=1), 15, n=3)))
    steps: list[Step] = []
    texts: list[str] = []
    for event in events:
        if isinstance(event, Step):
            steps.append(event)
            continue
        assert steps == event.steps
        steps = []
        texts.append(event.text)
    assert texts == [lm.complete("In the", Decoding(Sampling(1.0, seed=seed), 15))[0].text for seed in (1, 2, 3)]


@pytest.mark.parametrize(
    "settings",
    [{"beams": Beams(3)}, {"contrast": Contrast(0.5)}, {"lookup": True}, {"draft": "a model"}],
)
def test_what_needs_our_own_engine(lm: LanguageModel, settings: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="needs our own engine; leave out --engine"):
        next(completions_by(OWN, lm, "In the", Decoding(**settings)))


def test_what_goes_wrong_is_raised(lm: LanguageModel) -> None:
    def fail(*_: Any) -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(completions_by(OWN, lm, [1, 2], Decoding(max_tokens=50, stop_ids=range(300)), fail))
    with pytest.raises(BadInput, match="does not fit into the model's context"):
        list(completions_by(OWN, lm, [1] * 500, Decoding()))


@pytest.fixture
def no_llama(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    llama_context.library.cache_clear()
    yield
    llama_context.library.cache_clear()


@pytest.mark.usefixtures("no_llama")
def test_what_is_not_installed_is_one_line(
    lm: LanguageModel, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    for name, package in (("llama.cpp", "llama-cpp-python"), ("vllm", "vllm")):
        for command in (["generate", lm.name, "In the"], ["serve", lm.name]):
            assert run_command([*command, "--engine", name]) == 2
            out, err = capsys.readouterr()
            assert out == ""
            assert err.count("\n") == 1
            assert f"--engine {name} needs" in err
            assert f"pip install {package}" in err
    assert run_command(["generate", lm.name, "In the", "--engine", "other"]) == 2


def test_generate_with_another_engine(vllm: Any, lm: LanguageModel, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", lm.name, "In the", "--max-tokens", "20", "--json"]
    told: list[Any] = []
    for engine in ("cutaway", "vllm"):
        for more in ([], ["--chat"], ["--n", "2", "--temperature", "1", "--seed", "1"]):
            assert run_command([*arguments, *more, "--engine", engine]) == 0
            told.append(json.loads(capsys.readouterr().out))
    for ours, theirs in zip(told[:2], told[3:5], strict=True):
        assert theirs["text"] == ours["text"]
        assert [token["id"] for token in theirs["tokens"]] == [token["id"] for token in ours["tokens"]]
    assert len(told[5]["completions"]) == 2
    assert vllm.stopped
    assert run_command([*arguments, "--engine", "vllm", "--beams", "3"]) == 2
    assert "beam search needs our own engine" in capsys.readouterr().err


def test_our_own_engine_keeps_the_weights_asked_for(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "cutaway.infer.engines.choice.native_or_torch",
        lambda *, weights: asked.append(weights) or native_or_torch(weights=weights),
    )
    for weights in (None, "int8"):
        engine_of("cutaway", weights)(lm, most_rows=1, waiting=0).close()
    assert asked == ["float32", "int8"]
