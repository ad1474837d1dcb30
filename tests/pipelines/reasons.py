"""Why a pipeline was not served in a run."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import yaml

import makers
from octabox.catalog.pipelines import PACKAGE, load_catalog

#: Why a class is missing that a maker is there for.
NOT_NOW = "not asked for, or failed"


def served_lines(served: set[str]) -> list[str]:
    """Return how many classes were served, and why the others were not."""
    known = [entry.name for entry in load_catalog().pipelines.values() if entry.package == PACKAGE]
    reasons: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(known) - served):
        reasons[why_not(name)].append(name)
    lines = [f"{len(served)} of {len(known)} classes, each from its folder, for all its tasks."]
    for reason, names in sorted(reasons.items()):
        shown = f": {', '.join(names)}" if reason != NOT_NOW else ""
        lines.append(f"{len(names)} not run: {reason}{shown}")
    return lines


def why_not(name: str) -> str:
    """Return why a class was not run."""
    known = yaml.safe_load(Path(makers.__file__).with_name("impossible.yaml").read_text(encoding="utf-8")) or {}
    entry = load_catalog().pipeline(name)
    if name in known:
        return str(known[name])
    if name in makers.pipelines():
        missing = makers.pipelines()[name].missing
        return f"needs {', '.join(missing)}" if missing else NOT_NOW
    if entry.deprecated:
        return "deprecated by diffusers, and no tiny one is made"
    return "no tiny one is made yet"
