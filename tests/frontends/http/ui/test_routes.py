"""The page's files: their headers, their size, and that they ask no other host."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from octabox.frontends.http.ui.routes import FOLDER, add_page

FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file())


@pytest.fixture
def client() -> TestClient:
    """Return a client of an application with nothing but the page."""
    app = FastAPI()
    add_page(app)
    return TestClient(app)


def test_the_page_may_load_nothing_from_elsewhere(client: TestClient) -> None:
    """The page and its files forbid other hosts and frames, and a browser asks for new versions."""
    for path in ("/", "/ui/js/main.js", "/ui/app.css"):
        response = client.get(path)
        assert 200 == response.status_code
        assert "default-src 'self'" in response.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert "no-cache" == response.headers["cache-control"]
    again = client.get("/ui/js/main.js", headers={"if-none-match": client.get("/ui/js/main.js").headers["etag"]})
    assert 304 == again.status_code
    assert 404 == client.get("/ui/../routes.py").status_code


def test_files_are_small_and_of_this_server() -> None:
    """All but the viewer of meshes are below 300 kB together, and hold no address of another host but those of licences."""
    assert sum(path.stat().st_size for path in FILES if not path.name.startswith("mesh")) < 300_000
    for path in FILES:
        if path.suffix in (".js", ".html", ".css") and "vendor" not in path.parts:
            assert [] == re.findall(r"https?://(?!www\.w3\.org)[\w.]+", path.read_text(encoding="utf-8")), path


def test_all_imports_are_there() -> None:
    """Each module that a script imports is a file of the page."""
    for path in FILES:
        if path.suffix == ".js":
            for name in re.findall(r'(?:from|import)\s*"(\.[^"]+)"', path.read_text(encoding="utf-8")):
                assert (path.parent / name).resolve() in FILES, (path, name)
