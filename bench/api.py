"""Requests made from the server's own OpenAPI document, as it wants them and as it forbids them, sent to the server.

    .venv/bin/python bench/api.py                      # 20,000 to a random model; takes an hour or so
    .venv/bin/python bench/api.py --examples 500 runs/demo

`schemathesis` makes them. It fails (exit code 1) on any 5xx, on a status, a type or a shape that the document does not
name, and where a request that the document forbids is carried out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
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
SETTINGS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}
BATCH = 250
"""Examples from one seed."""


def send(operation: Any, mode: Any, count: int, name: str, found: Counter[str]) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(**SETTINGS, max_examples=count)
    def holds(case: Any) -> None:
        if (
            isinstance(case.body, dict)
            and isinstance(case.body.get("model"), str)
            and 0 < len(case.body["model"]) <= 200
        ):
            case.body["model"] = name  # else hardly one request would get past its name
        response = case.call()
        found[f"{response.status_code}"] += 1
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
    failed, found, began = 0, Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        server = Server(given_.model or random_model(Path(name)), 0, Path(name))
        try:
            document = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
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
                            send(operation, mode, min(left, BATCH), server.name, found)
                        except Exception as error:
                            failed += 1
                            print(f"{operation.label}: {error}", file=sys.stderr)
                print(f"{operation.label}: {sum(found.values()):,} sent, {failed} failed", flush=True)
        finally:
            server.stop()
    print(f"{sum(found.values()):,} requests in {time.monotonic() - began:,.0f} s, {failed} failures: {dict(found)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
