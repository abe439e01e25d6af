"""Beam search against `transformers`': the same model, tokens and scores; and against trying everything."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo

from cutaway.infer import Beams, Session
from cutaway.infer.beam import beam_search
from cutaway.model import ModelConfig, Transformer, load_model, save_model
from cutaway.runs import BadInput, CutawayError

transformers = pytest.importorskip("transformers")

V = 61


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(3)
    model = Transformer(ModelConfig(V, 2, 32, 2, 1, 16, 64, context=64))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def theirs(model: Transformer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("model")
    save_model(model, directory, token_ids={"bos_token_id": 0, "eos_token_id": [0]})
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)


def compare(found: Any, out: Any, start: int) -> None:
    """Their sequences are filled up at the end."""
    assert len(found) == len(out.sequences)
    for (score, hypothesis), sequence, wanted in zip(found, out.sequences, out.sequences_scores, strict=True):
        ids = [each.token for each in hypothesis.path()]
        assert sequence[start : start + len(ids)].tolist() == ids
        assert score == pytest.approx(float(wanted), rel=1e-4)
        assert hypothesis.total == pytest.approx(sum(each.logprob for each in hypothesis.path()), rel=1e-4)


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 1.0, 2.5])
@pytest.mark.parametrize(("width", "stops"), [(2, 1), (4, 3), (7, 6)])
def test_sequences_and_scores_equal_those_of_transformers(
    model: Transformer, theirs: Any, width: int, stops: int, length_penalty: float, early_stopping: Any
) -> None:
    for i in range(3):
        prompt = [(11 * i + 5 * j + 7) % V for j in range(1 + 3 * i)]
        stop_ids = list(range(9, 9 + stops))
        out = theirs.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=14,
                do_sample=False, num_beams=width, num_return_sequences=width,
            length_penalty=length_penalty, early_stopping=early_stopping, eos_token_id=stop_ids, pad_token_id=60,
            return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        session = Session(model)
        session.read(prompt)
        beams = Beams(width, length_penalty, early_stopping)
        compare(beam_search(session, beams, max_tokens=14, stop_ids=stop_ids), out, len(prompt))


def test_some_searches_end_early_and_some_by_length(model: Transformer) -> None:
    """Otherwise the comparison above would show little."""
    lengths = set()
    for i in range(8):
        session = Session(model)
        session.read([(11 * i + 7) % V])
        for _, hypothesis in beam_search(session, Beams(4), max_tokens=14, stop_ids=range(9, 15)):
            lengths.add((len(hypothesis.path()), hypothesis.token in range(9, 15)))
    assert any(length < 14 and ended for length, ended in lengths)
    assert any(length == 14 and not ended for length, ended in lengths)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_an_encoder_decoder_searches_the_same(tmp_path: Path, name: str) -> None:
    other = zoo.build(name)
    other.generation_config.eos_token_id = None
    other.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    start = other.config.decoder_start_token_id
    for source in ([10, 11, 12], [5, 6, 7, 8, 9, 150, 151]):
        out = other.generate(
            torch.tensor([source]), attention_mask=torch.ones(1, len(source), dtype=torch.long), max_new_tokens=9,
            do_sample=False, num_beams=3, num_return_sequences=3, return_dict_in_generate=True, output_scores=True,
            eos_token_id=[20, 21, 22, 23, 24], pad_token_id=0, forced_eos_token_id=None, use_cache=False,
        )  # fmt: skip
        session = Session(ours, source)
        session.read([start])
        compare(beam_search(session, Beams(3), max_tokens=9, stop_ids=range(20, 25)), out, 1)


def test_enough_beams_find_the_very_best() -> None:
    torch.manual_seed(0)
    config = ModelConfig(5, 1, 16, 2, 1, 8, 16, context=16)
    model = Transformer(config).eval().requires_grad_(False)
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight) * 0.5)
    stop, length, prompt = 0, 4, [3, 1]
    everything: dict[tuple[int, ...], float] = {}
    for ids in itertools.product(range(5), repeat=length):
        whole = ids[: ids.index(stop) + 1] if stop in ids else ids
        logprobs = model(torch.tensor([[*prompt, *whole]])).log_softmax(-1)[0]
        everything[whole] = sum(float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(whole))
    session = Session(model)
    session.read(prompt)
    found = beam_search(session, Beams(256, 0.0, "never"), max_tokens=length, stop_ids=[stop])
    best = sorted(everything.items(), key=lambda item: -item[1])
    assert math.isclose(sum(math.exp(total) for total in everything.values()), 1, abs_tol=1e-4)
    for (score, hypothesis), (ids, total) in zip(found[:50], best[:50], strict=True):
        assert tuple(each.token for each in hypothesis.path()) == ids
        assert score == pytest.approx(total, abs=1e-4)


def test_alternatives_are_the_likeliest_in_their_place(model: Transformer) -> None:
    session = Session(model)
    session.read([5, 6])
    _, best = beam_search(session, Beams(3), max_tokens=6, stop_ids=[], top=4)[0]
    ids = [each.token for each in best.path()]
    shares = model(torch.tensor([[5, 6, *ids]])).softmax(-1)[0]
    for place, each in enumerate(best.path()):
        wanted = shares[1 + place].topk(4)
        assert [token for token, _ in each.alternatives] == wanted.indices.tolist()
        assert [p for _, p in each.alternatives] == pytest.approx(wanted.values.tolist(), abs=1e-5)
        assert each.logprob == pytest.approx(float(shares[1 + place, each.token].log()), abs=1e-4)


def test_the_context_bounds_the_search(model: Transformer) -> None:
    session = Session(model)
    session.read([5] * 61)
    assert all(len(each.path()) == 3 for _, each in beam_search(session, Beams(3), max_tokens=50, stop_ids=[]))
    full = Session(model)
    full.read([5] * 64)
    assert beam_search(full, Beams(3), max_tokens=50, stop_ids=[]) == []


def test_a_damaged_model_has_no_beams(model: Transformer) -> None:
    session = Session(model)
    session.read([5])
    session.logits = torch.full_like(session.logits, torch.nan)
    with pytest.raises(CutawayError, match="no token a probability"):
        beam_search(session, Beams(2), max_tokens=3, stop_ids=[])


@pytest.mark.parametrize(
    "wrong",
    [{"width": 0}, {"width": 257}, {"width": 2, "length_penalty": math.nan}, {"width": 2, "early_stopping": "soon"}],
    ids=str,
)
def test_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="must"):
        Beams(**wrong)
