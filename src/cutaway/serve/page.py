"""The built page and the files it needs."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).parent / "web"

NOT_BUILT = "The page is not built. Install the package from its source (pip install .), which builds it.\n"


class _Assets(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        # Their names carry a hash of their content: under one name it never changes.
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def add_page(app: FastAPI, directory: Path = PAGE) -> None:
    """Serve the built page at `/`, or a line that says how to build it."""
    if not (directory / "index.html").is_file():

        @app.get("/", include_in_schema=False)
        def _not_built() -> PlainTextResponse:
            return PlainTextResponse(NOT_BUILT, status_code=503)

        return

    def add_file(place: str, name: str) -> None:
        @app.get(place, include_in_schema=False)
        def _file() -> FileResponse:
            return FileResponse(directory / name, headers={"Cache-Control": "no-cache"})

    add_file("/", "index.html")
    for path in sorted(directory.iterdir()):
        if path.is_file() and path.suffix in (".svg", ".md"):
            add_file(f"/{path.name}", path.name)
    app.mount("/assets", _Assets(directory=directory / "assets"), name="assets")
