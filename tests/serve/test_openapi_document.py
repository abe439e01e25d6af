"""The server keeps to its OpenAPI document, whatever it is sent; `bench/api.py` sends more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from cutaway.assistant.conversations import Conversations
from cutaway.infer import LanguageModel
from cutaway.model import ModelConfig, Transformer
from cutaway.serve import Limits, create_app
from cutaway.tokens import Tokenizer

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
]
EXAMPLES = 12
"""Of requests as the document wants them, and as many that it forbids, to each operation."""
OPERATIONS = [
    (method, path) for path, operations in create_app([]).openapi()["paths"].items() for method in operations
]  # fmt: skip


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel("demo", Transformer(ModelConfig.from_depth(1, tokenizer.vocab_size, context=512)), tokenizer)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_answer_is_a_failure_or_another_than_described(serve_live: Any, method: str, path: str) -> None:
    live = serve_live(limits=Limits(waiting=400, drain_seconds=1))
    document = schemathesis.openapi.from_url(f"{live.url}/openapi.json")
    operation = document[path][method.upper()]
    can_be_wrong = operation.body or operation.query  # a name in the path may be any text
    for mode in schemathesis.GenerationMode if can_be_wrong else [schemathesis.GenerationMode.POSITIVE]:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def holds(case: Any) -> None:
            asked = case.body.get("model") if isinstance(case.body, dict) else None
            if isinstance(asked, str) and 0 < len(asked) <= 200:
                case.body["model"] = "demo"  # else hardly one request would get past its name
            response = case.call()
            # A body beyond all bounds is refused before anybody looks into it.
            case.validate_response(response, checks=CHECKS[:-1] if response.status_code == 413 else CHECKS)

        holds()


def requests_of(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and the body's schema of every operation with a body."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
                found.append((method, path, document["components"]["schemas"][name]))
    return found


def test_the_examples_in_the_document_are_carried_out(serve_live: Any, tmp_path: Path) -> None:
    live = serve_live(limits=Limits(drain_seconds=1), conversations=Conversations(tmp_path / "c.db"))
    asked = 0
    with live.client() as http:
        # The one that keeps a conversation goes before the one that names it.
        for method, path, schema in sorted(
            requests_of(live.app.openapi()), key=lambda each: ["post", "patch"].index(each[0])
        ):
            for body in schema.get("examples", ()):
                response = http.request(method, path.replace("{conversation}", "0" * 32), json=body)
                assert response.is_success, (path, body, response.text)
                assert '"error"' not in response.text
                asked += 1
    assert asked > 20


def test_the_examples_hold_every_field_of_openais_requests_of_looks_inside_and_of_the_atlas() -> None:
    for _, path, schema in requests_of(create_app([]).openapi()):
        # A digit is 784 numbers.
        if path.startswith(("/v1/", "/api/inside", "/api/atlas", "/tokenize")) and path != "/api/atlas/digit":
            held = {name for body in schema["examples"] for name in body}
            # Of `dimensions` a model takes its own number alone.
            assert held == schema["properties"].keys() - {"dimensions"}, path


def test_no_document_says_422() -> None:
    for path, operations in create_app([]).openapi()["paths"].items():
        for operation in operations.values():
            assert "422" not in operation["responses"], path
            assert list(operation["responses"]["400"]["content"]) == ["application/json"], path
