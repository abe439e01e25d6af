"""Errors as OpenAI's clients expect them: 4xx with a reason a person can act on, 500 without a trace."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cutaway.runs import CutawayError

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
        """The JSON object OpenAI's clients read."""
        return error_body(self.status, self.message, param=self.param, code=self.code)

    def response(self) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers)


def error_body(status: int, message: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """`{"error": {"message", "type", "param", "code"}}`, with the type OpenAI gives to this HTTP status."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


INTERNAL = "the server failed while answering; its log has the reason"


def describe_failure(error: BaseException) -> ApiError:
    """What a client may know of an error that came up while generating: our own one line, or nothing."""
    if isinstance(error, ApiError):
        return error
    log.error("answering failed", exc_info=error)
    return ApiError(500, str(error) if isinstance(error, CutawayError) else INTERNAL, code="server_error")


def add_error_handlers(app: FastAPI) -> None:
    """Make every error a route raises take OpenAI's shape; the gate does so for those that nobody foresaw."""

    @app.exception_handler(ApiError)
    def _api_error(_: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        if tuple(error.errors()[0]["loc"]) == ("body",) and "json" not in request.headers.get("content-type", ""):
            message = "the body is not marked as JSON: send it with the header Content-Type: application/json"
            return ApiError(400, message, code="invalid_json").response()
        return _from_validation(error).response()

    @app.exception_handler(HTTPException)
    def _http(_: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers) if error.headers else None
        return ApiError(error.status_code, str(error.detail), headers=headers).response()

    @app.exception_handler(CutawayError)
    def _told(_: Request, error: CutawayError) -> JSONResponse:
        return describe_failure(error).response()


def _from_validation(error: RequestValidationError) -> ApiError:
    """The first of pydantic's complaints, as one sentence; the offending value is not quoted back."""
    first = error.errors()[0]
    kind, context = first["type"], first.get("ctx") or {}
    if kind == "json_invalid":
        return ApiError(400, f"the body is not valid JSON: {context.get('error', 'syntax error')}", code="invalid_json")
    # Names of union branches ("str", "list[...]") are pydantic's own and mean nothing to a caller.
    path = [part for part in first["loc"][1:] if isinstance(part, int) or part.replace("_", "").isalnum()]
    while path and path[-1] in ("str", "list", "TextPart"):
        path.pop()
    param = context.get("param") or ".".join(str(part) for part in path) or None
    message = first["msg"] if kind in ("unsupported", "unknown", "value") else f"{param or 'the body'}: {first['msg']}"
    code = {"missing": "missing_required_parameter", "unknown": "unknown_parameter", "unsupported": "unsupported"}
    return ApiError(400, message, param=param, code=code.get(kind, "invalid_value"))
