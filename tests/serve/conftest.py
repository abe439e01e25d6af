"""A model that says what a script tells it to, so that the server can be tried without a trained one."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import Request as PageRequest

from cutaway.infer import Step
from cutaway.infer.figures import Figures, Load
from cutaway.infer.generate import TextStream
from cutaway.infer.handle import Handle
from cutaway.infer.request import Busy, Closed, Ended, Noted, PromptRead, Request, Written
from cutaway.infer.stopping import StopStrings
from cutaway.runs import RunDirectory
from cutaway.runs.manifest import Manifest, StageRecord
from cutaway.serve import Limits, Offer, create_app
from cutaway.serve.launch import listen, server
from cutaway.serve.offers import Lazy
from cutaway.serve.page import PAGE
from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer
from cutaway.tokens.shards import write_shard

CHROMIUM = Path("/usr/bin/chromium")

SENTENCES = [
    "The sky is blue because air scatters blue light more than red light.",
    "In the beginning God made the heaven and the earth.",
    "I am a small language model that was trained on this machine.",
    "Twelve plus thirty is forty-two, and the answer is 42.",
]


@dataclass
class FakeConfig:
    context: int = 256
    kind: str = "decoder"
    vocab_size: int = 500


@dataclass
class FakeModel:
    """Stands in for a LanguageModel."""

    tokenizer: Tokenizer
    script: Callable[[str], str] = lambda question: f"You said: {question}"
    seconds_a_token: float = 0.0
    config: FakeConfig = field(default_factory=FakeConfig)
    name: str = "demo"
    tokens_made: int = 0
    running: int = 0
    most_running: int = 0
    started: int = 0
    calls: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def roles(self, request: Request) -> list[str]:
        """Whose turns a conversation held, without the answer's."""
        names = {id_: name.strip("<|>") for name, id_ in self.tokenizer.special.items()}
        roles = [names[id_] for id_ in request.prompt if names.get(id_) in ("system", "user", "assistant", "tool")]
        return roles[:-1]

    def step(self, token: int, text: str, top: int, *, forced: bool = False) -> Step:
        """A token with made-up probabilities, which depend on the token alone."""
        draw = random.Random(token * 7919)
        chance = 1.0 if forced else round(draw.uniform(0.25, 0.98) ** 0.6, 4)
        rest, others = (
            1 - chance,
            draw.sample([id_ for id_ in range(30, self.tokenizer.vocab_size) if id_ != token], 19),
        )
        alternatives = [(token, chance)]
        for other in others:
            share = rest * draw.uniform(0.3, 0.6)
            rest -= share
            alternatives.append((other, share))
        return Step(token, text, math.log(chance), sorted(alternatives, key=lambda a: -a[1])[:top], forced)

    def answer(self, prompt: Sequence[int]) -> list[int]:
        """What the script says after a prompt, with the token that ends it."""
        tokenizer = self.tokenizer
        if prompt[-1] != tokenizer.special["<|assistant|>"]:
            return [*tokenizer.encode(self.script(tokenizer.decode(prompt[1:]))), tokenizer.end_of_text]
        asked = len(prompt) - list(reversed(prompt)).index(tokenizer.special["<|user|>"])
        question = tokenizer.decode(prompt[asked : list(prompt).index(tokenizer.end_of_turn, asked)])
        if question.startswith("calculate "):
            expression = question.removeprefix("calculate ")
            return [tokenizer.tool_call, *tokenizer.encode(expression), tokenizer.end_of_turn]
        if question == "fail":
            raise RuntimeError("secret detail")
        return [*tokenizer.encode(self.script(question)), tokenizer.end_of_turn]


@dataclass
class Job:
    """One completion of the fake engine."""

    lm: FakeModel
    request: Request
    index: int
    tell: Callable[[Any], None]
    gone: threading.Event
    written: int = 0
    turn: list[int] = field(default_factory=list)

    def run(self) -> None:
        with self.lm.lock:
            self.lm.running += 1
            self.lm.started += 1
            self.lm.most_running = max(self.lm.most_running, self.lm.running)
        try:
            if self.request.prompt_steps and self.index == 0:
                text = TextStream(self.lm.tokenizer)
                text.add(self.request.prompt[0])
                top = self.request.alternatives
                self.tell(PromptRead([self.lm.step(id_, text.add(id_), top) for id_ in self.request.prompt[1:]]))
            ended = self.write(self.lm.answer(self.request.prompt))
        except Exception as error:
            ended = Ended(self.index, "error", self.written, error=error)
        with self.lm.lock:
            self.lm.running -= 1
        self.tell(ended)

    def write(self, ids: Sequence[int]) -> Ended:
        request, text, stops = self.request, TextStream(self.lm.tokenizer), StopStrings(self.request.stops)
        began = time.monotonic()

        def end(reason: Any) -> Ended:
            for step in stops.flush():
                self.tell(Written(self.index, step))
            return Ended(self.index, reason, self.written, tail="" if stops.found else text.finish())

        for token in ids:
            if self.written >= request.max_tokens:
                return end("length")
            time.sleep(self.lm.seconds_a_token)
            if self.gone.is_set():
                return end("cancelled")
            if request.seconds is not None and time.monotonic() - began > request.seconds:
                return end("timed out")
            self.lm.tokens_made += 1
            self.written += 1
            self.turn.append(token)
            for step in stops.feed(self.lm.step(token, text.add(token), request.alternatives)):
                self.tell(Written(self.index, step))
            if stops.found:
                return end("stop")
        found = request.interject(self.index, self.turn) if request.interject else None
        if found is None:
            return end("stop")
        self.tell(Noted(self.index, found.note))
        text = TextStream(self.lm.tokenizer)
        for token in found.tokens:
            self.tell(Written(self.index, self.lm.step(token, text.add(token), request.alternatives, forced=True)))
        tokenizer = self.lm.tokenizer
        said = f"{tokenizer.decode(self.turn[1:-1])} = {tokenizer.decode(found.tokens[1:-2])}"
        self.turn = []
        return self.write([*tokenizer.encode(said), tokenizer.end_of_turn])


class FakeEngine:
    """Stands in for an Engine: each completion in a thread of its own."""

    def __init__(self, lm: FakeModel, *, most_rows: int, waiting: int) -> None:
        self.lm, self.rows, self.capacity = lm, most_rows, most_rows + waiting
        self.pool = ThreadPoolExecutor(most_rows)
        self.lock = threading.Lock()
        self.jobs: dict[int, threading.Event] = {}
        self.closed = False

    def submit(self, request: Request) -> Handle:
        handle, gone = Handle(request.n), threading.Event()
        with self.lock:
            if self.closed:
                raise Closed("closed")
            if len(self.jobs) + request.n > self.capacity:
                raise Busy(f"all {self.capacity} places are taken")
            self.lm.calls.append(request)
            jobs = [Job(self.lm, request, i, handle.put, gone) for i in range(request.n)]
            self.jobs |= {id(job): gone for job in jobs}

        def forget(job: Job) -> None:
            with self.lock:
                self.jobs.pop(id(job), None)

        def run(job: Job) -> None:
            try:
                job.run()
            finally:
                forget(job)

        futures = [self.pool.submit(run, job) for job in jobs]

        def cancel() -> None:
            gone.set()
            for job, future in zip(jobs, futures, strict=True):
                if future.cancel():
                    forget(job)
                    handle.put(Ended(job.index, "cancelled", 0))

        handle.on_cancel = cancel
        return handle

    def load(self) -> Load:
        with self.lock:
            taken = len(self.jobs)
        running = min(taken, self.rows)
        return Load(taken - running, running, 10, running, 0, 0, 0, Figures())

    def close(self) -> None:
        with self.lock:
            self.closed = True
            gone = list(self.jobs.values())
        for each in gone:
            each.set()
        self.pool.shutdown(wait=True)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(TokenizerSettings(vocab_size=500), SENTENCES * 3, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def lm(tokenizer: Tokenizer) -> Any:
    return FakeModel(tokenizer)


@dataclass
class Live:
    """A server that runs in a thread of this process."""

    url: str
    app: Any
    lm: FakeModel
    run: Path
    server: Any
    view: str = ""
    """What the page is opened with, such as /?answers=tokens."""

    @property
    def service(self) -> Any:
        return self.app.state.service

    @property
    def taken(self) -> int:
        return sum(load.running + load.waiting for load in self.service.loads().values())

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20, **options)

    def number(self, name: str) -> float:
        """One of /metrics, summed over its labels."""
        with self.client() as http:
            lines = [line.rsplit(" ", 1) for line in http.get("/metrics").text.splitlines() if line[:1] != "#"]
        return sum(float(value) for series, value in lines if series.partition("{")[0] == name)


Serve = Callable[..., Live]


@pytest.fixture
def serve_live(lm: Any, tmp_path: Path) -> Iterator[Serve]:
    """Start servers with `serve_live(access=..., limits=..., page=...)`; they are stopped at the end of the test."""
    running: list[tuple[Any, threading.Thread]] = []

    def start(offers: list[Offer] | None = None, *, limits: Limits | None = None, **options: Any) -> Live:
        load: Any = Lazy(lambda: lm)
        run = tmp_path / "demo"
        run.mkdir(exist_ok=True)
        names = [("demo", "sft"), ("demo:pretrain", "pretrain"), ("demo:sft", "sft")]
        scripted = [Offer(name, load, "demo", stage, run) for name, stage in names]
        if isinstance(lm, FakeModel):
            options.setdefault("engine", FakeEngine)
        limits = limits or Limits(drain_seconds=1)
        app = create_app(offers or scripted, limits=limits, **options)
        listener = listen("127.0.0.1", 0)
        running_server = server(app, limits)
        thread = threading.Thread(target=running_server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((running_server, thread))
        while not running_server.started:
            time.sleep(0.005)
        return Live(f"http://127.0.0.1:{listener.getsockname()[1]}", app, lm, run, running_server)

    yield start
    for each, _ in running:
        each.should_exit = True
    for _, thread in running:
        thread.join(10)


@pytest.fixture
def live(serve_live: Serve) -> Live:
    return serve_live(limits=Limits(answering=2, waiting=2, drain_seconds=1))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Not for longer than a module: until it ends, this thread has an event loop that others cannot start."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    if not (PAGE / "index.html").exists():
        pytest.skip("the page is not built; run: python hatch_build.py build")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            timeout=240_000,
        )
        yield browser
        browser.close()


@pytest.fixture
def trouble() -> list[str]:
    """What the browser complained of; a test that expects something takes it out."""
    return []


@pytest.fixture
def page(browser: Browser, live: Any, trouble: list[str], request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page of `live`, open; at the end nothing may have gone wrong in it."""
    options: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, **getattr(request, "param", {})}
    context = browser.new_context(**options)
    context.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    page = context.new_page()
    page.on("console", lambda m: trouble.append(f"console {m.type}: {m.text}") if m.type != "log" else None)
    page.on("pageerror", lambda error: trouble.append(f"page error: {error}"))

    def left(request: PageRequest) -> None:
        if not request.url.startswith((live.url, "data:")):
            trouble.append(f"a request left the machine: {request.url}")

    def failed(request: PageRequest) -> None:
        # What the page or the person gave up: a look inside when something newer is asked, a file when another page is
        # opened; and Chromium calls a stream so whose end comes right after its last byte.
        if request.failure != "net::ERR_ABORTED":
            trouble.append(f"request failed: {request.url}")

    page.on("request", left)
    page.on("requestfailed", failed)
    page.on("response", lambda r: trouble.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    page.goto(live.url + live.view)
    yield page
    context.close()
    assert trouble == []


@pytest.fixture
def fits(page: Page) -> Callable[[str], None]:
    """Tells whether the page, which is a phone's, reaches beyond its sides, also at 320 pixels (WCAG 2.2, 1.4.10)."""

    def fits(what: str) -> None:
        phone = page.viewport_size
        assert phone is not None
        for width in (320, phone["width"]):
            page.set_viewport_size({"width": width, "height": phone["height"]})
            page.wait_for_timeout(350)
            assert page.evaluate("document.documentElement.scrollWidth") == width, what

    return fits


@pytest.fixture
def small_run(tokenizer: Tokenizer) -> Callable[[Path], list[int]]:
    """Makes a run's files as its stages write them, small; gives the ids of its shard."""

    def make(run: Path) -> list[int]:
        manifest = Manifest.of_this_machine(seed=1)
        manifest.stages["pretrain"] = StageRecord(state="finished", settings_hash="", started="", seconds=6.0)
        manifest.write(RunDirectory(run))
        one = {"documents": 3, "paragraphs": 5, "bytes": 400}
        stats = {
            "train": {"kjv": {"documents": 2, "paragraphs": 3, "bytes": 300}, "world": {**one, "bytes": 50}},
            "heldout": {"kjv": {"documents": 1, "paragraphs": 1, "bytes": 60}},
            "steps": [
                {"step": "read", "sources": {"kjv": one}},
                {"step": "held out", "sources": {"kjv": {**one, "bytes": 60}}},
            ],
            "removed": {
                "near duplicates": {
                    "paragraphs": 1,
                    "bytes": 20,
                    "samples": [{"document": "kjv/1", "paragraph": "And so.", "kept": "And thus.", "similarity": 0.9}],
                }
            },
        }
        (run / "corpus").mkdir(parents=True, exist_ok=True)
        (run / "corpus" / "stats.json").write_text(json.dumps(stats))
        (run / "shards").mkdir()
        ids = [int(id_) for id_ in torch.randint(0, tokenizer.vocab_size, (1000,)).tolist()]
        write_shard(run / "shards" / "real.bin", [ids], vocab_size=tokenizer.vocab_size)
        tokenizer.save(run / "tokenizer")
        (run / "recipe.toml").write_text("[pretrain]\nrow_length = 64\n[pretrain.shares]\nreal = 3.0\nworld = 1.0\n")
        (run / "pretrain").mkdir()
        rows = [
            {
                "step": step,
                "tokens": 1000 * step,
                "seconds": 2.0 * step,
                "loss": 6 / step,
                "lr": 0.01,
                "grad_norm": 0.5 * step,
            }
            for step in (1, 2, 3)
        ]
        samples = [{"step": step, "prompt": "In", "text": f" step {step}"} for step in (1, 3)]
        (run / "pretrain" / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
        (run / "pretrain" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return ids

    return make
