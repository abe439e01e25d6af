"""What every request passes before anything reads it: who may ask, from where, and how much."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cutaway.serve.errors import ApiError, describe_failure
from cutaway.serve.keys import Keys
from cutaway.serve.limits import Limits
from cutaway.serve.rates import Caller, Rates
from cutaway.serve.record import record_of

SESSION_COOKIE = "cutaway_session"
GUARDED = ("/v1", "/api", "/report", "/openapi.json", "/tokenize", "/detokenize", "/metrics")
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
        "trusted-types svelte-trusted-html dompurify",
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
    """Bearer token that every request must carry; None lets in whoever reaches the server, unless there are keys."""
    local_only: bool = True
    """The server is bound to loopback, so a request for any other host name comes by DNS rebinding."""
    keys: Keys | None = None
    """Keys of which a request must carry one, where it does not carry the token."""
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    """What the page's cookies are signed with; new with every start."""

    @property
    def open(self) -> bool:
        """Whether nothing need be shown."""
        return self.token is None and self.keys is None

    async def owner(self, headers: Headers) -> str | None:
        """Who asks: the name of a key, "" for who has the token or needs none, None for who may not."""
        if self.open:
            return ""
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return await self._owner_of(shown.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(SESSION_COOKIE)
        except CookieError:
            return None
        name = cookie.value.partition(".")[0] if cookie else ""
        if cookie is None or not secrets.compare_digest(cookie.value.encode(), self.session(name).encode()):
            return None
        return name if not name or (self.keys and self.keys.named(name)) else None

    def session(self, name: str) -> str:
        """What the page's cookie holds once it has shown the token, or the key of that name."""
        return f"{name}.{hmac.new(self.secret, name.encode(), 'sha256').hexdigest()}"

    async def _owner_of(self, shown: str) -> str | None:
        if self.token is not None and secrets.compare_digest(shown.encode(), self.token.encode()):
            return ""
        return await self.keys.owner(shown) if self.keys else None


class Gate:
    """ASGI middleware: checks Host, Origin and key, bounds the body, sets the security headers, hides failures."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits, rates: Rates) -> None:
        self.app = app
        self.access = access
        self.limits = limits
        self.rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        started = False
        more: dict[str, str] = {}

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in {**_HEADERS, **more}.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            more |= await self._check(scope)
            await self.app(scope, self._bounded(receive), send_with_headers)
        except Exception as error:
            failure = describe_failure(error)
            if started:  # too late for a status; the connection breaks off instead
                raise
            await failure.response(scope)(scope, receive, send_with_headers)

    async def _check(self, scope: Scope) -> dict[str, str]:
        """Let a request in, or raise `ApiError`; gives headers for its answer."""
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
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise ApiError(400, "the Content-Length header is not a number")
        if len(length) > 18 or int(length) > self.limits.body_bytes:
            raise ApiError(413, f"the body is over the limit of {self.limits.body_bytes} bytes", code="too_large")
        if not guarded:
            return {}
        caller = scope["state"]["caller"] = await self._caller(scope, headers)
        record_of(HTTPConnection(scope)).caller = caller.name
        return self.rates.request(caller) if scope["method"] == "POST" else {}

    async def _caller(self, scope: Scope, headers: Headers) -> Caller:
        address = f"address:{scope['client'][0] if scope.get('client') else '?'}"
        shown = "authorization" in headers
        if shown and not self.access.open:
            self.rates.may_try_key(address)
        name = scope["state"]["owner"] = await self.access.owner(headers)
        if name is None:
            if shown:
                self.rates.wrong_key(address)
            raise ApiError(
                401,
                "this server does not know the key in the header Authorization"
                if shown
                else "this server needs a key: send the header Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        key = self.access.keys.named(name) if self.access.keys and name else None
        if key is not None:
            return Caller(f"key:{name}", key.limits, frozenset(key.models) if key.models is not None else None)
        return Caller(address, self.limits.caller)

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
                raise HTTPException(408, "the body did not arrive in time", {"Connection": "close"}) from None
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
