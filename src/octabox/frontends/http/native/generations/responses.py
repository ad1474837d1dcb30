"""Build response bodies from a generation or a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from octabox.frontends.http.errors import error_body
from octabox.frontends.http.responses import as_base64, link
from octabox.service.jobs import Job, StoredJob
from octabox.service.jobs.record import Marks
from octabox.types import AdapterReport, Artifact, Generation, GenerationRequest, Progress


async def output_to_json(artifact: Artifact, url: str | None) -> dict[str, Any]:
    """Return an output with its URL, or with its content if there is no URL; text is also decoded.

    Args:
        artifact: The output.
        url: URL of its file.
    """
    output = describe_output(artifact, url)
    if url is None:
        output["b64_json"] = await as_base64(artifact)
    if artifact.kind == "text":
        output["text"] = artifact.content.decode("utf-8", "replace")
    return output


def describe_output(artifact: Artifact, url: str | None) -> dict[str, Any]:
    """Return an output without its content."""
    return {
        "kind": artifact.kind,
        "media_type": artifact.media_type,
        "name": artifact.name,
        **({} if url is None else {"url": url}),
        "seed": artifact.seed,
        "metadata": dict(artifact.metadata),
    }


def to_response(generation: Generation, outputs: Sequence[dict[str, Any]], warnings: Iterable[str]) -> dict[str, Any]:
    """Return the body of a response."""
    return {
        "id": generation.id,
        "model": generation.model,
        "pipeline": generation.pipeline,
        "task": generation.task,
        "outputs": outputs,
        "warnings": [*warnings, *generation.warnings],
        "adapters": [adapter_to_json(each) for each in generation.adapters],
        "timings": dict(generation.timings),
    }


def adapter_to_json(report: AdapterReport) -> dict[str, Any]:
    """Return the weight of a LoRA, and how many of its tensors the model has loaded."""
    return {
        "lora": report.lora,
        "weight": report.weight,
        "weights": dict(report.weights),
        "keys": report.keys,
        "used": report.used,
    }


def output_urls(job: Job, count: int, base: str) -> list[str | None]:
    """Return the URL of each output of a job; None for outputs that are not stored."""
    return [link(base, name) for name in job.files] if job.files else [None] * count


def generation_to_json(job: Job, generation: Generation, base: str, warnings: Iterable[str]) -> dict[str, Any]:
    """Return the body of a response without the content of the outputs."""
    urls = output_urls(job, len(generation.artifacts), base)
    described = [describe_output(*each) for each in zip(generation.artifacts, urls, strict=True)]
    outputs = [_mark(job, index, each) for index, each in enumerate(described)]
    return to_response(generation, outputs, warnings)


def progress_to_json(progress: Progress) -> dict[str, Any]:
    """Return the progress of a request; a download has bytes in place of steps."""
    downloading = progress.phase == "downloading"
    return {
        "phase": progress.phase,
        "step": 0 if downloading else progress.step,
        "steps": 0 if downloading else progress.steps,
        **({"bytes": progress.step, "total_bytes": progress.steps} if downloading else {}),
        "position": progress.position,
        "output": progress.output,
        "part": progress.part,
        "parts": progress.parts,
    }


def job_to_json(job: Job, base: str) -> dict[str, Any]:
    """Return the status of a job."""
    warnings = job.note.get("warnings", ()) if isinstance(job, StoredJob) and isinstance(job.note, dict) else job.note
    warnings = warnings if isinstance(warnings, list | tuple) else ()
    return {
        "id": job.id,
        "object": "generation",
        "status": job.status,
        "model": job.request.model,
        "created_at": job.created,
        "ended_at": job.ended,
        "expires_at": job.expires,
        "progress": progress_to_json(job.progress),
        "result": generation_to_json(job, job.result, base, warnings) if job.result else None,
        "error": error_body(job.error)["error"] if job.error else None,
        **(_stored_to_json(job) if isinstance(job, StoredJob) else {}),
    }


def _mark(job: Job, index: int, output: dict[str, Any]) -> dict[str, Any]:
    """Return an output of a background job with its marks; one that was deleted has no content."""
    if not isinstance(job, StoredJob):
        return output
    marks = job.marks.get(index, Marks())
    marked = {**output, "star": marks.star, "tags": list(marks.tags)}
    if not marks.deleted:
        return marked
    return {**{name: value for name, value in marked.items() if name != "text"}, "url": None, "deleted": True}


def _stored_to_json(job: StoredJob) -> dict[str, Any]:
    """Return what a background job has in addition."""
    return {
        "object": job.kind,
        "started_at": job.started,
        "owner": job.owner,
        "batch": job.batch,
        "priority": job.priority,
        "attempts": job.attempts,
        "seed": job.request.seed,
        "webhook": job.webhook,
        "request": _request_of(job),
        "media": [*job.request.inputs],
    }


def _request_of(job: StoredJob) -> dict[str, Any]:
    """Return the body of the request that a background job was started by; its priority is that of now."""
    terms = {"priority": job.priority or None, "webhook": job.webhook}
    return {**request_to_json(job.request), **{name: value for name, value in terms.items() if value is not None}}


def request_to_json(request: GenerationRequest) -> dict[str, Any]:
    """Return the fields of a request that are set, by the names of the native API, without the content of its media."""
    params = {**request.optional_params, **request.params}
    output = {"format": request.output.format, "quality": request.output.quality, "fps": request.output.fps}
    scheduler = request.scheduler and {"name": request.scheduler.name, **request.scheduler.settings}
    fields = {
        "model": request.model,
        "task": request.task,
        "params": params,
        "seed": request.seed,
        "num_outputs": request.num_outputs,
        "scheduler": scheduler,
        "adapters": [
            {
                "lora": each.display_name,
                "weight": each.weight,
                **({"weights": dict(each.weights)} if each.weights else {}),
            }
            for each in request.adapters
        ],
        "prompt_syntax": request.prompt_syntax,
        "styles": list(request.styles),
        "workflow": dict(request.workflow),
        "output": {name: value for name, value in output.items() if value is not None},
        "partial_images": request.partial_images or None,
        "deterministic": request.deterministic or None,
        "keep_alive": request.keep_alive,
    }
    return {name: value for name, value in fields.items() if value not in (None, [], {})}
