"""A model that says what a script tells it to, so that the server can be tried without a trained one."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from cutaway.infer import Step, ToolStep
from cutaway.serve import Limits, Offer, create_app, speech
from cutaway.serve.launch import listen
from cutaway.serve.offers import Lazy
from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer

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
    calls: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, ids: Sequence[int], *, forced: bool = False) -> Iterator[Step]:
        pending = b""
        for token in ids:
            time.sleep(self.seconds_a_token)
            self.tokens_made += 1
            pending += self.tokenizer.token_bytes(token)
            try:
                text, pending = pending.decode(), b""
            except UnicodeDecodeError:
                text = ""
            draw = random.Random(token * 7919 + self.tokens_made)
            chance = 1.0 if forced else round(draw.uniform(0.25, 0.98) ** 0.6, 4)
            rest, others = 1 - chance, draw.sample(range(30, self.tokenizer.vocab_size), 9)
            alternatives = [(token, chance)]
            for other in others:
                share = rest * draw.uniform(0.3, 0.6)
                rest -= share
                alternatives.append((other, share))
            yield Step(token, text, math.log(chance), sorted(alternatives, key=lambda a: -a[1]), forced)

    def reply(
        self,
        messages: list[dict[str, Any]],
        sampling: Any,
        max_tokens: int,
        tools: Mapping[str, Callable[[str], str]],
    ) -> Iterator[Step | ToolStep]:
        with self.lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.calls.append({"messages": messages, "sampling": sampling, "max_tokens": max_tokens})
        try:
            tokenizer, left = self.tokenizer, max_tokens
            question = str(messages[-1]["content"])
            if question.startswith("calculate "):
                expression = question.removeprefix("calculate ")
                result = tools["calculator"](expression)
                yield from self.say([tokenizer.tool_call, *tokenizer.encode(expression), tokenizer.end_of_turn])
                yield ToolStep("calculator", expression, result)
                special = tokenizer.special
                forced = [
                    special["<|tool|>"],
                    *tokenizer.encode(result),
                    tokenizer.end_of_turn,
                    special["<|assistant|>"],
                ]
                yield from self.say(forced, forced=True)
                text = f"{expression} = {result}"
            elif question == "fail":
                raise RuntimeError("secret detail")
            else:
                text = self.script(question)
            ids = [*tokenizer.encode(text), tokenizer.end_of_turn]
            yield from self.say(ids[:left])
        finally:
            with self.lock:
                self.running -= 1


def fake_reply(
    lm: FakeModel, messages: Any, *, sampling: Any, max_tokens: int, tools: Any, top: int
) -> Iterator[Step | ToolStep]:
    return lm.reply(messages, sampling, max_tokens, tools)


def fake_writing(lm: FakeModel, prompt: list[int], sampling: Any, max_tokens: int) -> Iterator[Step]:
    lm.calls.append({"prompt": prompt, "sampling": sampling, "max_tokens": max_tokens})
    text = lm.script(lm.tokenizer.decode(prompt[1:]))
    yield from lm.say([*lm.tokenizer.encode(text), lm.tokenizer.end_of_text][:max_tokens])


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(TokenizerSettings(vocab_size=500), SENTENCES * 3, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server run fake models."""
    monkeypatch.setattr(speech, "reply", fake_reply)
    monkeypatch.setattr(speech, "written_on", fake_writing)


@pytest.fixture
def lm(tokenizer: Tokenizer, scripted: None) -> FakeModel:
    return FakeModel(tokenizer)


@dataclass
class Live:
    """A server that runs in a thread of this process."""

    url: str
    app: Any
    lm: FakeModel
    run: Path

    @property
    def taken(self) -> int:
        return self.app.state.service.slots.taken

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20, **options)


Serve = Callable[..., Live]


@pytest.fixture
def serve_live(lm: FakeModel, tmp_path: Path) -> Iterator[Serve]:
    """Start servers with `serve_live(access=..., limits=..., page=...)`; they are stopped at the end of the test."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(offers: list[Offer] | None = None, **options: Any) -> Live:
        load: Any = Lazy(lambda: lm)  # type: ignore[arg-type]
        run = tmp_path / "demo"
        run.mkdir(exist_ok=True)
        names = [("demo", "sft"), ("demo:pretrain", "pretrain"), ("demo:sft", "sft")]
        scripted = [Offer(name, load, "demo", stage, run) for name, stage in names]
        app = create_app(offers or scripted, **options)
        listener = listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.005)
        return Live(f"http://127.0.0.1:{listener.getsockname()[1]}", app, lm, run)

    yield start
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join(10)


@pytest.fixture
def live(serve_live: Serve) -> Live:
    return serve_live(limits=Limits(answering=2, waiting=2))
