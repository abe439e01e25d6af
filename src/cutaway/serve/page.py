"""The built page and the files it needs."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).parent / "web"

NOT_BUILT = "The page is not built. Install the package from its source (pip install .), which builds it.\n"


class _PageFiles(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        # Files under assets/ carry a hash of their content in their name; the rest must be asked for again.
        fresh = "public, max-age=31536000, immutable" if path.startswith("assets/") else "no-cache"
        response.headers["Cache-Control"] = fresh
        return response


def add_page(app: FastAPI, directory: Path = PAGE) -> None:
    """Serve the built page at `/`, or a line that says how to build it. Call this after all other routes."""
    if (directory / "index.html").is_file():
        app.mount("/", _PageFiles(directory=directory, html=True), name="page")
    else:

        @app.get("/", include_in_schema=False)
        def _not_built() -> PlainTextResponse:
            return PlainTextResponse(NOT_BUILT, status_code=503)
