"""Return the images of a pipeline that runs a network over images, in the forms of diffusers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import PIL.Image
from diffusers import ImagePipelineOutput


def build_output(
    images: Iterable[np.ndarray], output_type: str, *, return_dict: bool
) -> ImagePipelineOutput | tuple[Any]:
    """Return images as the output of a call.

    Args:
        images: The images: height, width and RGB, in bytes.
        output_type: `"pil"` for images, anything else for an array in [0, 1] for each.
        return_dict: Whether to return an `ImagePipelineOutput` or a tuple.
    """
    converted: list[Any] = [
        PIL.Image.fromarray(each) if output_type == "pil" else each.astype(np.float32) / 255 for each in images
    ]
    return ImagePipelineOutput(images=converted) if return_dict else (converted,)
