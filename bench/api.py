"""Requests made from the server's own OpenAPI document, as it wants them and as it forbids them, sent to the server.

    .venv/bin/python bench/api.py                      # 20,000 to a random model; takes an hour or so
    .venv/bin/python bench/api.py --examples 500 runs/demo

`schemathesis` makes them, some from the document's own examples. It fails (exit code 1) on any 5xx, on a status, a type
or a shape that the document does not name, where a request that the document forbids is carried out, and where a field
was never in a request that was.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from load import Server, random_model
from schemathesis.specs.openapi import checks

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
]
CONFIG = schemathesis.Config.from_dict(
    {
        "request-timeout": 120,
        # A body that is too large is refused as such, whatever else is wrong with it.
        "checks": {"negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 413, 429]}},
    }
)
SETTINGS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}
BATCH = 250
"""Examples from one seed."""
NEEDED = ("model", "messages", "prompt", "text", "input", "tokens")
TOGETHER = (
    ("use_beam_search", "beam_width", "length_penalty", "early_stopping"),
    ("penalty_alpha", "top_k"),
    ("logprobs", "top_logprobs", "echo"),
    ("tools", "tool_choice", "parallel_tool_calls"),
    ("stream", "stream_options"),
    ("best_of", "n"),
)
"""Fields that mean something with one another; the first of some must be on for the others to be taken."""
NEVER = ("dimensions",)
"""Fields of which only one value is taken, which no chance hits."""
OF_A_RUN = "/api/runs/"
"""Where operations need a run in the making, which this bench has none of, and are never carried out."""
FEW_ENOUGH = 3000
"""Requests below which chance may miss a field of which the document gives no example."""
PROVEN = 0.3
"""Share of the requests that are one of the document's own examples with some of the fields that chance made."""


KEPT = "0" * 32
"""The conversation that the example of POST /api/chat keeps."""


@dataclass
class Found:
    """What came of the requests."""

    statuses: Counter[str] = field(default_factory=Counter)
    asked: set[tuple[str, str]] = field(default_factory=set)
    """Operations with the fields that requests to them had."""
    carried_out: set[tuple[str, str]] = field(default_factory=set)
    """Those of them in requests that were answered with 200."""


def thinned(body: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A body with what it must have and little else: of forty settings at a time some two nearly always clash."""
    alone = [(name,) for name in body if name not in NEEDED and not any(name in group for group in TOGETHER)]
    groups = [group for group in TOGETHER if any(name in body for name in group)] + alone
    kept = {name for group in chance.sample(groups, min(len(groups), 2)) for name in group}
    thin = {name: value for name, value in body.items() if name in NEEDED or name in kept}
    for name in ("use_beam_search", "stream"):
        if thin.keys() & next(set(group) for group in TOGETHER if name in group):
            thin[name] = True
    return thin


def without_needed(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in NEEDED}


def examples_of(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The examples of requests in an OpenAPI document, by operation."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if reference := content.get("schema", {}).get("$ref"):
                schema = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
                found[f"{method.upper()} {path}"] = schema.get("examples", [])
    return found


def send(
    operation: Any,
    mode: Any,
    count: int,
    name: str,
    proven: list[dict[str, Any]],
    found: Found,
    chance: random.Random,
) -> None:
    left = list(proven) if mode is schemathesis.GenerationMode.POSITIVE else []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(**SETTINGS, max_examples=count)
    def holds(case: Any) -> None:
        body = case.body if isinstance(case.body, dict) else {}
        if isinstance(body.get("model"), str) and 0 < len(body["model"]) <= 200:
            body["model"] = name  # else hardly one request would get past its name
        if body and mode is schemathesis.GenerationMode.POSITIVE and chance.random() < 0.7:
            body = case.body = thinned(body, chance)
        if mode is schemathesis.GenerationMode.POSITIVE and proven and (left or chance.random() < PROVEN):
            # Each as it stands, and then with something else in it.
            example = left.pop() if left else {**chance.choice(proven), **without_needed(thinned(body, chance))}
            body = case.body = {**example, **({"model": name} if "model" in example else {})}
        if "conversation" in (case.path_parameters or {}) and chance.random() < PROVEN:
            case.path_parameters["conversation"] = KEPT
        response = case.call()
        found.statuses[f"{response.status_code}"] += 1
        if mode is schemathesis.GenerationMode.POSITIVE:
            fields = {(operation.label, key) for key, value in body.items() if value is not None and key not in NEVER}
            found.asked |= fields
            found.carried_out |= fields if response.status_code < 300 else set()
        case.validate_response(response, checks=CHECKS)

    holds()


def modes_of(operation: Any) -> list[Any]:
    """What can be sent to it: a name in a path may be any text, so that nothing is forbidden there."""
    modes = schemathesis.GenerationMode
    return list(modes) if operation.body or operation.query else [modes.POSITIVE]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", nargs="?", help="what to serve; a random model where none is named")
    options.add_argument("--examples", type=int, default=20_000, help="requests in all")
    given_ = options.parse_args()
    failed, found, began, chance = 0, Found(), time.monotonic(), random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        model = given_.model or random_model(Path(name))
        server = Server([model], 0, Path(name), history=Path(name) / "conversations.db")
        try:
            document = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json", config=CONFIG)
            proven = examples_of(document.raw_schema)
            operations = [result.ok() for result in document.get_all_operations()]
            # The conversation that others ask for is kept first, and deleted last.
            operations.sort(key=lambda each: (each.label != "POST /api/chat", each.method.upper() == "DELETE"))
            modes = {operation.label: modes_of(operation) for operation in operations}
            # Those with a body have the most to get wrong.
            weights = {operation.label: 12 if operation.body else 1 for operation in operations}
            total = sum(weights.values())
            for operation in operations:
                share = given_.examples * weights[operation.label] // total // len(modes[operation.label])
                for mode in modes[operation.label]:
                    for left in range(share, 0, -BATCH):
                        try:
                            send(
                                operation,
                                mode,
                                min(left, BATCH),
                                server.name,
                                proven.get(operation.label, []),
                                found,
                                chance,
                            )
                        except (Exception, BaseExceptionGroup) as error:
                            failed += 1
                            print(f"{operation.label}: {error}", file=sys.stderr)
                print(f"{operation.label}: {sum(found.statuses.values()):,} sent, {failed} failed", flush=True)
        finally:
            server.stop()
    sent, missed = (
        sum(found.statuses.values()),
        sorted((label, key) for label, key in found.asked - found.carried_out if OF_A_RUN not in label),
    )
    print(f"{sent:,} requests in {time.monotonic() - began:,.0f} s, {failed} failures: {dict(found.statuses)}")
    for label, key in missed:
        print(f"{label}: {key} was in no request that was carried out", file=sys.stderr)
    sure = sent > FEW_ENOUGH or any(proven.get(label) for label, _ in missed)
    sys.exit(1 if failed or (missed and sure) else 0)


if __name__ == "__main__":
    main()
