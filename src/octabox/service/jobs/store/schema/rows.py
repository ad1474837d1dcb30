"""Jobs as rows of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol

from octabox.service.jobs.record import Marks, StoredJob
from octabox.service.jobs.store.schema.serialization import (
    FilePlace,
    decode_error,
    decode_result,
    describe_row,
    encode_error,
    encode_result,
)
from octabox.types import GenerationRequest, Progress


class Row(Protocol):
    """The values of a row by column."""

    def __getitem__(self, name: str, /) -> Any:
        """Return the value of a column."""
        ...


#: Columns that are attributes of a job with the same value.
SAME = (
    "number",
    "kind",
    "client",
    "owner",
    "batch",
    "status",
    "priority",
    "place",
    "created",
    "started",
    "ended",
    "expires",
    "attempts",
    "losses",
    "webhook",
    "server",
)


def to_row(job: StoredJob, request: str, media: list[FilePlace]) -> dict[str, Any]:
    """Return the row of a new job.

    Args:
        job: The job.
        request: Its request as JSON.
        media: The place of each file of the request.
    """
    values = {name: getattr(job, name) for name in SAME}
    model, task, seed = job.request.model, job.request.task, job.request.seed
    note = json.dumps(job.note)
    return {
        **values,
        "id": job.id,
        "model": model,
        "task": task,
        "seed": seed,
        "files": "[]",
        "request": request,
        "media": json.dumps(media),
        "note": note,
    }


def to_job(row: Row) -> StoredJob:
    """Return the job of a row; its request has no content of media."""
    columns = {name: row[name] for name in ("model", "task", "seed", "id")}
    described = describe_row(row["request"], json.loads(row["media"]))
    request = replace(described, **columns) if described else GenerationRequest(**columns)
    return StoredJob(
        request=request,
        note=json.loads(row["note"]),
        files=tuple(json.loads(row["files"])),
        progress=Progress("queued" if row["status"] == "queued" else "encoding"),
        result=decode_result(row["result"]) if row["result"] else None,
        error=decode_error(row["error"]) if row["error"] else None,
        marks=decode_marks(row["marks"]),
        **{name: row[name] for name in SAME},
    )


def end_values(job: StoredJob) -> dict[str, Any]:
    """Return what the end of a job changes in its row."""
    return {
        "status": job.status,
        "ended": job.ended,
        "expires": job.expires,
        "result": encode_result(job.result) if job.result else None,
        "error": encode_error(job.error) if job.error else None,
        "files": json.dumps(job.files),
    }


def decode_marks(text: str) -> dict[int, Marks]:
    """Return the marks of outputs by index."""
    return {
        int(index): Marks(each["star"], tuple(each["tags"]), each.get("deleted", False))
        for index, each in json.loads(text).items()
    }


def encode_marks(marks: Mapping[int, Marks]) -> str:
    """Return the marks of outputs as JSON; those of an output without any are left out."""
    return json.dumps({index: asdict(each) for index, each in marks.items() if each != Marks()})


def file_names(row: Row) -> list[str]:
    """Return the names of all files of a row's job."""
    return [*json.loads(row["files"]), *(name for _, name, _ in json.loads(row["media"]))]
