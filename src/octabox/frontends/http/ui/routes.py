"""Serve the web page: static files, which use the public API alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

#: Folder of the files.
FOLDER = Path(__file__).parent / "static"

#: Headers of the page: it loads nothing from another host, and nothing may frame it. Browsers ask for a new version each time.
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; connect-src 'self' data: blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-cache",
}


class PageFiles(StaticFiles):
    """Static files with the headers of the page."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return the response for a file, or that it has not changed."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


def add_page(app: FastAPI) -> None:
    """Serve the page at ``/``, and its files under ``/ui``."""

    @app.get("/", include_in_schema=False)
    async def page(_: Request) -> Response:
        """Return the page."""
        return FileResponse(FOLDER / "index.html", media_type="text/html; charset=utf-8", headers=HEADERS)

    app.mount("/ui", PageFiles(directory=FOLDER), name="ui")
