"""Errors as OpenAI's clients expect them: 4xx with a reason a person can act on, 500 without a trace."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from cutaway.runs import BadInput, CutawayError
from cutaway.serve.requests import OpenAIRequest
from cutaway.serve.shapes import ErrorShape

log = logging.getLogger(__name__)


class ApiError(Exception):
    """A request that cannot be served, told in OpenAI's error shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers

    def body(self) -> dict[str, Any]:
        """The JSON object OpenAI's clients read: `{"error": {"message", "type", "param", "code"}}`."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self, scope: Scope) -> JSONResponse:
        """The whole answer; the request's record is told."""
        if (record := scope.get("state", {}).get("record")) is not None:
            record.error = self.code or str(self.status)
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers)


INTERNAL = "the server failed while answering; its log has the reason"

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorShape, "description": description}
    for status, description in {
        400: "The request is at fault; the message says where.",
        401: "No key, or a wrong one.",
        403: "A request from another site, under another name, or for a model that the key is not for.",
        404: "There is nothing of that name.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        429: "The server is busy, or a limit is used up; the header Retry-After says for how long.",
        500: "The server failed.",
        503: "The server is shutting down, or found no time for the answer.",
    }.items()
}
"""For the OpenAPI document: how any request can be refused."""


def describe_failure(error: BaseException) -> ApiError:
    """What a client may know of an error that came up while generating: our own one line, or nothing."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BadInput):
        return ApiError(400, str(error), code="invalid_value")
    log.error("answering failed", exc_info=error)
    return ApiError(500, str(error) if isinstance(error, CutawayError) else INTERNAL, code="server_error")


def add_error_handlers(app: FastAPI) -> None:
    """Make every error a route raises take OpenAI's shape; the gate does so for those that nobody foresaw."""

    @app.exception_handler(ApiError)
    def _api_error(request: Request, error: ApiError) -> JSONResponse:
        return error.response(request.scope)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        if tuple(error.errors()[0]["loc"]) == ("body",) and "json" not in request.headers.get("content-type", ""):
            message = "the body is not marked as JSON: send it with the header Content-Type: application/json"
            return ApiError(400, message, code="invalid_json").response(request.scope)
        return _from_validation(error).response(request.scope)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers) if error.headers else None
        if error.status_code == 404:
            # Nothing in a base address that a client was given wrongly says what would be right.
            message = f"there is no {request.url.path[:100]} here; the API is under /v1, and /openapi.json lists it"
            return ApiError(404, message, code="unknown_url", headers=headers).response(request.scope)
        if error.status_code == 405 and headers and (allowed := headers.get("allow") or headers.get("Allow")):
            message = f"{request.url.path[:100]} does not take {request.method[:20]}; it takes {allowed}"
            return ApiError(405, message, code="method_not_allowed", headers=headers).response(request.scope)
        if error.status_code == 400 and error.__cause__ is not None:
            return _unreadable(error.__cause__).response(request.scope)
        return ApiError(error.status_code, str(error.detail), headers=headers).response(request.scope)

    @app.exception_handler(CutawayError)
    def _told(request: Request, error: CutawayError) -> JSONResponse:
        return describe_failure(error).response(request.scope)


def _unreadable(cause: BaseException) -> ApiError:
    """What kept a body from being read as JSON, as far as FastAPI passes it on as an error of its own."""
    if isinstance(cause, UnicodeDecodeError):
        wrong = f"byte {cause.start} (0x{cause.object[cause.start]:02x}) is wrong" if cause.object else "it is empty"
        return ApiError(400, f"the body is not valid {cause.encoding.upper()}: {wrong}", code="invalid_json")
    if isinstance(cause, RecursionError):
        return ApiError(
            400, "the body is nested too deeply: too many lists and objects in one another", code="invalid_json"
        )
    return ApiError(400, f"the body cannot be read as JSON: {cause}"[:300], code="invalid_json")


def _telling(errors: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first complaint; of a field that may be of several types, that about the one which was given."""
    field = errors[0]["loc"][:2]
    about = [each for each in errors if each["loc"][:2] == field]
    return next((each for each in about if not each["type"].endswith("_type")), errors[0])


def _from_validation(error: RequestValidationError) -> ApiError:
    """The first of pydantic's complaints, as one sentence; the offending value is not quoted back."""
    first = _telling(error.errors())
    kind, context = first["type"], first.get("ctx") or {}
    if kind == "json_invalid":
        return ApiError(400, f"the body is not valid JSON: {context.get('error', 'syntax error')}", code="invalid_json")
    # Names of union branches ("str", "list[...]", a shape's) are pydantic's own and mean nothing to a caller.
    path = [part for part in first["loc"][1:] if isinstance(part, int) or part.replace("_", "").isalnum()]
    # And a shape that is chosen by a tag has the tag in its path, beside the field of that name.
    path = [part for at, part in enumerate(path) if isinstance(part, int) or part != path[at - 1] or not at]
    while path and (path[-1] in ("str", "list", "int") or str(path[-1])[:1].isupper()):
        path.pop()
    param = context.get("param") or ".".join(str(part) for part in path) or None
    message = first["msg"] if kind in ("unsupported", "unknown", "value") else f"{param or 'the body'}: {first['msg']}"
    if isinstance(given := first.get("input"), float) and not math.isfinite(given):
        known = OpenAIRequest.model_json_schema()["properties"].get(param, {})
        shape = next((each for each in known.get("anyOf", ()) if each.get("type") == "number"), {})
        words = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
        must = (
            " and ".join(f"{word} {shape[key]:g}" for key, word in words.items() if key in shape) or "a finite number"
        )
        message = f"{param or 'a number'} is {given}; it must be {must}"
    code = {"missing": "missing_required_parameter", "unknown": "unknown_parameter", "unsupported": "unsupported"}
    # A fault of the texts in the body may be as long as they are.
    return ApiError(400, " ".join(message.split())[:500], param=param, code=code.get(kind, "invalid_value"))
