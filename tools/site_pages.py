"""Add the project's top-level pages to the documentation site.

MkDocs calls this as a hook. GitHub shows these pages in the root of the repository, where MkDocs reads no files.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

#: Files in the root of the repository that are pages of the site.
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file, with links that are relative to ``docs``."""
    for name in PAGES:
        files.append(File.generated(config, name.lower(), content=site_text((ROOT / name).read_text(encoding="utf-8"))))
    return files


def site_text(text: str) -> str:
    """Return a top-level page with its links changed to those of the site."""
    for name in PAGES:
        text = text.replace(f"]({name}", f"]({name.lower()}")
    return text.replace("](docs/", "](")
