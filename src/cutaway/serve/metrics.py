"""Numbers about the server for Prometheus."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cutaway.infer.figures import Load

if TYPE_CHECKING:
    from cutaway.serve.record import Record

REFUSED = (401, 403, 413, 429, 503)
"""Statuses of requests that were not let in."""
SPEED_SECONDS = 10.0
"""Tokens a second are the mean over the last so many seconds."""
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Speed:
    """Tokens a second over the last while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ticks: deque[tuple[int, int]] = deque()

    def add(self) -> None:
        """One more token."""
        second = int(self._clock())
        count = self._ticks.pop()[1] if self._ticks and self._ticks[-1][0] == second else 0
        self._ticks.append((second, count + 1))
        self._forget()

    def now(self) -> float:
        """Tokens a second."""
        self._forget()
        return sum(count for _, count in self._ticks) / SPEED_SECONDS

    def _forget(self) -> None:
        while self._ticks and self._ticks[0][0] < self._clock() - SPEED_SECONDS:
            self._ticks.popleft()


class Engines(Collector):
    """How things stand with the engines, asked when somebody wants to know."""

    def __init__(self, loads: Callable[[], Mapping[str, Load]]) -> None:
        self.loads = loads

    def collect(self) -> Iterable[Metric]:
        """The numbers of every engine, by its model."""
        gauges = {
            "running": (GaugeMetricFamily, "Sequences that are being written: the size of the batch."),
            "waiting": (GaugeMetricFamily, "Sequences in line: the length of the queue."),
            "cache_use": (GaugeMetricFamily, "Share of the pages for keys and values that sequences use."),
            "steps": (CounterMetricFamily, "Passes over the model."),
            "rows": (CounterMetricFamily, "Sequences in all steps; divided by the steps, the mean batch."),
            "prefix_tokens_asked": (CounterMetricFamily, "Tokens that sequences came with."),
            "prefix_tokens_found": (CounterMetricFamily, "Tokens of them that had been computed before."),
            "set_back": (CounterMetricFamily, "Sequences that lost their pages to others for a while."),
        }
        families = {name: kind(f"cutaway_{name}", told, labels=["model"]) for name, (kind, told) in gauges.items()}
        for model, load in self.loads().items():
            values = {
                "running": load.running,
                "waiting": load.waiting,
                "cache_use": load.pages_used / load.pages,
                "steps": load.figures.steps,
                "rows": load.figures.rows,
                "prefix_tokens_asked": load.tokens_asked,
                "prefix_tokens_found": load.tokens_found,
                "set_back": load.set_back,
            }
            for name, value in values.items():
                families[name].add_metric([model], value)
        return families.values()


class Metrics:
    """The numbers of one server."""

    def __init__(self, loads: Callable[[], Mapping[str, Load]], searches: Callable[[], int]) -> None:
        """See the class.

        Args:
            loads: how things stand with every engine, by the name of its model.
            searches: how many searches there are.
        """
        registry = self.registry = CollectorRegistry()
        registry.register(Engines(loads))
        ProcessCollector(registry=registry)
        self.speed = Speed()
        self.requests = Counter("cutaway_requests", "Requests answered.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "cutaway_request_seconds", "Time to the end of the answer.", ["path"], registry=registry, buckets=SECONDS
        )
        self.first = Histogram(
            "cutaway_first_token_seconds", "Time to the first token.", ["model"], registry=registry, buckets=SECONDS
        )
        self.read = Counter("cutaway_prompt_tokens", "Tokens of prompts.", ["model"], registry=registry)
        self.written = Counter("cutaway_completion_tokens", "Tokens of answers.", ["model"], registry=registry)
        self.answers = Counter("cutaway_answers", "Answers, by why they ended.", ["finish"], registry=registry)
        self.rejections = Counter("cutaway_rejections", "Requests refused, by why.", ["reason"], registry=registry)
        speed = Gauge("cutaway_tokens_per_second", "Tokens written a second, over the last ten.", registry=registry)
        speed.set_function(self.speed.now)
        searching = Gauge("cutaway_searches", "Searches, the one at work and those in line.", registry=registry)
        searching.set_function(searches)

    def request(self, path: str, record: Record) -> None:
        """Count a request that has ended."""
        self.requests.labels(path, str(record.status)).inc()
        self.seconds.labels(path).observe(time.monotonic() - record.began)
        if record.error is not None and record.status in REFUSED:
            self.rejections.labels(record.error).inc()
        if record.model is not None:
            self.read.labels(record.model).inc(record.prompt_tokens)
            self.written.labels(record.model).inc(record.completion_tokens)
            if record.first_token is not None:
                self.first.labels(record.model).observe(record.first_token)
        for finish in record.finish:
            self.answers.labels(finish).inc()

    def text(self) -> bytes:
        """All of it in Prometheus's format."""
        return generate_latest(self.registry)
