"""Read every noise scheduler of a package from its source."""

from __future__ import annotations

from octabox.catalog.entries import SchedulerEntry
from octabox.catalog.reading.docstrings import first_sentence
from octabox.catalog.reading.packages import SCHEDULER, PackageReader
from octabox.catalog.reading.parameters import call_parameters
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource


def read_schedulers(tree: SourceTree, packages: PackageReader) -> tuple[SchedulerEntry, ...]:
    """Return an entry for each scheduler, by name."""
    found = (owner for owner in tree.subclasses(SCHEDULER) if owner.name != SCHEDULER)
    return tuple(sorted((_scheduler(tree, owner, packages) for owner in found), key=lambda entry: entry.name))


def _scheduler(tree: SourceTree, owner: ClassSource, packages: PackageReader) -> SchedulerEntry:
    located = tree.function(owner, "__init__")
    settings = call_parameters(tree, *located) if located else ()
    return SchedulerEntry(owner.name, owner.module, settings, first_sentence(owner.doc), packages.needs(owner))
