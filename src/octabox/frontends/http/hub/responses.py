"""Downloads as JSON data."""

from __future__ import annotations

from typing import Any

from octabox.frontends.http.errors import error_body
from octabox.hub.pulls.urls import UrlRequest
from octabox.service.hub.pulls import PullJob


def pull_to_json(job: PullJob) -> dict[str, Any]:
    """Return the status of a download."""
    progress, plan, request = job.progress, job.plan, job.request
    total = progress.total if progress else plan.size if plan else 0
    done = progress.done if progress else 0
    running = job.status == "in_progress"
    return {
        "id": job.id,
        "object": "hub.pull",
        "model": None if isinstance(request, UrlRequest) else request.repo,
        "revision": None if isinstance(request, UrlRequest) else request.revision,
        "file": request.name if isinstance(request, UrlRequest) else request.file,
        "variant": None if isinstance(request, UrlRequest) else request.variant,
        "url": request.shown if isinstance(request, UrlRequest) else None,
        "status": job.status,
        "created_at": job.created,
        "ended_at": job.ended,
        "bytes": done,
        "total_bytes": total,
        "files": progress.files_done if progress else 0,
        "total_files": progress.files if progress else len(plan.files) if plan else 0,
        "bytes_per_second": round(job.rate) if running else None,
        "seconds_left": round((total - done) / job.rate) if running and job.rate else None,
        "commit": plan.commit if plan else None,
        "kind": plan.kind if plan else job.kind,
        "path": str(job.path) if job.path else None,
        "error": error_body(job.error)["error"] if job.error else None,
    }
