"""Requests made from the server's own OpenAPI document, as it wants them and as it forbids them, sent to the server.

    .venv/bin/python bench/api.py                      # 20,000 to a random model; takes an hour or so
    .venv/bin/python bench/api.py --examples 500 runs/demo

`schemathesis` makes them. It fails (exit code 1) on any 5xx, on a status, a type or a shape that the document does not
name, where a request that the document forbids is carried out, and where a field was never in a request that was.
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
FEW_ENOUGH = 3000
"""Requests below which a field may be missed by chance."""


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


def send(operation: Any, mode: Any, count: int, name: str, found: Found, chance: random.Random) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(**SETTINGS, max_examples=count)
    def holds(case: Any) -> None:
        body = case.body if isinstance(case.body, dict) else {}
        if isinstance(body.get("model"), str) and 0 < len(body["model"]) <= 200:
            body["model"] = name  # else hardly one request would get past its name
        if body and mode is schemathesis.GenerationMode.POSITIVE and chance.random() < 0.7:
            body = case.body = thinned(body, chance)
        response = case.call()
        found.statuses[f"{response.status_code}"] += 1
        if mode is schemathesis.GenerationMode.POSITIVE:
            fields = {(operation.label, key) for key, value in body.items() if value is not None and key not in NEVER}
            found.asked |= fields
            found.carried_out |= fields if response.status_code == 200 else set()
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
        server = Server(given_.model or random_model(Path(name)), 0, Path(name))
        try:
            document = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json", config=CONFIG)
            operations = [result.ok() for result in document.get_all_operations()]
            modes = {operation.label: modes_of(operation) for operation in operations}
            # Those with a body have the most to get wrong.
            weights = {operation.label: 12 if operation.body else 1 for operation in operations}
            total = sum(weights.values())
            for operation in operations:
                share = given_.examples * weights[operation.label] // total // len(modes[operation.label])
                for mode in modes[operation.label]:
                    for left in range(share, 0, -BATCH):
                        try:
                            send(operation, mode, min(left, BATCH), server.name, found, chance)
                        except Exception as error:
                            failed += 1
                            print(f"{operation.label}: {error}", file=sys.stderr)
                print(f"{operation.label}: {sum(found.statuses.values()):,} sent, {failed} failed", flush=True)
        finally:
            server.stop()
    sent, missed = sum(found.statuses.values()), sorted(found.asked - found.carried_out)
    print(f"{sent:,} requests in {time.monotonic() - began:,.0f} s, {failed} failures: {dict(found.statuses)}")
    for label, key in missed:
        print(f"{label}: {key} was in no request that was carried out", file=sys.stderr)
    sys.exit(1 if failed or (missed and sent > FEW_ENOUGH) else 0)


if __name__ == "__main__":
    main()
