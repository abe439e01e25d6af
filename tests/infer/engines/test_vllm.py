"""vLLM, of which there is a stand-in here, is asked for what a request says, and its answers are told as ours are."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from cutaway.infer import Busy, Closed, Ended, Engine, Interjection, LanguageModel, Noted, PromptRead, Request, Written
from cutaway.infer.constrained import Constraint, Grammar
from cutaway.infer.engines import engine_of, vllm_library
from cutaway.infer.engines.vllm import VllmEngine
from cutaway.infer.sampling import Sampling
from cutaway.model.taps import Taps
from cutaway.runs import BadInput, CutawayError

PROMPT = [3, 40, 41, 42, 43, 44, 45]


@pytest.fixture
def engine(vllm: Any, lm: LanguageModel) -> Iterator[VllmEngine]:
    made = VllmEngine(lm, most_rows=4, waiting=2)
    yield made
    made.close()
    assert vllm.stopped
    assert not made.thread.is_alive()


def plainly(events: Sequence[Any], near: Callable[[float], Any] = float) -> list[Any]:
    """Events as plain values; `near` makes what a number is compared with."""
    found: list[Any] = []
    for event in events:
        steps = event.steps if isinstance(event, PromptRead) else [event.step] if isinstance(event, Written) else []
        numbers = [
            (step.token, step.text, step.forced, near(step.logprob), [(id_, near(p)) for id_, p in step.alternatives])
            for step in steps
        ]
        index = getattr(event, "index", None)
        rest = (event.reason, event.written, event.tail) if isinstance(event, Ended) else getattr(event, "note", None)
        found.append((type(event), index, numbers, rest))
    return found


def about(number: float) -> Any:
    """The same, but for the order in which it was added up."""
    return pytest.approx(number, abs=1e-4)


def stop_of(lm: LanguageModel, at: int) -> tuple[int, str]:
    """The token that stands there in the likeliest text, and two letters about it."""
    with Engine(lm) as own:
        steps = [event.step for event in own.submit(Request(PROMPT, 40)) if isinstance(event, Written)]
    text = "".join(step.text for step in steps)
    return steps[at].token, text[at : at + 2]


def test_events_are_those_of_our_engine(engine: VllmEngine, lm: LanguageModel) -> None:
    token, text = stop_of(lm, 9)
    for request in (
        Request(PROMPT, 40),
        Request(PROMPT, 20, alternatives=5, prompt_steps=True),
        Request(PROMPT, 0, alternatives=2, prompt_steps=True),
        Request(PROMPT[:1], 3, prompt_steps=True),
        Request(PROMPT, 0),
        Request(PROMPT, 40, stop_ids={token}),
        Request(PROMPT, 40, stops=[text, "never there"]),
        Request(PROMPT, 500),
        Request(PROMPT * 18, 20),
        Request([1] * 128, 5),
        Request(PROMPT, 20, Sampling(0.0, logit_bias={9: 100.0})),
    ):
        with Engine(lm) as own:
            expected = list(own.submit(request))
        assert plainly(list(engine.submit(request))) == plainly(expected, about)


def test_several_completions_are_asked_for_one_by_one(engine: VllmEngine, vllm: Any) -> None:
    events = list(engine.submit(Request(PROMPT, 5, Sampling(0.7, seed=2**63 - 2), n=3)))
    assert sorted(event.index for event in events if isinstance(event, Ended)) == [0, 1, 2]
    assert sorted(request.params.seed for request in vllm.requests) == [0, 2**63 - 2, 2**63 - 1]
    assert len({request.id for request in vllm.requests}) == 3


def test_what_is_asked_for(engine: VllmEngine, vllm: Any, lm: LanguageModel) -> None:
    sampling = Sampling(0.7, 0.9, 40, 5, 0.1, 1.0, 1.2, 0.5, -0.5, {7: 3.0})
    list(engine.submit(Request(PROMPT, 9, sampling, stop_ids={2, 1}, alternatives=3, priority=2, among="alice")))
    (request,) = vllm.requests
    assert request.prompt == {"prompt_token_ids": PROMPT, "cache_salt": "alice"}
    assert request.priority == -2
    assert vars(request.params) == {
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "repetition_penalty": 1.2,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logit_bias": {7: 3.0},
        "seed": 5,
        "max_tokens": 9,
        "stop_token_ids": [1, 2],
        "ignore_eos": True,
        "logprobs": 3,
        "prompt_logprobs": None,
        "structured_outputs": None,
        "detokenize": False,
        "output_kind": "delta",
    }
    list(engine.submit(Request(PROMPT, 2, Sampling(0.7, top_p=0.0, top_k=3))))
    assert (vllm.requests[1].params.temperature, vllm.requests[1].params.top_p) == (0.0, 1.0)
    assert "cache_salt" not in vllm.requests[1].prompt
    arguments = vllm.arguments
    assert (arguments.model, arguments.dtype, arguments.max_model_len) == (lm.name, "auto", 128)
    assert (arguments.max_num_seqs, arguments.scheduling_policy) == (4, "priority")
    assert arguments.structured_outputs_config.backend == "guidance"


def test_what_it_cannot_do_is_one_line(engine: VllmEngine) -> None:
    for request, message in (
        (Request(PROMPT, 5, tap=Taps({})), "vLLM does not show what happens inside a model"),
        (Request(PROMPT, 5, Sampling(typical_p=0.5)), "vLLM has no typical_p; leave it out"),
        (Request(PROMPT, 5, Sampling(3.0)), "vLLM takes temperatures up to 2.0, not 3.0"),
        (Request([1] * 128, 0, prompt_steps=True), "this one fills the context of 128"),
        (Request(PROMPT, 5, constraint=lambda: Odd()), "vLLM cannot keep an answer to this form"),
        (Request([1] * 129, 5), "a prompt of 129 tokens does not fit into the model's context of 128"),
        (Request([1, 999], 5), "the prompt holds the token 999; the model's go from 0 to "),
        (Request(PROMPT, 5, n=7), "7 completions are asked for; the engine holds 6 at once"),
    ):
        with pytest.raises(BadInput, match=message):
            engine.submit(request)
    assert engine.load().running == engine.load().waiting == 0


class Odd:
    """A constraint that no grammar tells of."""

    finished = False

    def mask(self) -> None:
        return None

    def accept(self, token: int) -> None:
        pass


def test_who_leaves_is_let_go_of(engine: VllmEngine, vllm: Any) -> None:
    vllm.seconds_a_token = 0.01
    for event in engine.submit(Request(PROMPT, 100, n=2)):
        if isinstance(event, Written):
            break
    wait_until(lambda: len(vllm.aborted) == 2 and not engine.load().running)
    assert engine.load().waiting == 0
    assert engine.load().figures.ended["cancelled"] == 2


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_what_is_cancelled_before_it_begins_says_so(engine: VllmEngine, vllm: Any) -> None:
    blocked = threading.Event()
    engine.loop.call_soon_threadsafe(blocked.wait, 10)
    handle = engine.submit(Request(PROMPT, 5))
    handle.cancel()
    blocked.set()
    (ended,) = handle
    assert (ended.reason, ended.written) == ("cancelled", 0)
    assert not vllm.requests


def test_time_runs_out(engine: VllmEngine, vllm: Any) -> None:
    vllm.seconds_a_token = 0.02
    events = list(engine.submit(Request(PROMPT, 100, seconds=0.2)))
    assert events[-1].reason == "timed out"
    assert events[-1].written < 20
    assert len(vllm.aborted) == 1


def test_a_full_line_and_a_closed_engine(vllm: Any, lm: LanguageModel) -> None:
    vllm.seconds_a_token = 0.02
    engine = VllmEngine(lm, most_rows=2, waiting=1)
    handles = [engine.submit(Request(PROMPT, 50)) for _ in range(3)]
    with pytest.raises(Busy, match="all 3 places"):
        engine.submit(Request(PROMPT, 5))
    engine.close()
    assert [list(handle)[-1].reason for handle in handles] == ["cancelled"] * 3
    with pytest.raises(Closed):
        engine.submit(Request(PROMPT, 5))
    handles[0].cancel()
    engine.close()


@pytest.mark.parametrize("notes", [0, 1, 2])
def test_interjections_are_put_before_it_and_told(engine: VllmEngine, vllm: Any, lm: LanguageModel, notes: int) -> None:
    token, _ = stop_of(lm, 6)

    class Interjecting:
        def __init__(self) -> None:
            self.turns: list[list[int]] = []

        def __call__(self, index: int, turn: Sequence[int]) -> Interjection | None:
            self.turns.append(list(turn))
            return Interjection([5, 60, 61], "noted") if len(self.turns) <= notes else None

    theirs, ours = Interjecting(), Interjecting()
    told = list(engine.submit(Request(PROMPT, 60, stop_ids={token}, alternatives=2, interject=theirs)))
    with Engine(lm) as own:
        expected = list(own.submit(Request(PROMPT, 60, stop_ids={token}, alternatives=2, interject=ours)))
    assert plainly(told) == plainly(expected, about)
    assert theirs.turns == ours.turns
    assert sum(isinstance(event, Noted) for event in told) == min(notes, len(ours.turns))
    again = [request.params for request in vllm.requests[1:]]
    assert [params.prompt_logprobs for params in again] == [2] * len(again)


def test_what_comes_after_an_interjection_is_drawn_anew(engine: VllmEngine, vllm: Any, lm: LanguageModel) -> None:
    token, _ = stop_of(lm, 6)
    given = iter([Interjection([5, 60]), None])
    request = Request(PROMPT, 60, Sampling(0.5, seed=3), stop_ids={token}, interject=lambda *_: next(given))
    events = list(engine.submit(request))
    written = sum(isinstance(event, Written) and not event.step.forced for event in events)
    seeds = [request.params.seed for request in vllm.requests]
    assert seeds[0] == 3
    assert 3 < seeds[1] < 3 + written


def test_a_grammar_is_handed_on_and_ends_the_answer(engine: VllmEngine, vllm: Any, lm: LanguageModel) -> None:
    """The stand-in writes what it likes; ours sees whether it is of the form."""
    steps = [event.step for event in engine.submit(Request(PROMPT, 12)) if isinstance(event, Written)]
    ids = [step.token for step in steps][:6]

    class Told(Constraint):
        def __init__(self, grammar: Grammar) -> None:
            super().__init__(grammar, lm.tokenizer, lm.config.vocab_size)
            self.grammar = grammar
            self.accepted: list[int] = []

        def accept(self, token: int) -> None:
            self.accepted.append(token)

        @property
        def finished(self) -> bool:
            return len(self.accepted) == 6

    grammar = Grammar.json_object()
    made = Told(grammar)
    events = list(engine.submit(Request(PROMPT, 12, constraint=lambda: made)))
    assert made.accepted == ids
    assert events[-1].reason == "stop"
    assert vllm.requests[-1].params.structured_outputs.grammar == grammar.source
    # One that is not kept to is no valid answer.
    strict = Constraint(Grammar.regex("zzzz"), lm.tokenizer, lm.config.vocab_size)
    strict.__dict__["grammar"] = grammar
    assert list(engine.submit(Request(PROMPT, 12, constraint=strict.copy)))[-1].reason == "error"


def test_what_goes_wrong_ends_its_own_request(engine: VllmEngine, vllm: Any) -> None:
    for failing, kind, message in (
        (lambda: RuntimeError("secret"), CutawayError, "vLLM failed while it wrote; the log has the reason"),
        (lambda: ValueError("too\nlong"), BadInput, "vLLM refuses the request: too long"),
        (lambda: sys.modules["vllm.exceptions"].VLLMClientError("odd"), BadInput, "vLLM refuses the request: odd"),
    ):
        vllm.failing = failing
        ended = list(engine.submit(Request(PROMPT, 12)))[-1]
        assert (ended.reason, type(ended.error), str(ended.error)) == ("error", kind, message)
    vllm.failing = None
    assert list(engine.submit(Request(PROMPT, 12)))[-1].reason == "length"


def test_how_things_stand(engine: VllmEngine, vllm: Any) -> None:
    vllm.seconds_a_token = 0.01
    handle = engine.submit(Request(PROMPT * 5, 10, n=2))
    wait_until(lambda: engine.load().running == 2)
    assert engine.load().waiting == 0
    events = list(handle)
    load = engine.load()
    assert (load.running, load.waiting) == (0, 0)
    assert (load.tokens_asked, load.tokens_found) == (70, 4)
    assert (load.figures.read, load.figures.written) == (66, 20)
    assert load.figures.ended["length"] == 2
    assert [event.known for event in events if isinstance(event, Ended)] == [2, 2]


def test_where_it_cannot_be_had(vllm: Any, lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="vLLM is given weights in float32 or bfloat16, not int8"):
        engine_of("vllm", "int8")
    monkeypatch.delattr(sys.modules["vllm.sampling_params"], "StructuredOutputsParams")
    vllm_library.library.cache_clear()
    with pytest.raises(BadInput, match=r"too old, or too new .*StructuredOutputsParams"):
        engine_of("vllm")
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(BadInput, match=r"^--engine vllm needs vLLM: pip install vllm"):
        engine_of("vllm")


def test_it_does_not_start(vllm: Any, lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("no GPU\nat all")

    monkeypatch.setattr(sys.modules["vllm.v1.engine.async_llm"].AsyncLLM, "from_engine_args", broken)
    before = threading.active_count()
    with pytest.raises(CutawayError, match=r"vLLM does not start with .*: no GPU at all"):
        VllmEngine(lm)
    assert threading.active_count() == before


def test_probabilities_are_those_of_the_likeliest() -> None:
    class Entry:
        def __init__(self, share: float) -> None:
            self.logprob = math.log(share)

    place = {4: Entry(0.1), 7: Entry(0.5), 2: Entry(0.3)}
    logprob, alternatives = vllm_library.thought(place, 4, 2)
    assert logprob == pytest.approx(math.log(0.1))
    assert alternatives == [(7, pytest.approx(0.5)), (2, pytest.approx(0.3))]
