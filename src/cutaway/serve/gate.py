"""What every request passes before anything reads it: who may ask, from where, and how much."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cutaway.serve.errors import ApiError, describe_failure
from cutaway.serve.limits import Limits

SESSION_COOKIE = "cutaway_session"
GUARDED = ("/v1", "/api", "/report", "/openapi.json")
"""Where a token is asked for. The page's own files hold nothing secret, and must load to ask for the token."""

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types svelte-trusted-html",
    )
)
REPORT_POLICY = "; ".join(
    (
        "sandbox",
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "font-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""A report quotes what models wrote: it is shown without scripts, forms or anything from elsewhere."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": PAGE_POLICY,
}


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address, IPv6 with or without brackets) can only be this machine."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@dataclass(frozen=True)
class Access:
    """Who may ask."""

    token: str | None = None
    """Bearer token that every request must carry; None lets in whoever reaches the server."""
    local_only: bool = True
    """The server is bound to loopback, so a request for any other host name comes by DNS rebinding."""
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    """What the page's cookie holds once it has shown the token; new with every start."""

    def admits(self, headers: Headers) -> bool:
        """Whether a request carries the token, or the cookie given in exchange for it."""
        if self.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secrets.compare_digest(given.strip().encode(), self.token.encode()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(SESSION_COOKIE)
        except CookieError:
            return False
        return cookie is not None and secrets.compare_digest(cookie.value.encode(), self.session.encode())


class Gate:
    """ASGI middleware: checks Host, Origin and token, bounds the body, sets the security headers, hides failures."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits) -> None:
        self.app = app
        self.access = access
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._check(scope)
        except ApiError as error:
            await error.response()(scope, receive, send_with_headers)
            return
        try:
            await self.app(scope, self._bounded(receive), send_with_headers)
        except Exception as error:
            failure = describe_failure(error)
            if started:  # too late for a status; the connection breaks off instead
                raise
            await failure.response()(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host, path = headers.get("host", ""), scope["path"]
        if self.access.local_only and not is_loopback(_hostname(host)):
            raise ApiError(403, "this server answers only to localhost; ask for it by that name", code="wrong_host")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise ApiError(403, "requests from other sites are not answered", code="wrong_origin")
        guarded = any(path == place or path.startswith(place + "/") for place in GUARDED)
        if guarded and headers.get("sec-fetch-site") == "cross-site":
            raise ApiError(403, "requests from other sites are not answered", code="wrong_origin")
        if guarded and not self.access.admits(headers):
            raise ApiError(
                401,
                "this server needs a token: send the header Authorization: Bearer TOKEN",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise ApiError(400, "the Content-Length header is not a number")
        if len(length) > 18 or int(length) > self.limits.body_bytes:
            raise ApiError(413, f"the body is over the limit of {self.limits.body_bytes} bytes", code="too_large")

    def _bounded(self, receive: Receive) -> Receive:
        """`receive`, with a bound on the body's size (it may come without a length) and on the time it takes."""
        received, complete = 0, False
        deadline = asyncio.get_running_loop().time() + self.limits.body_seconds

        async def bounded() -> Message:
            nonlocal received, complete
            if complete:  # from here on only a hang-up can come, and that may take its time
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body did not arrive in time") from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self.limits.body_bytes:
                raise HTTPException(413, f"the body is over the limit of {self.limits.body_bytes} bytes")
            return message

        return bounded


def _hostname(host: str) -> str:
    """The Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
