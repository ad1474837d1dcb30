"""Read the metadata of a package from its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

from octabox.catalog.entries import PackageMetadata
from octabox.catalog.reading.packages import DependencyReader
from octabox.catalog.reading.pipelines import read_pipelines
from octabox.catalog.reading.schedulers import read_schedulers
from octabox.catalog.reading.source import Library, SourceTree
from octabox.catalog.reading.syntax import ClassSource
from octabox.catalog.reading.tables import read_automatic, read_families

#: Names of the attributes of model classes with a plan to split them over devices.
PLAN = re.compile(r"_[a-z]+_plan")


def read_package(
    package: str, folder: Path, files: Mapping[str, Path] | None = None, library: Library | None = None
) -> PackageMetadata:
    """Read the metadata of a package, without the cache.

    Args:
        package: Its name.
        folder: Its source folder.
        files: Its files by module; by default all files below the folder.
        library: The package that it builds on, if any.
    """
    tree = SourceTree(package, folder, files, library)
    packages = DependencyReader(tree)
    return PackageMetadata(
        pipelines=read_pipelines(tree, packages),
        schedulers=read_schedulers(tree, packages),
        automatic={} if library else read_automatic(tree),
        families={} if library else read_families(tree),
        ancestors={
            name: (found[0].module, *(ancestor.name for ancestor in tree.lineage(found[0])))
            for name, found in list(tree.classes.items())
            if tree.owns(found[0].module)
        },
        broken={str(path): reason for path, reason in tree.broken.items()},
        plans={name: plans for name, found in list(tree.classes.items()) if (plans := _plans(tree, found[0]))},
    )


def _plans(tree: SourceTree, cls: ClassSource) -> tuple[str, ...]:
    """Return the attributes of a class of this package, inherited ones included, with a plan to split it over devices."""
    if not tree.owns(cls.module):
        return ()
    values = [(name, value) for each in reversed(tree.lineage(cls)) for name, value in each.values.items()]
    found = {name: value for name, value in values if PLAN.fullmatch(name)}
    return tuple(sorted(name for name, value in found.items() if isinstance(value, ast.Dict)))
