"""Describe the plan of a download in lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from octabox.cli.tables import format_size
from octabox.hub.responses.fields import printable

if TYPE_CHECKING:
    from octabox.hub.pulls.plan import PullPlan
    from octabox.hub.pulls.urls import UrlPlan

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
    skipped = f", {format_size(plan.skipped)} are not needed" if plan.skipped > 0 else ""
    yield _amounts(plan, skipped)


def summarize_url_plan(plan: UrlPlan) -> Iterator[str]:
    """Yield the lines of a plan for a URL: what is downloaded, from where and to where, and what is there."""
    yield f"{printable(plan.request.name)} of {printable(plan.request.shown)}: {format_size(plan.size)}"
    yield f"  to {plan.place}"
    yield _amounts(plan)


def _amounts(plan: PullPlan | UrlPlan, skipped: str = "") -> str:
    """Return the line with the bytes of a plan and of the disk."""
    present = f", {format_size(plan.present)} are in the cache" if plan.present else ""
    return f"To download: {format_size(plan.to_fetch)}{present}{skipped}; free on the disk: {format_size(plan.free)}"
