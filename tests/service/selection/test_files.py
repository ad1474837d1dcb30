"""The files of a request are split from its other parameters."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.catalog.entries import Parameter
from octabox.errors import InvalidParameterError
from octabox.service.selection.files import split_files
from octabox.types import GenerationRequest, Source

#: Parameters for files of each kind, and for objects with files.
KNOWN = {
    each.name: each
    for each in (
        Parameter("image", "PIL.Image.Image | list[PIL.Image.Image]", "image", many=True),
        Parameter("latents", "torch.Tensor | None", "array"),
        Parameter("sizes", "torch.Tensor | list[int] | None", "array"),
        Parameter(
            "conditions",
            "Condition | list[Condition]",
            "mapping",
            many=True,
            fields=(
                Parameter("frames", "list[PIL.Image.Image]", "video", required=True),
                Parameter("actions", "torch.Tensor | None", "array"),
                Parameter("index", "int", "integer"),
            ),
        ),
    )
}


def split(inputs: dict[str, tuple[Source, ...]] | None = None, **params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters and the files of a request."""
    values, files = split_files(GenerationRequest(model="thing", params=params, inputs=inputs or {}), KNOWN)
    return values, dict(files)


def test_files_and_values() -> None:
    """Media and arrays are files; numbers of a parameter that takes them, and null, are not."""
    assert ({"steps": 3}, {"image": ("data:",), "latents": ([[1.0]],)}) == split(
        image="data:", latents=[[1.0]], steps=3
    )
    assert ({"sizes": [1, 2]}, {}) == split(sizes=[1, 2], image=None)
    assert ({}, {"image": (["data:"],)}) == split(image=["data:"])


def test_files_in_the_fields_of_objects() -> None:
    """They are under the parameter, the position and the field; the other fields stay, and so does what is no object."""
    values, files = split(
        conditions=[{"frames": "data:", "index": 8}, {"frames": ["data:1", "data:2"], "actions": [[1.0]]}]
    )

    assert {"conditions": [{"index": 8}, {}]} == values
    assert {
        "conditions.0.frames": ("data:",),
        "conditions.1.frames": ("data:1", "data:2"),
        "conditions.1.actions": ([[1.0]],),
    } == files
    assert ({"conditions": {"index": 8}}, {"conditions.0.frames": ("data:",)}) == split(
        conditions={"frames": "data:", "index": 8, "actions": None}
    )
    assert ({"conditions": [3, "x"]}, {}) == split(conditions=[3, "x"])


def test_a_value_that_is_no_file() -> None:
    """The error names the field; a file that is given twice is an error too."""
    with pytest.raises(InvalidParameterError, match=r"^'conditions\.0\.frames' must be a video, not 3\.") as caught:
        split(conditions=[{"frames": 3}])
    with pytest.raises(InvalidParameterError, match=r"'conditions\.0\.frames' is both a file and a parameter"):
        split({"conditions.0.frames": (b"file",)}, conditions=[{"frames": "data:"}])

    assert "conditions.0.frames" == caught.value.parameter
