"""Whatever runs beside it, a request gets what it would get alone; nothing is lost, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import zoo
from torch import Tensor

from cutaway.infer import Busy, Closed, Ended, Engine, Interjection, LanguageModel, Noted, PromptRead, Request, Written
from cutaway.infer.batching import Batching
from cutaway.infer.generate import Session, Step, TextStream, stream
from cutaway.infer.pages import NOTHING, PAGE, Pages
from cutaway.infer.request import Event
from cutaway.infer.runner import Row, TorchRunner
from cutaway.infer.sampling import GREEDY, Sampling
from cutaway.model import ModelConfig, Transformer, load_model
from cutaway.model.config import Sparsity
from cutaway.model.taps import Taps
from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer

VOCAB = 97
CONFIG = ModelConfig(VOCAB, n_layers=2, d_model=24, n_heads=2, n_kv_heads=1, d_head=12, d_mlp=32, context=96)
CONFIGS = {
    "full": CONFIG,
    "window": replace(CONFIG, sparsity=Sparsity("window", 20), local_layers=(0, 1)),
    "mixed": replace(CONFIG, sparsity=Sparsity("window", 11), local_layers=(1,), positions="alibi"),
}


class Letters:
    """Stands for a tokenizer: token i is the byte i, so that some are halves of characters; 96 is a mark."""

    special = {"<mark>": 96}

    def token_bytes(self, token: int) -> bytes:
        return bytes([token + 32]) if token < 95 else b"\xc3"


def lm_of(config: ModelConfig) -> LanguageModel:
    torch.manual_seed(0)
    model = Transformer(config).requires_grad_(False).eval()
    for weight in model.parameters():
        if weight.dim() == 2:
            weight.normal_(std=2.0 * weight.shape[1] ** -0.5)
    return LanguageModel("tiny", model, cast("Tokenizer", Letters()))


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return lm_of(CONFIG)


def alone(lm: LanguageModel, prompt: Sequence[int], max_tokens: int, sampling: Sampling = GREEDY) -> list[int]:
    """What the model writes on from a prompt by itself."""
    session = Session(lm.model)
    session.read(prompt)
    steps = stream(
        lm.model, lm.tokenizer, session,
        max_tokens=max_tokens, sampling=sampling, stop_ids=(), generator=sampling.generator(),
    )  # fmt: skip
    return [step.token for step in steps]


def tokens_of(events: Sequence[Event], index: int = 0) -> list[int]:
    return [event.step.token for event in events if isinstance(event, Written) and event.index == index]


def end_of(events: Sequence[Event], index: int = 0) -> Ended:
    return next(event for event in events if isinstance(event, Ended) and event.index == index)


def assert_nothing_is_lost(batching: Batching) -> None:
    prefixes, pages = batching.prefixes, batching.pages
    assert not any(pages.references)
    assert sorted([*pages.free, *prefixes.idle]) == list(range(1, pages.count + 1))
    assert not batching.live


def run(batching: Batching, requests: Sequence[Request]) -> list[list[Event]]:
    """Every request's events, when all have ended."""
    told: list[list[Event]] = [[] for _ in requests]
    for request, events in zip(requests, told, strict=True):
        for completion in batching.completions(request, events.append):
            batching.add(completion)
    while batching.live:
        assert batching.step()
    return told


class Pool:
    """Prompts, many of which begin alike, and how the model goes on from each alone up to the context's end."""

    def __init__(self, lm: LanguageModel, draw: random.Random) -> None:
        self.lm = lm
        self.whole: list[list[int]] = []
        self.prompts: list[tuple[int, int]] = []
        for length in (1, 2, 15, 16, 17, 33, 50, 62, 63, 64):
            self.add([draw.randrange(VOCAB) for _ in range(length)])
        for _ in range(8):
            # A conversation's next turn, or another with the same system prompt.
            ids = draw.choice(self.whole)
            self.add([*ids[: draw.randint(1, 50)], *(draw.randrange(VOCAB) for _ in range(draw.randint(0, 10)))])

    def add(self, prompt: list[int]) -> None:
        self.prompts.append((len(self.whole), len(prompt)))
        self.whole.append(self.surely(prompt))

    @torch.inference_mode()
    def surely(self, prompt: list[int]) -> list[int]:
        """The greedy continuation, as far as the best token is the best by more than rounding."""
        session, ids = Session(self.lm.model), list(prompt)
        session.read(prompt)
        while session.room:
            best = session.logits[0].topk(2)
            if best.values[0] - best.values[1] < 1e-3:
                break
            ids.append(int(best.indices[0]))
            session.read(ids[-1:])
        return ids

    def draw(self, draw: random.Random) -> tuple[list[int], list[int]]:
        """A prompt, and what must come."""
        which, length = draw.choice(self.prompts)
        ids = self.whole[which]
        return ids[:length], ids[length : length + draw.choice([0, 1, 5, 20, 64])]


@pytest.mark.parametrize("kind", CONFIGS)
def test_random_mixes_give_each_request_what_it_gets_alone(kind: str) -> None:
    lm = lm_of(replace(CONFIGS[kind], context=64))
    pool = Pool(lm, random.Random(0))
    set_back = found = 0
    for seed in range(67):
        draw = random.Random(seed)
        # 4 pages are just enough for one sequence as long as the context.
        batching = Batching(
            lm,
            Pages(lm.config, draw.choice([4, 5, 6, 7, 30])),
            most_rows=draw.choice([1, 3, 8]),
            chunk=draw.choice([3, 16, 64, 200]),
        )
        mix = [pool.draw(draw) for _ in range(draw.randint(2, 9))]
        told: list[list[Event]] = [[] for _ in mix]
        arrivals = sorted(draw.choice([0, 0, 3, 10, 30]) for _ in mix)
        cancelled: set[int] = set()
        at = step = 0
        while at < len(mix) or batching.live:
            while at < len(mix) and arrivals[at] <= step:
                prompt, expected = mix[at]
                # Beside the context's end, that of the tokens asked for.
                most = len(expected) if len(prompt) + len(expected) < 64 else draw.choice([64, len(expected)])
                request = Request(prompt, most, priority=draw.choice([0, 0, 1, 2]))
                for completion in batching.completions(request, told[at].append):
                    batching.add(completion)
                at += 1
            if draw.random() < 0.02 and batching.live:
                victim = draw.choice(batching.live)
                victim.cancelled = True
                cancelled.add(next(i for i, events in enumerate(told) if events.append == victim.tell))
            worked, step = batching.step(), step + 1
            assert worked or not batching.live
            assert step < 20_000
        for i, ((_, expected), events) in enumerate(zip(mix, told, strict=True)):
            tokens, end = tokens_of(events), end_of(events)
            assert isinstance(events[-1], Ended)
            if end.reason == "cancelled":
                assert i in cancelled
                assert tokens == expected[: len(tokens)]
            else:
                assert end.reason == "length"
                assert tokens == expected
            assert end.written == len(tokens)
        assert_nothing_is_lost(batching)
        set_back += batching.scheduler.set_back_ever
        found += batching.prefixes.found
    assert set_back > 10
    assert found > 1000


def test_greedy_output_is_that_of_transformers(tmp_path: Path) -> None:
    theirs = zoo.build("llama")
    theirs.generation_config.eos_token_id = None
    theirs.save_pretrained(tmp_path)
    lm = LanguageModel("llama", load_model(tmp_path), cast("Tokenizer", Letters()))
    draw = random.Random(0)
    prompts = [[draw.randrange(3, 90) for _ in range(length)] for length in (1, 7, 30, 30, 64, 100)]
    batching = Batching(lm, Pages(lm.config, 17), most_rows=4, chunk=20)
    for prompt, events in zip(prompts, run(batching, [Request(prompt, 20) for prompt in prompts]), strict=True):
        written = theirs.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=20, do_sample=False
        )
        assert tokens_of(events) == written[0, len(prompt) :].tolist()


def test_the_same_seed_draws_the_same_tokens_whatever_else_is_drawn(lm: LanguageModel) -> None:
    kinds = [
        Sampling(0.9, seed=3),
        Sampling(1.2, top_p=0.9, seed=3),
        Sampling(0.9, seed=4),
        Sampling(0.9, top_k=5, seed=1),
    ]
    batching = Batching(lm, Pages(CONFIG, 100))
    prompts = [[i + 1, 2, 3] for i in range(8)]
    requests = [Request(prompt, 25, kind) for prompt in prompts for kind in (*kinds, GREEDY)]
    for request, events in zip(requests, run(batching, requests), strict=True):
        assert tokens_of(events) == alone(lm, request.prompt, 25, request.sampling)


def test_several_completions_share_their_prompt(lm: LanguageModel) -> None:
    batching = Batching(lm, Pages(CONFIG, 100))
    prompt = list(range(2 * PAGE + 3))
    (events,) = run(batching, [Request(prompt, 20, Sampling(1.0, seed=5), n=4)])
    written = [tokens_of(events, i) for i in range(4)]
    assert written == [alone(lm, prompt, 20, Sampling(1.0, seed=5 + i)) for i in range(4)]
    assert [end_of(events, i).known for i in range(4)] == [0, 32, 32, 32]
    assert batching.figures.read == len(prompt) + 3 * 3 + 4 * 19
    assert len({tuple(tokens) for tokens in written}) == 4


def test_a_conversation_s_next_turn_is_read_from_where_it_ended(lm: LanguageModel) -> None:
    batching = Batching(lm, Pages(CONFIG, 30))
    first = Request(list(range(30)), 30)
    (events,) = run(batching, [first])
    turn = [*first.prompt, *tokens_of(events), 7, 7, 7]
    (events,) = run(batching, [Request(turn, 5)])
    # The last token written was never read.
    assert end_of(events).known == 48
    assert tokens_of(events) == alone(lm, turn, 5)
    for other in (Request(turn, 5, among="somebody"), Request([9, *turn[1:]], 5), Request(turn, 5, prompt_steps=True)):
        (events,) = run(batching, [other])
        assert end_of(events).known == 0
        assert tokens_of(events) == alone(lm, other.prompt, 5)


@pytest.mark.parametrize(("dtype", "least"), [(torch.bfloat16, 0.8), (torch.int8, 0.8)])
def test_narrow_caches_write_nearly_the_same(lm: LanguageModel, dtype: torch.dtype, least: float) -> None:
    prompts = [[i, 5, 9] for i in range(20)]
    requests = [Request(prompt, 8) for prompt in prompts]
    told = run(Batching(lm, Pages(CONFIG, 40, dtype=dtype)), requests)
    same = [
        tokens_of(events)[i] == alone(lm, p, 8)[i] for p, events in zip(prompts, told, strict=True) for i in range(8)
    ]
    assert sum(same) / len(same) >= least


def test_a_long_prompt_stalls_nobody(lm: LanguageModel) -> None:
    batching = Batching(lm, Pages(CONFIG, 40), chunk=8)
    told: dict[str, list[Event]] = {"writer": [], "long": [], "short": []}

    def add(name: str, prompt: list[int]) -> None:
        (completion,) = batching.completions(Request(prompt, 60), told[name].append)
        batching.add(completion)

    add("writer", [1, 2, 3])
    batching.step()
    add("long", list(range(90)))
    add("short", [5, 6])
    for step in range(1, 12):
        batching.step()
        assert len(tokens_of(told["writer"])) == 1 + step
        assert len(tokens_of(told["short"])) == step
    # Six of its 90 tokens in the first step, and eight in each after it.
    assert not told["long"]
    while not told["long"]:
        batching.step()
    assert len(tokens_of(told["writer"])) <= 1 + 20


def test_who_is_urgent_goes_first_and_nobody_is_forgotten(lm: LanguageModel) -> None:
    batching = Batching(lm, Pages(CONFIG, 12), most_rows=1)
    order: list[int] = []
    told: list[list[Event]] = [[] for _ in range(4)]

    def add(i: int, priority: int) -> None:
        def tell(event: Event) -> None:
            told[i].append(event)
            order.extend([i] * isinstance(event, Ended))

        for completion in batching.completions(Request([i, i], 20, priority=priority), tell):
            batching.add(completion)

    add(0, 0)
    for _ in range(5):
        batching.step()
    add(1, 0)
    add(2, 5)
    add(3, 5)
    while batching.live:
        batching.step()
    assert order == [2, 3, 0, 1]
    assert batching.scheduler.set_back_ever == 1
    for i, events in enumerate(told):
        assert tokens_of(events) == alone(lm, [i, i], 20)


def test_pages_behind_the_window_are_given_back() -> None:
    lm = lm_of(CONFIGS["window"])
    batching = Batching(lm, Pages(lm.config, 6), chunk=16)
    (completion,) = batching.completions(Request(list(range(60)), 36), lambda _: None)
    batching.add(completion)
    most = 0
    while batching.live:
        batching.step()
        most = max(most, sum(page != NOTHING for page in completion.pages))
    # A window of 20 positions lies in three pages at most, and a piece of 16 in one more.
    assert most <= 4
    assert_nothing_is_lost(batching)


def test_stop_strings_end_and_are_cut_off(lm: LanguageModel) -> None:
    prompt = [4, 8, 15]
    text = "".join(step.text for step in steps_of(lm, prompt, 40))
    stop = text[12:15]
    at = text.index(stop)
    batching = Batching(lm, Pages(CONFIG, 30))
    told = run(batching, [Request(prompt, 40, stops=[stop, "never"]), Request(prompt, 40, stops=["\x00"])])
    written = [event.step for event in told[0] if isinstance(event, Written)]
    assert "".join(step.text for step in written) == text[:at]
    assert end_of(told[0]).reason == "stop"
    assert "".join(event.step.text for event in told[1] if isinstance(event, Written)) + end_of(told[1]).tail == text


def steps_of(lm: LanguageModel, prompt: list[int], n: int) -> list[Step]:
    text = TextStream(lm.tokenizer)
    tokens = alone(lm, prompt, n)
    steps = [Step(token, text.add(token), 0.0) for token in tokens]
    return [*steps, Step(-1, text.finish(), 0.0)]


def test_stop_tokens_end_and_are_told(lm: LanguageModel) -> None:
    tokens = alone(lm, [1, 2], 30)
    stop = tokens[7]
    (events,) = run(Batching(lm, Pages(CONFIG, 30)), [Request([1, 2], 30, stop_ids={stop})])
    assert tokens_of(events) == tokens[: tokens.index(stop) + 1]
    assert end_of(events).reason == "stop"


@pytest.mark.parametrize("chunk", [3, 100])
def test_probabilities_are_the_model_s(lm: LanguageModel, chunk: int) -> None:
    prompt = list(range(20))
    batching = Batching(lm, Pages(CONFIG, 30), chunk=chunk)
    first, second, single = run(
        batching,
        [
            Request(prompt, 6, alternatives=3, prompt_steps=True),
            Request(prompt, 0, prompt_steps=True),
            Request([5], 1, prompt_steps=True),
        ],
    )
    assert isinstance(first[0], PromptRead)
    written = [event.step for event in first if isinstance(event, Written)]
    ids = [*prompt, *tokens_of(first)]
    with torch.no_grad():
        logprobs = lm.model(torch.tensor([ids]))[0].log_softmax(-1)
    assert [step.token for step in first[0].steps] == prompt[1:]
    for at, step in enumerate([*first[0].steps, *written]):
        torch.testing.assert_close(step.logprob, float(logprobs[at, ids[at + 1]]), atol=1e-4, rtol=1e-4)
        best = logprobs[at].topk(3)
        assert [token for token, _ in step.alternatives] == best.indices.tolist()
        torch.testing.assert_close(
            [share for _, share in step.alternatives], best.values.exp().tolist(), atol=1e-4, rtol=1e-4
        )
    assert isinstance(second[0], PromptRead)
    assert [step.token for step in second[0].steps] == prompt[1:]
    assert tokens_of(second) == []
    assert single[0] == PromptRead([])
    assert tokens_of(single) == alone(lm, [5], 1)


class OnlyEven:
    """Keeps a completion to even tokens, and ends it after five."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def mask(self) -> Tensor | None:
        return None if len(self.seen) == 2 else torch.arange(VOCAB) % 2 == 0

    def accept(self, token: int) -> None:
        self.seen.append(token)

    @property
    def finished(self) -> bool:
        return len(self.seen) == 5


def test_a_constraint_keeps_to_its_form_beside_free_ones(lm: LanguageModel) -> None:
    made: list[OnlyEven] = []

    def constraint() -> OnlyEven:
        made.append(OnlyEven())
        return made[-1]

    batching = Batching(lm, Pages(CONFIG, 60))
    kept, free, drawn = run(
        batching,
        [
            Request([1, 2], 20, constraint=constraint),
            Request([1, 2], 20),
            Request([1, 2], 20, Sampling(5.0, seed=0), n=3, constraint=constraint),
        ],
    )
    assert tokens_of(free) == alone(lm, [1, 2], 20)
    every = [tokens_of(kept), *(tokens_of(drawn, i) for i in range(3))]
    assert [one.seen for one in made] == every
    for tokens in every:
        assert len(tokens) == 5
        assert all(token % 2 == 0 for i, token in enumerate(tokens) if i != 2)
    assert end_of(kept).reason == "stop"


def test_what_is_put_before_the_model_is_read_from_the_same_pages(lm: LanguageModel) -> None:
    prompt = [3, 1, 4]
    tokens = alone(lm, prompt, 40)
    stop = tokens[9]
    turn = tokens[: tokens.index(stop) + 1]
    put = [11, 12, 13, 14]
    asked: list[tuple[int, list[int]]] = []

    def interject(index: int, written: Sequence[int]) -> Interjection | None:
        asked.append((index, list(written)))
        return Interjection(put, "looked up") if len(asked) == 1 else None

    session = Session(lm.model)
    session.read([*prompt, *turn])
    logits, scored = [session.logits[0]], []
    for token in put:
        session.read([token])
        logits.append(session.logits[0])
    scored = [float(row.log_softmax(-1)[token]) for row, token in zip(logits, put, strict=False)]
    after = alone(lm, [*prompt, *turn, *put], 15)
    with Engine(lm) as engine:
        request = Request(prompt, len(turn) + 15, stop_ids={stop}, interject=interject, alternatives=2)
        events = list(engine.submit(request))
        read = len(prompt) + len(put) + end_of(events).written - 1
        assert engine.load().figures.read == read
    forced = [event.step for event in events if isinstance(event, Written) and event.step.forced]
    assert [step.token for step in forced] == put
    torch.testing.assert_close([step.logprob for step in forced], scored, atol=1e-4, rtol=1e-4)
    assert all(len(step.alternatives) == 2 for step in forced)
    at = next(i for i, event in enumerate(events) if isinstance(event, Noted))
    assert events[at] == Noted(0, "looked up")
    assert tokens_of(events[:at]) == turn
    free = [event.step.token for event in events[at:] if isinstance(event, Written) and not event.step.forced]
    assert free == (after[: after.index(stop) + 1] if stop in after else after)
    assert asked[0] == (0, turn)


def test_a_watched_request_runs_beside_others_and_leaves_no_pages(lm: LanguageModel) -> None:
    prompt = list(range(40))
    seen: list[Tensor] = []
    tap = Taps({"blocks.0.attn.hook_pattern": [seen.append], "blocks.0.hook_mlp_out": [torch.zeros_like]})
    batching = Batching(lm, Pages(CONFIG, 30))
    told = run(batching, [Request(prompt, 5, tap=tap), Request([7], 20)])
    assert [tuple(pattern.shape) for pattern in seen] == [(1, 2, 40, 40)] + [(1, 2, 1, 41 + i) for i in range(4)]
    assert tokens_of(told[1]) == alone(lm, [7], 20)
    ids = list(prompt)
    for token in tokens_of(told[0]):
        with torch.no_grad():
            assert int(lm.model(torch.tensor([ids]), tap=tap)[0, -1].argmax()) == token
        ids.append(token)
    (events,) = run(batching, [Request(prompt, 5)])
    assert end_of(events).known == 0
    assert tokens_of(events) == alone(lm, prompt, 5)


class Failing(TorchRunner):
    """Fails whenever token 13 is read; gives no numbers after token 14."""

    def run(self, rows: Sequence[Row]) -> list[Tensor]:
        if any(13 in row.tokens for row in rows):
            raise RuntimeError("thirteen")
        return [
            torch.full_like(logits, torch.nan) if row.tokens[-1] == 14 else logits
            for row, logits in zip(rows, super().run(rows), strict=True)
        ]


def test_who_fails_ends_alone(lm: LanguageModel) -> None:
    def break_down(*_: object) -> Interjection | None:
        raise RuntimeError("broken tool")

    class Broken(OnlyEven):
        def accept(self, token: int) -> None:
            raise RuntimeError("broken grammar")

    class Impossible(OnlyEven):
        def mask(self) -> Tensor | None:
            return torch.zeros(VOCAB, dtype=torch.bool)

    with Engine(lm, runner=Failing) as engine:
        bad = [
            Request([1, 13], 9),
            Request([1, 14], 9),
            Request([1, 14], 9, Sampling(1.0, seed=1)),
            Request([1, 2], 9, constraint=Broken),
            Request([1, 2], 9, constraint=Impossible),
            Request([1, 2], 9, stop_ids=range(VOCAB), interject=break_down),
            Request([1, 2], 9, Sampling(logit_bias={VOCAB: 1.0})),
        ]
        good, drawn = Request([1, 2], 9), Request([1, 2], 9, Sampling(1.0, seed=4))
        handles = [engine.submit(request) for request in (good, drawn, *bad, good)]
        told = [list(handle) for handle in handles]
        expected = alone(lm, [1, 2], 9)
        assert tokens_of(told[0]) == tokens_of(told[-1]) == expected
        assert tokens_of(told[1]) == alone(lm, [1, 2], 9, drawn.sampling)
        messages = ["thirteen", "no token", "no token", "broken grammar", "no token", "broken tool", "logit_bias"]
        for events, message in zip(told[2:-1], messages, strict=True):
            assert end_of(events).reason == "error"
            assert message in str(end_of(events).error)
        assert tokens_of(list(engine.submit(good))) == expected
        assert engine.load().pages_used == 0
        assert engine.load().figures.ended["error"] == 7


def test_a_fault_of_the_engine_s_own_ends_what_runs_and_not_the_engine(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(lm) as engine:
        list(engine.submit(Request([1], 1)))
        plan = engine._batching.scheduler.plan

        def once() -> Any:
            plan()
            monkeypatch.undo()
            raise SystemExit(1)

        monkeypatch.setattr(engine._batching.scheduler, "plan", once)
        assert end_of(list(engine.submit(Request([1, 2], 5)))).reason == "error"
        assert tokens_of(list(engine.submit(Request([1, 2], 5)))) == alone(lm, [1, 2], 5)


def slow(seconds: float) -> Callable[[Transformer, Pages], TorchRunner]:
    class Slow(TorchRunner):
        def run(self, rows: Sequence[Row]) -> list[Tensor]:
            time.sleep(seconds)
            return super().run(rows)

    return Slow


def test_many_threads_are_answered(lm: LanguageModel) -> None:
    prompts = [[i, i + 1] for i in range(24)]
    got: dict[int, list[int]] = {}
    with Engine(lm, most_rows=5, waiting=40) as engine:

        def ask(i: int) -> None:
            got[i] = tokens_of(list(engine.submit(Request(prompts[i], 12))))

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        load = engine.load()
    assert got == {i: alone(lm, prompts[i], 12) for i in range(24)}
    assert (load.waiting, load.running, load.pages_used) == (0, 0, 0)
    figures = load.figures
    assert figures.written == 24 * 12
    assert figures.ended["length"] == 24
    assert 1 < figures.rows / figures.steps <= 5


def test_asyncio_waits_for_events_and_leaving_gives_up(lm: LanguageModel) -> None:
    async def ask(engine: Engine, i: int) -> list[int]:
        return tokens_of([event async for event in engine.submit(Request([i], 10))])

    async def leave(engine: Engine) -> None:
        events = engine.submit(Request([1, 2], 90)).__aiter__()
        await anext(events)
        await events.aclose()

    async def main(engine: Engine) -> None:
        got = await asyncio.gather(*(ask(engine, i) for i in range(8)), leave(engine))
        assert got[:8] == [alone(lm, [i], 10) for i in range(8)]

    with Engine(lm, runner=slow(0.002)) as engine:
        asyncio.run(main(engine))
        until(lambda: engine.load().figures.ended["cancelled"] == 1)
        assert engine.load().pages_used == 0


def until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        time.sleep(0.005)
    raise AssertionError("it never came true")


def test_a_full_line_turns_away_and_nothing_is_asked_in_vain(lm: LanguageModel) -> None:
    with Engine(lm, runner=slow(0.01), most_rows=1, waiting=2) as engine:
        handles = [engine.submit(Request([i], 50)) for i in range(3)]
        with pytest.raises(Busy, match="all 3 places"):
            engine.submit(Request([9], 1))
        with pytest.raises(BadInput, match="4 completions"):
            engine.submit(Request([9], 1, n=4))
        with pytest.raises(BadInput, match=r"97 tokens .* context of 96"):
            engine.submit(Request([0] * 97, 1))
        with pytest.raises(BadInput, match="token 97"):
            engine.submit(Request([97], 1))
        until(lambda: engine.load().running == 1)
        handles[1].cancel()
        assert end_of(list(handles[1])).reason == "cancelled"
        late = engine.submit(Request([9], 50, seconds=0.05))
        assert end_of(list(late)).reason == "timed out"
        assert tokens_of(list(handles[2])) == alone(lm, [2], 50)
    for bad in (
        {"prompt": []},
        {"max_tokens": -1},
        {"n": 0},
        {"alternatives": -1},
        {"seconds": 0.0},
        {"seconds": float("nan")},
    ):
        with pytest.raises(BadInput):
            Request(**{"prompt": [1], "max_tokens": 1, **bad})  # type: ignore[arg-type]


def test_closing_lets_end_what_can_and_cancels_the_rest(lm: LanguageModel) -> None:
    engine = Engine(lm)
    handle = engine.submit(Request([1], 20))
    engine.close(seconds=30)
    assert end_of(list(handle)).reason == "length"
    with pytest.raises(Closed):
        engine.submit(Request([1], 1))
    engine = Engine(lm, runner=slow(0.02), most_rows=1)
    handles = [engine.submit(Request([1], 90)) for _ in range(3)]
    engine.close(seconds=0.1)
    assert [end_of(list(handle)).reason for handle in handles] == ["cancelled"] * 3


def test_memory_sets_the_room(lm: LanguageModel) -> None:
    # A page: 2 layers, keys and values, one head of 12 numbers, 16 positions, 4 bytes.
    with Engine(lm, memory=2 * 2 * 12 * 16 * 4 * 3) as engine:
        assert engine.load().pages == 3
        assert len(tokens_of(list(engine.submit(Request([1], 90))))) == 47
        with pytest.raises(BadInput, match=r"49 tokens .* 96, of which memory holds 48"):
            engine.submit(Request([0] * 49, 1))
    with pytest.raises(BadInput, match="holds nothing"):
        Engine(lm, memory=100)
    with pytest.raises(BadInput, match="most_rows is 0"):
        Engine(lm, most_rows=0)
    with pytest.raises(BadInput, match="encoder is an encoder"):
        Engine(LanguageModel("encoder", Transformer(replace(CONFIG, kind="encoder")), lm.tokenizer))
