"""The pipeline that makes images larger by a network of the ESRGAN kind."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from typing_extensions import Self

from octabox.engine.worker.upscaling.network import Upscaler
from octabox.engine.worker.upscaling.tiles import enlarged, spans
from octabox.errors import InvalidParameterError

#: Its warnings are among those of the answer.
logger = logging.getLogger(__name__)

#: Most pixels of an image that is made; each takes three bytes, and many readers refuse larger files.
MAX_PIXELS = 128 * 1024 * 1024


class ImageUpscalingPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Makes an image larger by a network for super-resolution, such as ESRGAN, Real-ESRGAN or SwinIR.

    The network is a single file of weights, which the package spandrel reads. It settles how much larger an image becomes.

    Args:
        upscaler ([`Upscaler`]): The network.
    """

    model_cpu_offload_seq = "upscaler"

    #: Half types, the better one first: float16 has finer shades.
    preferred_dtypes = (torch.float16, torch.bfloat16)

    def __init__(self, upscaler: Upscaler) -> None:
        super().__init__()
        self.register_modules(upscaler=upscaler)

    @classmethod
    def from_single_file(cls, file: str, *, dtype: torch.dtype = torch.float32) -> Self:
        """Load a network from its file.

        Args:
            file: The file.
            dtype: Type of numbers; the network stays in float32 where it does not compute rightly in this one.
        """
        upscaler = Upscaler.from_file(Path(file))
        return cls(upscaler.to(dtype) if upscaler.computes_in(dtype) else upscaler)

    @torch.no_grad()
    def __call__(
        self,
        image: PIL.Image.Image | list[PIL.Image.Image],
        tile: int = 256,
        tile_overlap: int = 32,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Make an image larger.

        Args:
            image (`PIL.Image.Image` or `list[PIL.Image.Image]`): The image. Its transparency is not kept.
            tile (`int`, *optional*, defaults to 256): Pixels of each side of the squares that the image is worked on in.
                Larger ones take more memory; 0 stands for the whole image at once.
            tile_overlap (`int`, *optional*, defaults to 32): Pixels that two neighbouring squares share, and are blended over.
            output_type (`str`, *optional*, defaults to `"pil"`): `"pil"` for images, `"np"` for an array in [0, 1] for each.
            return_dict (`bool`, *optional*, defaults to `True`): Whether to return an `ImagePipelineOutput` or a tuple.

        Returns:
            [`ImagePipelineOutput`] or `tuple`: The images, as many times larger as the network makes them.
        """
        pil_images = image if isinstance(image, list) else [image]
        self._check(pil_images, tile, tile_overlap)
        overlap = tile_overlap if tile else 0
        plans = [(spans(each.height, tile, overlap), spans(each.width, tile, overlap)) for each in pil_images]
        tiles = sum(len(rows) * len(columns) for rows, columns in plans)
        if tiles > len(pil_images) and self.upscaler.needs_context:
            name = self.upscaler.architecture
            logger.warning(
                "Networks of the architecture %s look at a whole image: `tile` 0 may make a better one.", name
            )
        made: list[Any] = []
        with self.progress_bar(total=tiles) as bar:

            def make(part: torch.Tensor) -> torch.Tensor:
                result: torch.Tensor = (
                    self.upscaler(part[None].to(self._execution_device, self.upscaler.dtype))[0].float().cpu()
                )
                bar.update()
                return result

            for pil_image, plan in zip(pil_images, plans, strict=True):
                numbers = torch.from_numpy(np.array(pil_image.convert("RGB"))).permute(2, 0, 1)
                larger = (
                    enlarged(numbers, self.upscaler.scale, plan, overlap, make).permute(1, 2, 0).contiguous().numpy()
                )
                made.append(PIL.Image.fromarray(larger) if output_type == "pil" else larger.astype(np.float32) / 255)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=made) if return_dict else (made,)

    def _check(self, pil_images: list[PIL.Image.Image], tile: int, overlap: int) -> None:
        """Refuse tiles that cannot be laid, and images that would become too large.

        Raises:
            InvalidParameterError: They are so.
        """
        if tile < 0:
            raise InvalidParameterError(f"'tile' must be 0 or more, not {tile}.", parameter="tile")
        if overlap < 0 or (tile and overlap > tile // 2):
            raise InvalidParameterError(
                f"'tile_overlap' must be from 0 to half of 'tile', which is {tile}, not {overlap}.",
                hint="Take an eighth of 'tile'.",
                parameter="tile_overlap",
            )
        scale = self.upscaler.scale
        for pil_image in pil_images:
            if pil_image.width * pil_image.height * scale * scale > MAX_PIXELS:
                raise InvalidParameterError(
                    f"An image of {pil_image.width}x{pil_image.height} becomes {scale} times as wide and as high by "
                    f"{self.upscaler.architecture}, more than the {MAX_PIXELS} pixels that are allowed.",
                    hint="Send a smaller one.",
                    parameter="image",
                )
