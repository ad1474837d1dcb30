"""Build a response body from a video's job."""

from __future__ import annotations

from typing import Any

from octabox.error_copies import copy_error
from octabox.frontends.http.errors import error_body
from octabox.frontends.http.openai.responses import size_of
from octabox.frontends.http.openai.videos.translate import VideoNote
from octabox.frontends.naming.renaming import rename_error, rename_warnings
from octabox.service.jobs import Job
from octabox.service.outputs import first_output
from octabox.types import Artifact

#: OpenAI's names of statuses that differ from the job's.
STATUSES = {"cancelled": "failed"}


def job_to_json(job: Job, note: VideoNote) -> dict[str, Any]:
    """Return a job in OpenAI's format."""
    artifacts = job.result.artifacts if job.result else ()
    video, left_out = first_output(artifacts, "video")
    warnings = (*note.warnings, *(job.result.warnings if job.result else ()), *left_out)
    seconds = note.seconds if note.seconds is not None else video and _length(video)
    return {
        "id": job.id,
        "object": "video",
        "model": job.request.model,
        "status": STATUSES.get(job.status, job.status),
        "progress": _percent(job),
        "created_at": int(job.created),
        "completed_at": int(job.ended) if job.ended is not None and job.result else None,
        "expires_at": int(job.expires) if job.expires is not None else None,
        "prompt": note.prompt,
        "seconds": "auto" if seconds is None else f"{seconds:g}",
        "size": (video and size_of(video)) or note.size or "auto",
        "seed": video.seed if video else job.request.seed,
        "error": _describe_error(job, note),
        "remixed_from_video_id": None,
        "warnings": rename_warnings(warnings, note.client_names),
    }


def _describe_error(job: Job, note: VideoNote) -> dict[str, Any] | None:
    """Return the error of a job with the client's name of its parameter."""
    if job.error is None:
        return None
    error = copy_error(job.error)
    rename_error(error, note.client_names)
    body = error_body(error)["error"]
    return {"code": body["code"], "message": body["message"], "type": body["type"], "param": body["param"]}


def _percent(job: Job) -> int:
    """Return the progress in percent; 100 only for a completed job."""
    if job.status == "completed":
        return 100
    progress = job.progress
    # A download is not a part of the generation.
    running = progress.steps and progress.phase != "downloading"
    return 99 * progress.step // progress.steps if running else 0


def _length(video: Artifact) -> float | None:
    """Return the length of a video in seconds, rounded to hundredths, if its metadata has it."""
    frames, rate = video.metadata.get("num_frames"), video.metadata.get("fps")
    return round(frames / rate, 2) if frames and rate else None
