"""The previews of a call that is run again."""

from __future__ import annotations

from octabox.engine.local.queue.received_previews import ReceivedPreviews
from octabox.types import Artifact, Progress


def progress(output: int, *, is_preview: bool = True) -> Progress:
    """Return the progress of a step of an output."""
    preview = Artifact("image", "image/png", b"") if is_preview else None
    return Progress("running", 1, 4, output=output, preview=preview)


def test_each_preview_is_received_once() -> None:
    """By output: a run that comes further than the one before sends what is new, and events without a preview pass."""
    previews = ReceivedPreviews()
    assert not previews
    first = [previews.without_known(progress(output)) for output in (0, 0, 1)]
    assert all(isinstance(each, Progress) and each.preview for each in first)
    assert previews

    previews.restart()
    again = [previews.without_known(progress(output)) for output in (0, 1, 0, 1, 0)]
    assert [False, False, False, True, True] == [
        isinstance(each, Progress) and each.preview is not None for each in again
    ]

    plain = progress(0, is_preview=False)
    assert plain is previews.without_known(plain)
