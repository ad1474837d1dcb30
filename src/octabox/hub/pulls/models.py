"""Plan the download of the model that a configuration names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from huggingface_hub.errors import EntryNotFoundError

from octabox.hub.folder import INDEX_FILES, is_hub_id
from octabox.hub.hub_errors import hub_error
from octabox.hub.pulls.plan import PullPlan, PullRequest, make_plan
from octabox.hub.snapshots import find_snapshot


def plan_model(
    source: str, revision: str | None = None, *, variant: str | None = None, omit: Collection[str] = ()
) -> PullPlan | None:
    """Return the plan for the source of a model; None if nothing has to be downloaded.

    A complete model in the cache is not compared with the Hub; `octabox pull` updates it.

    Args:
        source: A Hub id, a folder or a file.
        revision: Branch, tag or commit.
        variant: Variant of the weights.
        omit: Components that come from another source.

    Raises:
        OctaboxError: The model cannot be downloaded, or is not in the format of diffusers.
    """
    if not is_hub_id(source) or Path(source).exists():
        return None
    if find_snapshot(source, revision, variant=variant, omit=omit) is not None:
        return None
    plan = make_plan(PullRequest(source, revision, variant=variant, omit=tuple(sorted(omit))))
    if plan.kind != "diffusers":
        raise hub_error(EntryNotFoundError(INDEX_FILES[0]), source, revision)
    return plan
