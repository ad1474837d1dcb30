"""Describe the plan of a download in lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from octabox.cli.tables import format_size
from octabox.hub.responses.fields import printable

if TYPE_CHECKING:
    from octabox.hub.pulls.plan import PullPlan

#: Maximum number of files to list in a plan.
MAX_FILES = 25


def summarize_plan(plan: PullPlan, *, files: bool = False) -> Iterator[str]:
    """Yield the lines of a plan: what is downloaded, what is there, and what is left out."""
    if plan.note:
        yield plan.note
        return
    revision = plan.request.revision or "main"
    count = f"{len(plan.files)} of {len(plan.all_files)} files"
    yield f"{plan.request.repo}@{revision} ({plan.kind}, commit {plan.commit[:8]}): {count}, {format_size(plan.size)}"
    if files:
        missing = {each.digest for each in plan.missing}
        for each in sorted(plan.files, key=lambda each: -each.size)[:MAX_FILES]:
            where = "" if each.digest in missing else "  (in the cache)"
            yield f"  {format_size(each.size):>10}  {printable(each.path)}{where}"
        if len(plan.files) > MAX_FILES:
            yield f"  and {len(plan.files) - MAX_FILES} more"
    present = f", {format_size(plan.present)} are in the cache" if plan.present else ""
    skipped = f", {format_size(plan.skipped)} are not needed" if plan.skipped > 0 else ""
    yield f"To download: {format_size(plan.to_fetch)}{present}{skipped}; free on the disk: {format_size(plan.free)}"
