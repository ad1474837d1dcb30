"""Read all that the catalog knows of a package."""

from __future__ import annotations

from pathlib import Path

from octabox.catalog.entries import Facts
from octabox.catalog.reading.packages import PackageReader
from octabox.catalog.reading.pipelines import read_pipelines
from octabox.catalog.reading.schedulers import read_schedulers
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.tables import read_automatic, read_families


def read(package: str, folder: Path) -> Facts:
    """Return what the source of a package says, without its cache."""
    tree = SourceTree(package, folder)
    packages = PackageReader(tree)
    return Facts(
        pipelines=read_pipelines(tree, packages),
        schedulers=read_schedulers(tree, packages),
        automatic=read_automatic(tree),
        families=read_families(tree),
        ancestors={
            name: (found[0].module, *(ancestor.name for ancestor in tree.lineage(found[0])))
            for name, found in tree.classes.items()
        },
    )
