"""Events of `octabox run`, whether a server in the background or this process runs the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from octabox.types import Generation, Progress


@dataclass(frozen=True)
class Message:
    """A line for standard error.

    Args:
        text: The line.
        is_warning: Whether it is a warning.
    """

    text: str
    is_warning: bool = False


@dataclass(frozen=True)
class DownloadProgress:
    """Progress of the download of a model.

    Args:
        title: What is downloaded.
        done: Received bytes.
        total: Total bytes.
        note: Text after the progress bar.
    """

    title: str
    done: int
    total: int
    note: str = ""


@dataclass(frozen=True)
class Checked:
    """The request is valid, and downloads follow before it is prepared.

    Args:
        count: Number of results.
    """

    count: int


@dataclass(frozen=True)
class Prepared:
    """The request is valid, and its call follows.

    Args:
        count: Number of results.
        names: Names of parameters on the command line, if they differ from diffusers'.
        description: The call as JSON data, if it is not run.
    """

    count: int
    names: Mapping[str, str] = field(default_factory=dict)
    description: Mapping[str, Any] | None = None


#: Event of a request of `octabox run`: messages, `Checked` before downloads, then `Prepared`, then progress and results.
RunEvent = Message | Checked | DownloadProgress | Prepared | Progress | Generation
