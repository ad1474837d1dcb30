"""Cache package metadata on disk until the source changes.

Each package has one cache file. It holds a fingerprint: the version of the package, and the name, size and time of every
source file of the package and of this reader. A cache file that is damaged, outdated or in another format is written again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import filelock
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
from octabox.catalog.ranges import Range
from octabox.security.filesystem import write_file

logger = logging.getLogger(__name__)

#: Folder of the reader's own source; a change there invalidates the cache.
READER_FOLDER = Path(__file__).parent

#: Seconds to wait for another process that reads the same source; then this one reads it too.
LOCK_TIMEOUT = 180.0

T = TypeVar("T")

#: Dataclasses that are written as dictionaries.
_CACHED = (PackageMetadata, PipelineEntry, SchedulerEntry, Parameter, Component, Field, Dependency, Range, SizeRule)


def cache_folder() -> Path:
    """Return the cache folder: ``OCTABOX_CACHE_DIR``, or ``octabox`` in the cache folder of the user."""
    return Path(os.environ.get("OCTABOX_CACHE_DIR") or platformdirs.user_cache_dir("octabox"))


def cache_file(folder: Path) -> Path:
    """Return the cache file for the package in a folder, or for the module in a file."""
    return cache_folder() / f"catalog-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.json"


def fingerprint(folder: Path, version: str) -> str:
    """Return a digest that changes with the source of the package or of this reader; no file is read."""
    digest = hashlib.sha256(version.encode())
    for root in (folder, READER_FOLDER):
        for line in sorted(_stamps(os.fspath(root))):
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def load_metadata(folder: Path, expected: str) -> PackageMetadata | None:
    """Return the cached metadata of the package in a folder; None if it is missing, outdated or damaged."""
    try:
        data = json.loads(cache_file(folder).read_bytes())
        if data["fingerprint"] != expected:
            return None
        return _restore_metadata(data["metadata"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        logger.debug("The catalog cache of %s is damaged and will be written again: %r", folder, error)
        return None


def save_metadata(folder: Path, digest: str, metadata: PackageMetadata) -> None:
    """Write metadata to the cache; a failure is logged, and the source is read again next time."""
    path = cache_file(folder)
    text = json.dumps({"fingerprint": digest, "metadata": _to_json(metadata)}, separators=(",", ":"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode())
    except OSError as error:
        reason = error.strerror or error
        logger.warning(
            "The cache folder %s cannot be written (%s), so the source is read again each time, which takes seconds; "
            "set `cache_dir`",
            path.parent,
            reason,
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time read the source of the package in a folder, so that the others find it in the cache."""
    file = cache_file(folder).with_suffix(".lock")
    lock = filelock.FileLock(file, timeout=LOCK_TIMEOUT)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, filelock.Timeout, NotImplementedError) as error:
        logger.debug("The source of %s is read without a lock: %s", folder, error)
    try:
        yield
    finally:
        lock.release()


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


def _to_json(thing: Any) -> Any:
    """Return dataclasses as dictionaries without the default values, which keeps the file small."""
    if isinstance(thing, _CACHED):
        # What an entry has computed is among its variables too.
        values = ((name, value) for name, value in vars(thing).items() if name in thing.__dataclass_fields__)
        unset = object()
        return {
            name: _to_json(value)
            for name, value in values
            if value != getattr(type(thing), name, unset) or value is True
        }
    if isinstance(thing, tuple | list):
        return [_to_json(item) for item in thing]
    return {name: _to_json(value) for name, value in thing.items()} if isinstance(thing, dict) else thing


def _restore_metadata(data: dict[str, Any]) -> PackageMetadata:
    return PackageMetadata(
        pipelines=tuple(_restore_pipeline(each) for each in data.get("pipelines", ())),
        schedulers=tuple(_restore_scheduler(each) for each in data.get("schedulers", ())),
        automatic=dict(data["automatic"]),
        families={name: dict(members) for name, members in data["families"].items()},
        ancestors={name: tuple(bases) for name, bases in data["ancestors"].items()},
        broken=dict(data["broken"]),
        plans={name: tuple(plans) for name, plans in data["plans"].items()},
    )


def _restore_pipeline(data: dict[str, Any]) -> PipelineEntry:
    data["parameters"] = tuple(_restore_parameter(each) for each in data.get("parameters", ()))
    data["components"] = tuple(_restore(Component, each) for each in data.get("components", ()))
    data["outputs"] = tuple(_restore(Field, each) for each in data.get("outputs", ()))
    data["one_of"] = tuple(tuple(group) for group in data.get("one_of", ()))
    data["needs"] = _restore_needs(data)
    data["sizes"] = tuple(
        SizeRule(**{**each, "parameters": tuple(each["parameters"])}) for each in data.get("sizes", ())
    )
    data["tasks"], data["output_types"] = tuple(data.get("tasks", ())), tuple(data.get("output_types", ()))
    data["attributes"] = tuple((name, source) for name, source in data.get("attributes", ()))
    return _restore(PipelineEntry, data)


def _restore_scheduler(data: dict[str, Any]) -> SchedulerEntry:
    data["settings"] = tuple(_restore_parameter(each) for each in data.get("settings", ()))
    data["step_settings"] = tuple(_restore_parameter(each) for each in data.get("step_settings", ()))
    data["needs"] = _restore_needs(data)
    data["step_needs"], data["unread"] = tuple(data.get("step_needs", ())), tuple(data.get("unread", ()))
    return _restore(SchedulerEntry, data)


def _restore_needs(data: dict[str, Any]) -> tuple[Dependency, ...]:
    return tuple(_restore(Dependency, each) for each in data.get("needs", ()))


def _restore_parameter(data: dict[str, Any]) -> Parameter:
    if "choices" in data:
        data["choices"] = tuple(data["choices"])
    if "range" in data:
        data["range"] = Range(**data["range"])
    if "fields" in data:
        data["fields"] = tuple(_restore_parameter(each) for each in data["fields"])
    return _restore(Parameter, data)


def _restore(cls: type[T], state: dict[str, Any]) -> T:
    """Return a dataclass with these values, without its constructor, which is slow for thousands of entries."""
    if "name" not in state:
        raise KeyError("name")
    thing = cls.__new__(cls)
    # Missing values are found on the class: they are its defaults.
    thing.__dict__.update(state)
    return thing
