"""Keep what was read from source on disk, until the source changes.

There is one file for each place that a package was read from. It holds a fingerprint: the package's version, and the
name, size and time of every source file, of the package and of this reader. A file that is damaged, of another format or
out of date is not believed, and is written anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from octabox.catalog.entries import (
    Component,
    Dependency,
    Field,
    PackageMetadata,
    Parameter,
    PipelineEntry,
    SchedulerEntry,
    SizeRule,
)

logger = logging.getLogger(__name__)

#: Folder of our own source: what was read by other code is read again.
OWN = Path(__file__).parent

T = TypeVar("T")


def cache_folder() -> Path:
    """Return where caches lie: ``OCTABOX_CACHE_DIR``, or the user's own cache folder."""
    return Path(os.environ.get("OCTABOX_CACHE_DIR") or platformdirs.user_cache_dir("octabox"))


def cache_file(folder: Path) -> Path:
    """Return the cache of the package in a folder, or of the module in a file."""
    return cache_folder() / f"catalog-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.json"


def fingerprint(folder: Path, version: str) -> str:
    """Return what changes when the package or this reader does, without reading a file."""
    digest = hashlib.sha256(version.encode())
    for root in (folder, OWN):
        for line in sorted(_stamps(os.fspath(root))):
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def load_metadata(folder: Path, expected: str) -> PackageMetadata | None:
    """Return what was read from a folder before; None where there is nothing, or nothing to be believed."""
    try:
        data = json.loads(cache_file(folder).read_bytes())
        if data["fingerprint"] != expected:
            return None
        return _facts(data["facts"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        logger.debug("The catalog's cache of %s is damaged and will be made anew: %r", folder, error)
        return None


def save_metadata(folder: Path, seal: str, facts: PackageMetadata) -> None:
    """Keep what was read; where that cannot be, it is read again next time."""
    path = cache_file(folder)
    text = json.dumps({"fingerprint": seal, "facts": _plain(facts)}, separators=(",", ":"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    except OSError as error:
        logger.debug("The catalog cannot be cached in %s: %s", path.parent, error)
        return
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError as error:
        logger.debug("The catalog cannot be cached in %s: %s", path, error)
        with suppress(OSError):
            Path(name).unlink()


def _stamps(folder: str) -> Iterator[str]:
    if not os.path.isdir(folder):  # noqa: PTH112 (this walks through thousands of files)
        status = os.stat(folder)  # noqa: PTH116
        yield f"{folder}:{status.st_size}:{status.st_mtime_ns}\n"
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name != "__pycache__":
                    yield from _stamps(entry.path)
            elif entry.name.endswith((".py", ".yaml")):
                status = entry.stat()
                yield f"{entry.path}:{status.st_size}:{status.st_mtime_ns}\n"


def _plain(thing: Any) -> Any:
    """Return data classes as dictionaries of what differs from their defaults, which makes the file small."""
    if isinstance(
        thing, PackageMetadata | PipelineEntry | SchedulerEntry | Parameter | Component | Field | Dependency | SizeRule
    ):
        kept = vars(thing).items()
        unset = object()
        return {
            name: _plain(value) for name, value in kept if value != getattr(type(thing), name, unset) or value is True
        }
    if isinstance(thing, tuple | list):
        return [_plain(item) for item in thing]
    return {name: _plain(value) for name, value in thing.items()} if isinstance(thing, dict) else thing


def _facts(data: dict[str, Any]) -> PackageMetadata:
    return PackageMetadata(
        pipelines=tuple(_pipeline(each) for each in data.get("pipelines", ())),
        schedulers=tuple(_scheduler(each) for each in data.get("schedulers", ())),
        automatic=dict(data["automatic"]),
        families={name: dict(members) for name, members in data["families"].items()},
        ancestors={name: tuple(bases) for name, bases in data["ancestors"].items()},
        broken=dict(data["broken"]),
    )


def _pipeline(data: dict[str, Any]) -> PipelineEntry:
    data["parameters"] = tuple(_parameter(each) for each in data.get("parameters", ()))
    data["components"] = tuple(_restored(Component, each) for each in data.get("components", ()))
    data["outputs"] = tuple(_restored(Field, each) for each in data.get("outputs", ()))
    data["one_of"] = tuple(tuple(group) for group in data.get("one_of", ()))
    data["needs"] = _needs(data)
    data["sizes"] = tuple(
        SizeRule(**{**each, "parameters": tuple(each["parameters"])}) for each in data.get("sizes", ())
    )
    data["tasks"] = tuple(data.get("tasks", ()))
    return _restored(PipelineEntry, data)


def _scheduler(data: dict[str, Any]) -> SchedulerEntry:
    data["settings"] = tuple(_parameter(each) for each in data.get("settings", ()))
    data["needs"] = _needs(data)
    data["step_needs"], data["unread"] = tuple(data.get("step_needs", ())), tuple(data.get("unread", ()))
    return _restored(SchedulerEntry, data)


def _needs(data: dict[str, Any]) -> tuple[Dependency, ...]:
    return tuple(_restored(Dependency, each) for each in data.get("needs", ()))


def _parameter(data: dict[str, Any]) -> Parameter:
    if "choices" in data:
        data["choices"] = tuple(data["choices"])
    return _restored(Parameter, data)


def _restored(kind: type[T], state: dict[str, Any]) -> T:
    """Return a data class with these values; its own constructor is slow for the thousands that a catalog has."""
    if "name" not in state:
        raise KeyError("name")
    thing = kind.__new__(kind)
    # Values that are left out are those of the class, which are its defaults.
    thing.__dict__.update(state)
    return thing
