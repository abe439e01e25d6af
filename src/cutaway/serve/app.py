"""The whole server, put together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response

from cutaway.serve.errors import add_error_handlers
from cutaway.serve.gate import Access, Gate
from cutaway.serve.limits import Limits
from cutaway.serve.offers import Offer
from cutaway.serve.openai_api import openai_routes
from cutaway.serve.page import PAGE, add_page
from cutaway.serve.page_api import page_routes
from cutaway.serve.service import Service
from cutaway.serve.slots import ClientGone


def create_app(
    offers: Sequence[Offer],
    *,
    access: Access | None = None,
    limits: Limits | None = None,
    page: Path = PAGE,
) -> FastAPI:
    """An ASGI application that offers models over OpenAI's API and the page's own, and serves the built page.

    Args:
        offers: the models; the first is the page's first choice.
        access: who may ask; by default only this machine, without a token.
        limits: bounds on requests and on work.
        page: where the built page lies.
    """
    access, limits = access or Access(), limits or Limits()
    service = Service(offers, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        service.slots.close()

    app = FastAPI(title="Cutaway", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.service = service
    add_error_handlers(app)
    app.add_middleware(Gate, access=access, limits=limits)

    @app.exception_handler(ClientGone)
    def _gone(_: Request, __: ClientGone) -> Response:
        return Response(status_code=499)  # nobody reads it; nginx's number for the log

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    app.include_router(openai_routes(service))
    app.include_router(page_routes(service, access))
    add_page(app, page)
    return app
