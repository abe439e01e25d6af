"""A stand-in for vLLM: the names that are used of it, over a small model of ours that writes one text at a time."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from cutaway.infer import LanguageModel, load
from cutaway.infer.engines import vllm_library
from cutaway.model import ModelConfig, Transformer, save_model
from cutaway.tokens import TokenizerSettings, train_tokenizer

TEXTS = ["In the beginning God created the heaven and the earth.", '{"a": [1, 2]} café 日本語'] * 30


@pytest.fixture(scope="session")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A model in a directory, with random weights."""
    directory = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=340), TEXTS, directory)
    torch.manual_seed(0)
    model = Transformer(ModelConfig(tokenizer.vocab_size, 2, 32, 2, 1, 16, 64, context=128))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    save_model(model, directory, token_ids=tokenizer.token_ids)
    return load(directory)


class SamplingParams(SimpleNamespace):
    """Settings, refused and changed as vLLM does."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        if not 0 <= self.temperature <= 2 or not 0 < self.top_p <= 1 or self.max_tokens < 1:
            raise ValueError("vLLM refuses these settings")


@dataclass
class StandIn:
    """What was asked of vLLM."""

    arguments: Any = None
    requests: list[SimpleNamespace] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    stopped: bool = False
    seconds_a_token: float = 0.0
    failing: Callable[[], Exception] | None = None
    model: Any = None


class AsyncLLM:
    """Writes greedily, whatever the temperature, in pieces of one, two and three tokens."""

    record = StandIn()

    def __init__(self, arguments: Any) -> None:
        asyncio.get_running_loop()
        self.record.arguments = arguments
        self.lm = load(arguments.model)

    @classmethod
    def from_engine_args(cls, arguments: Any) -> AsyncLLM:
        return cls(arguments)

    def shutdown(self) -> None:
        self.record.stopped = True

    async def generate(
        self, prompt: dict[str, Any], params: Any, request_id: str, *, priority: int = 0
    ) -> AsyncIterator[Any]:
        self.record.requests.append(SimpleNamespace(prompt=prompt, params=params, id=request_id, priority=priority))
        try:
            async for output in self.outputs(prompt["prompt_token_ids"], params):
                yield output
        except (asyncio.CancelledError, GeneratorExit):
            self.record.aborted.append(request_id)
            raise

    async def outputs(self, ids: list[int], params: Any) -> AsyncIterator[Any]:
        assert len(ids) < self.lm.config.context
        room = min(params.max_tokens, self.lm.config.context - len(ids))
        prompt, ids = len(ids), list(ids)
        told: Any = None
        if (most := params.prompt_logprobs) is not None:
            told = [None, *map(place, self.logprobs(ids)[:-1], ids[1:], [most] * (prompt - 1))]
        tokens: list[int] = []
        places: list[Any] = []
        sizes = itertools.cycle((1, 2, 3))
        size = next(sizes)
        for written in range(1, room + 1):
            await asyncio.sleep(self.record.seconds_a_token)
            if self.record.failing and written == 3:
                raise self.record.failing()
            raw = self.logprobs(ids)[-1]
            scores = raw.clone()
            for token, bias in (params.logit_bias or {}).items():
                scores[token] += bias
            token = int(scores.argmax())
            tokens.append(token)
            places.append(place(raw, token, params.logprobs))
            ids.append(token)
            finished = token in params.stop_token_ids or written == room
            if finished or len(tokens) == size:
                choice = SimpleNamespace(token_ids=tokens, logprobs=places)
                yield SimpleNamespace(
                    outputs=[choice], prompt_logprobs=told, num_cached_tokens=prompt // 16, finished=finished
                )
                tokens, places, told, size = [], [], None, next(sizes)
            if finished:
                return

    @torch.inference_mode()
    def logprobs(self, ids: list[int]) -> torch.Tensor:
        """After each token, `[position, vocab]`."""
        return self.lm.model(torch.tensor([ids]))[0].log_softmax(-1)


def place(logprobs: torch.Tensor, token: int, most: int) -> dict[int, Any]:
    """The token's log-probability, and those of the `most` likeliest."""
    those = (token, *logprobs.topk(most).indices.tolist())
    return {each: SimpleNamespace(logprob=float(logprobs[each])) for each in those}


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """The stand-in, installed as `vllm`; it gives what was asked of it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(AsyncLLM, "record", StandIn())
    contents: dict[str, dict[str, Any]] = {
        "vllm": {},
        "vllm.config": {"StructuredOutputsConfig": SimpleNamespace},
        "vllm.engine": {},
        "vllm.engine.arg_utils": {"AsyncEngineArgs": SimpleNamespace},
        "vllm.exceptions": {"VLLMClientError": type("VLLMClientError", (Exception,), {})},
        "vllm.sampling_params": {
            "SamplingParams": SamplingParams,
            "StructuredOutputsParams": SimpleNamespace,
            "RequestOutputKind": SimpleNamespace(DELTA="delta"),
        },
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.async_llm": {"AsyncLLM": AsyncLLM},
    }
    for name, names in contents.items():
        module = ModuleType(name)
        module.__dict__.update(names, __path__=[])
        monkeypatch.setitem(sys.modules, name, module)
    vllm_library.library.cache_clear()
    yield AsyncLLM.record
    vllm_library.library.cache_clear()
