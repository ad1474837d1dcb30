"""A pipeline that restores the faces in an image by a network for cropped faces."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from PIL import ImageDraw, ImageFilter
from typing_extensions import Self

from octabox.engine.worker.upscaling.detection import Face, find_faces
from octabox.engine.worker.upscaling.network import FACES, Upscaler
from octabox.engine.worker.upscaling.results import build_output
from octabox.errors import InvalidParameterError

#: Its warnings are returned with the result.
logger = logging.getLogger(__name__)

#: Side of the images of faces that such networks are trained on.
SIDE = 512

#: Fraction of the square around a face over which it blends into the image.
FEATHER = 1 / 8


class FaceRestorationPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Pipeline for the restoration of faces in an image by a network such as GFPGAN or RestoreFormer.

    The network is a single file of weights, which is loaded by spandrel. OpenCV's cascade classifiers find the faces.

    Args:
        face_restorer ([`Upscaler`]): The network.
    """

    model_cpu_offload_seq = "face_restorer"

    #: The networks need the range of float32.
    preferred_dtypes = (torch.bfloat16,)

    def __init__(self, face_restorer: Upscaler) -> None:
        super().__init__()
        self.register_modules(face_restorer=face_restorer)

    @classmethod
    def from_single_file(cls, file: str, *, dtype: torch.dtype = torch.float32) -> Self:
        """Load a network from its file.

        Args:
            file: The file.
            dtype: The dtype; the network stays in float32 if it does not support it.
        """
        return cls(Upscaler.from_file(Path(file), FACES, dtype))

    @torch.no_grad()
    def __call__(
        self,
        image: PIL.Image.Image | list[PIL.Image.Image],
        strength: float = 1.0,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Restore the faces in images.

        Args:
            image (`PIL.Image.Image` or `list[PIL.Image.Image]`): The image. Its alpha channel is dropped.
            strength (`float`, *optional*, defaults to 1.0): How much of the restored face replaces the original, from 0 to 1.
            output_type (`str`, *optional*, defaults to `"pil"`): `"pil"` for images, `"np"` for an array in [0, 1] for each.
            return_dict (`bool`, *optional*, defaults to `True`): Whether to return an `ImagePipelineOutput` or a tuple.

        Returns:
            [`ImagePipelineOutput`] or `tuple`: The images.
        """
        if not 0 <= strength <= 1:
            raise InvalidParameterError(f"'strength' must be from 0 to 1, not {strength}.", parameter="strength")
        pil_images = [each.convert("RGB") for each in (image if isinstance(image, list) else [image])]
        found = [find_faces(each) for each in pil_images]
        if not all(found):
            logger.warning("No face was found in the image, which is returned as it is.")
        with self.progress_bar(total=sum(map(len, found))) as bar:
            for pil_image, faces in zip(pil_images, found, strict=True):
                for face in faces:
                    self._restore(pil_image, face, strength)
                    bar.update()
        self.maybe_free_model_hooks()
        return build_output(map(np.asarray, pil_images), output_type, return_dict=return_dict)

    def _restore(self, image: PIL.Image.Image, face: Face, strength: float) -> None:
        """Restore a face of an image in place."""
        crop = image.crop(face.box).resize((SIDE, SIDE), PIL.Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].float() / 255
        output = self.face_restorer(pixels.to(self._execution_device, self.face_restorer.dtype))
        values = (output[0].float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        restored = PIL.Image.fromarray(values).resize((face.side, face.side), PIL.Image.Resampling.LANCZOS)
        image.paste(restored, face.box[:2], _mask(face.side, strength))


def _mask(side: int, strength: float) -> PIL.Image.Image:
    """Return the opacity of a restored face: full in its middle, and none at the edges of its square."""
    inset = max(round(side * FEATHER), 1)
    mask = PIL.Image.new("L", (side, side))
    ImageDraw.Draw(mask).rectangle((inset, inset, side - inset - 1, side - inset - 1), fill=255)
    # The radius of the blur is a third of the inset, so that it has ended at the edge.
    blurred = mask.filter(ImageFilter.GaussianBlur(inset / 3))
    edge = PIL.Image.new("L", (side, side))
    edge.paste(blurred.crop((1, 1, side - 1, side - 1)), (1, 1))
    return edge.point([round(value * strength) for value in range(256)])
