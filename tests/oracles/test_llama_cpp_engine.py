"""Our engine with llama.cpp computing its steps writes what it writes alone, and serves as it does. `make oracles`."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gguf_zoo as zoo
import httpx
import pytest
import torch

from cutaway.infer import Ended, Engine, LanguageModel, PromptRead, Request, Written, load
from cutaway.infer.batching import Batching
from cutaway.infer.constrained import Constraint, Grammar
from cutaway.infer.decoding import Decoding
from cutaway.infer.engines import completions_by, engine_of
from cutaway.infer.engines.exported import gguf_of
from cutaway.infer.engines.llama_cpp import LlamaCppRunner, llama_cpp_engine
from cutaway.infer.pages import PAGE, Pages
from cutaway.infer.runner import Row, TorchRunner
from cutaway.infer.sampling import Sampling
from cutaway.model import load_model
from cutaway.model.catalogue import find
from cutaway.model.taps import Taps
from cutaway.runs import BadInput, CutawayError
from cutaway.serve import Limits, Offer, create_app
from cutaway.serve.launch import listen, server
from cutaway.tokens import TokenizerSettings, train_tokenizer

llama_cpp = pytest.importorskip("llama_cpp", reason="make oracles builds llama-cpp-python")

MODEL = "smollm2-135m"
TINY = Path(__file__).parents[3] / "shared/data/tiny-model/stories260K.bin"
PROMPTS = [
    "Once upon a time", "Lily and Tom went to the park", "The cat was sad because", "One day, a big dog", "She said",
    "There was a little boy who", "The sun was", "Mum gave him a red ball",
]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def stories() -> LanguageModel:
    if not TINY.exists():
        pytest.skip("the shared data is not beside this checkout")
    return load(TINY)


@pytest.fixture(scope="module")
def smollm() -> LanguageModel:
    if find(MODEL) is None:
        pytest.skip(f"the weights are not here; get them with `cutaway models get {MODEL}`")
    return load(MODEL)


def tokens_of(events: Sequence[Any], index: int = 0) -> list[int]:
    return [event.step.token for event in events if isinstance(event, Written) and event.index == index]


def together(engine: Engine, requests: Sequence[Request]) -> list[list[Any]]:
    """Every request's events, all running at once."""
    handles = [engine.submit(request) for request in requests]
    return [list(handle) for handle in handles]


def alone(lm: LanguageModel, prompt: Sequence[int], n: int) -> list[int]:
    return [step.token for step in lm.complete(prompt, Decoding(max_tokens=n))[0].steps]


def test_a_trained_model_writes_ours_to_the_token(stories: LanguageModel) -> None:
    prompts = [stories.tokenizer.document(prompt) for prompt in PROMPTS]
    with llama_cpp_engine(stories) as engine:
        for prompt, events in zip(prompts, together(engine, [Request(each, 100) for each in prompts]), strict=True):
            assert tokens_of(events) == alone(stories, prompt, 100)


@pytest.mark.timeout(600)
def test_smollm2_writes_ours_to_the_token(smollm: LanguageModel) -> None:
    prompts = [smollm.tokenizer.encode_chat([{"role": "user", "content": f"{each}? Go on."}]) for each in PROMPTS]
    with llama_cpp_engine(smollm, weights="float32") as engine:
        requests = [Request(each, 12, stop_ids=smollm.tokenizer.stop_ids) for each in prompts]
        for prompt, events in zip(prompts, together(engine, requests), strict=True):
            assert tokens_of(events) == alone(smollm, prompt, 12)


@pytest.mark.parametrize("name", zoo.names())
def test_every_family_runs(name: str, tmp_path: Path) -> None:
    """Small models with random weights, of which the logits are compared: their likeliest tokens are near ties."""
    zoo.build(name).save_pretrained(tmp_path / "hf")
    model = load_model(tmp_path / "hf")
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=zoo.V), PROMPTS * 3, tmp_path / "tokenizer")
    file = gguf_of(LanguageModel("nowhere", model, tokenizer))
    draw = random.Random(0)
    texts = [[draw.randrange(zoo.V) for _ in range(length)] for length in (3, 17, 40)]
    stores = [Pages(model.config, 20) for _ in range(2)]
    pages = [[1], [2, 3], [4, 5, 6]]
    runners = [TorchRunner(model, stores[0]), LlamaCppRunner(model, stores[1], file=file)]
    # All but the last two tokens at once, then those one by one.
    for piece in (slice(None, -2), slice(-2, -1), slice(-1, None)):
        rows = [
            Row(ids[piece], len(ids[: piece.start]) if piece.start else 0, own, every=piece.start is None)
            for ids, own in zip(texts, pages, strict=True)
        ]
        for ours, theirs in zip(*(runner.run(rows) for runner in runners), strict=True):
            assert ours.shape == theirs.shape
            # What llama.cpp looks up in tables of halves (GELU), or routes by near ties, is near but not the same.
            exact = model.config.activation == "silu" and not model.config.experts
            assert float((ours - theirs).abs().median()) < (1e-4 if exact else 0.05) * float(ours.std())


class Pool:
    """Prompts that begin alike, and how the model goes on from each as far as that is beyond rounding."""

    def __init__(self, lm: LanguageModel) -> None:
        draw, tokenizer = random.Random(0), lm.tokenizer
        whole = [tokenizer.document(prompt) for prompt in PROMPTS]
        whole = [ids + alone(lm, ids, 120) for ids in whole]
        self.known: list[tuple[list[int], list[int]]] = []
        for _ in range(24):
            ids = draw.choice(whole)
            prompt = [*ids[: draw.randint(1, 100)], *(draw.randrange(3, 400) for _ in range(draw.choice([0, 0, 5])))]
            self.known.append((prompt, self.surely(lm, prompt)))

    @torch.inference_mode()
    def surely(self, lm: LanguageModel, prompt: list[int]) -> list[int]:
        session, found = lm.begin(prompt)[0], list[int]()
        session.read(prompt)
        while session.room and len(found) < 60:
            best = session.logits[0].topk(2)
            if best.values[0] - best.values[1] < 1e-3:
                break
            found.append(int(best.indices[0]))
            session.read(found[-1:])
        return found


@pytest.mark.parametrize("sequences", [256, 5])
def test_random_mixes_give_each_request_what_it_gets_alone(
    stories: LanguageModel, sequences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, file = Pool(stories), gguf_of(stories)
    # With five sequences for four rows, what others could begin with is lost all the time.
    monkeypatch.setattr(llama_cpp, "llama_max_parallel_sequences", lambda: sequences)
    set_back = found = 0
    for seed in range(6):
        draw = random.Random(seed)
        batching = Batching(
            stories,
            Pages(stories.config, draw.choice([34, 40, 200])),
            runner=partial(LlamaCppRunner, file=file),
            most_rows=4,
            chunk=draw.choice([7, 64, 600]),
        )
        told: list[tuple[list[int], list[Any]]] = []
        for _ in range(4000):
            if len(told) < 24 and draw.random() < 0.2:
                prompt, expected = draw.choice(pool.known)
                expected = expected[: draw.choice([1, 10, 60])]
                request = Request(prompt, len(expected), priority=draw.choice([0, 0, 1]))
                told.append((expected, []))
                for completion in batching.completions(request, told[-1][1].append):
                    batching.add(completion)
            if draw.random() < 0.02 and batching.live:
                draw.choice(batching.live).cancelled = True
            if not batching.step() and len(told) == 24:
                break
        assert not batching.live
        for expected, events in told:
            end = next(event for event in events if isinstance(event, Ended))
            assert end.error is None
            assert end.reason in ("length", "cancelled")
            assert tokens_of(events) == (expected[: end.written] if end.reason == "cancelled" else expected)
        set_back += batching.scheduler.set_back_ever
        found += batching.prefixes.found
    assert found > 1000
    print(f"{sequences} sequences: {set_back} set back, {found} tokens found")


def test_seeds_settings_grammars_and_probabilities_are_ours(stories: LanguageModel) -> None:
    tokenizer, vocab = stories.tokenizer, stories.config.vocab_size
    constraint = Constraint(Grammar.regex(" (She|He) (saw|was) a [a-z]{3,8}\\."), tokenizer, vocab)
    prompt = tokenizer.document(PROMPTS[0])
    requests = [
        Request(prompt, 40, Sampling(0.9, seed=3), n=3),
        Request(prompt, 40, Sampling(1.2, top_p=0.9, min_p=0.02, repetition_penalty=1.2, seed=5), alternatives=4),
        Request(prompt, 40, Sampling(0.8, typical_p=0.5, frequency_penalty=0.5, logit_bias={9: 2.0}, seed=1)),
        Request(prompt, 20, constraint=constraint.copy),
        Request(prompt, 40, stops=["park", "day"]),
        Request(prompt, 3, alternatives=3, prompt_steps=True),
    ]
    with llama_cpp_engine(stories) as theirs, Engine(stories) as ours:
        for found, expected in zip(together(theirs, requests), together(ours, requests), strict=True):
            assert [type(event) for event in found] == [type(event) for event in expected]
            for one, other in zip(found, expected, strict=True):
                if isinstance(one, Ended):
                    # How much of the prompt another had computed already is a matter of time.
                    assert replace(one, known=0) == replace(other, known=0)
                    continue
                steps = zip(
                    *((event.steps if isinstance(event, PromptRead) else [event.step]) for event in (one, other)),
                    strict=True,
                )
                for step, same in steps:
                    assert (step.token, step.text) == (same.token, same.text)
                    assert step.logprob == pytest.approx(same.logprob, abs=2e-3)
                    for (token, share), (id_, p) in zip(step.alternatives, same.alternatives, strict=True):
                        assert share == pytest.approx(p, abs=1e-3)
                        assert token == id_ or share == pytest.approx(p, abs=1e-5)


def test_a_watched_request_goes_through_our_own_model(stories: LanguageModel) -> None:
    seen: list[torch.Size] = []

    def look(tensor: torch.Tensor) -> None:
        seen.append(tensor.shape)

    prompt = stories.tokenizer.document(PROMPTS[1])
    with llama_cpp_engine(stories) as engine:
        watched, plain = together(
            engine, [Request(prompt, 20, tap=Taps({"blocks.0.hook_resid_post": [look]})), Request(prompt, 20)]
        )
    assert tokens_of(watched) == tokens_of(plain) == alone(stories, prompt, 20)
    assert len(seen) == 20


def test_weights_of_fewer_bits(stories: LanguageModel) -> None:
    prompt = stories.tokenizer.document(PROMPTS[0])
    with llama_cpp_engine(stories, weights="int8") as engine:
        (events,) = together(engine, [Request(prompt, 20)])
    same = sum(a == b for a, b in zip(tokens_of(events), alone(stories, prompt, 20), strict=True))
    assert same >= 10


def test_a_file_that_is_given_is_used_as_it_is(smollm: LanguageModel, tmp_path: Path) -> None:
    """What `llama_cpp.Llama` writes from the same four-bit file."""
    assert gguf_of(smollm) == find(MODEL)
    ids = smollm.tokenizer.encode_chat([{"role": "user", "content": "What is the capital of France?"}])
    with llama_cpp_engine(smollm, most_rows=2, waiting=0) as engine:
        (events,) = together(engine, [Request(ids, 20)])
    theirs = llama_cpp.Llama(str(find(MODEL)), n_ctx=256, type_k=0, type_v=0, verbose=False)
    assert tokens_of(events) == list(itertools.islice(theirs.generate(ids, temp=0.0), 20))
    theirs.close()
    assert not (tmp_path / "cache/cutaway/exports").exists()


def test_what_cannot_be_opened_is_told(stories: LanguageModel, smollm: LanguageModel, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(gguf_of(stories).read_bytes()[:-1000])
    with pytest.raises(CutawayError, match=r"llama.cpp cannot open .*damaged.gguf \(.*\)"):
        LlamaCppRunner(stories.model, Pages(stories.config, 20), file=damaged)
    with pytest.raises(BadInput, match="is of a model with 49152 tokens, not 512"):
        LlamaCppRunner(stories.model, Pages(stories.config, 20), file=gguf_of(smollm))
    with pytest.raises(
        BadInput, match=r"llama\.cpp writes 255 answers at once at most, not 256; give a smaller --batch"
    ):
        llama_cpp_engine(stories, most_rows=256)


def test_a_step_that_fails_takes_nobody_with_it(stories: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [stories.tokenizer.document(prompt) for prompt in PROMPTS[:3]]
    with llama_cpp_engine(stories) as engine:
        runner: Any = engine._batching.runner
        decode, calls = runner.context.llama.llama_decode, iter(range(1000))
        # The tenth step fails once it is computed, so that what the sequences hold is more than anybody knows.
        monkeypatch.setattr(runner.context.llama, "llama_decode", lambda *a: decode(*a) or (next(calls) == 9) * -3)
        for prompt, events in zip(prompts, together(engine, [Request(each, 30) for each in prompts]), strict=True):
            assert tokens_of(events) == alone(stories, prompt, 30)
    assert next(calls) > 30


def test_generate_writes_the_same_text(stories: LanguageModel) -> None:
    make = engine_of("llama.cpp")
    for settings in (Sampling(0.0), Sampling(0.9, seed=4)):
        *_, found = completions_by(make, stories, PROMPTS[0], Decoding(settings, 60))
        assert found.text == stories.complete(PROMPTS[0], Decoding(settings, 60))[0].text


@pytest.fixture
def live(stories: LanguageModel) -> Iterator[Any]:
    """A server of the small model, and its service."""
    limits = Limits(answering=4, waiting=60, drain_seconds=1)
    app = create_app([Offer("demo", lambda: stories, "demo")], limits=limits, engine=engine_of("llama.cpp"))
    listener = listen("127.0.0.1", 0)
    running = server(app, limits)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.005)
    with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as http:
        yield http, app.state.service
    running.should_exit = True
    thread.join(20)


def test_eight_clients_at_once_get_their_own_texts(live: Any, stories: LanguageModel) -> None:
    http, service = live
    found: dict[int, str] = {}

    def ask(i: int) -> None:
        body = {"model": "demo", "prompt": PROMPTS[i], "max_tokens": 80, "temperature": 0, "stream": True}
        with httpx.stream("POST", http.base_url.join("/v1/completions"), json=body, timeout=60) as answer:
            pieces = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: {")]
        found[i] = "".join(piece["choices"][0]["text"] for piece in pieces)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: stories.generate(PROMPTS[i], max_tokens=80) for i in range(8)}
    load = service.loads()["demo"]
    assert (load.running, load.waiting) == (0, 0)
    assert load.figures.rows > load.figures.steps  # several were written at once


def test_who_hangs_up_is_let_go_of(live: Any) -> None:
    http, service = live
    for _ in range(3):
        body = {"model": "demo", "prompt": PROMPTS[0], "max_tokens": 400, "stream": True}
        with http.stream("POST", "/v1/completions", json=body) as answer:
            next(answer.iter_lines())
    until = time.monotonic() + 20
    while (load := service.loads()["demo"]).running or load.waiting:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert load.pages_used == 0
    assert load.figures.ended["cancelled"] >= 1


def test_seeds_and_echoed_probabilities_over_http(live: Any, stories: LanguageModel) -> None:
    http, _ = live
    body = {"model": "demo", "prompt": PROMPTS[2], "max_tokens": 40, "temperature": 0.9, "seed": 7}
    texts = [http.post("/v1/completions", json=body).json()["choices"][0]["text"] for _ in range(2)]
    assert texts[0] == texts[1] == stories.generate(PROMPTS[2], max_tokens=40, temperature=0.9, seed=7)
    ids = stories.tokenizer.document(PROMPTS[3])
    body = {"model": "demo", "prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 2}
    told = http.post("/v1/completions", json=body).json()["choices"][0]["logprobs"]["token_logprobs"]
    with torch.inference_mode():
        expected = stories.model(torch.tensor([ids]))[0].log_softmax(-1)
    assert told[1:] == pytest.approx([float(expected[at - 1, ids[at]]) for at in range(1, len(ids))], abs=2e-3)


def test_pages_hold_as_much_as_llama_cpp_does(stories: LanguageModel) -> None:
    """No less memory for keys and values than our books count on: one text as long as the context fits exactly."""
    context = stories.config.context
    batching = Batching(
        stories, Pages(stories.config, context // PAGE), runner=partial(LlamaCppRunner, file=gguf_of(stories))
    )
    events: list[Any] = []
    for completion in batching.completions(Request(list(range(3, 3 + 300)), context), events.append):
        batching.add(completion)
    while batching.step():
        pass
    assert len(tokens_of(events)) == context - 300
    assert events[-1].reason == "length"
