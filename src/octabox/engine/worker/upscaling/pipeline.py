"""A pipeline for image upscaling by a super-resolution network."""

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
from octabox.engine.worker.upscaling.results import build_output
from octabox.engine.worker.upscaling.tiles import tile_spans, upscale_tiles
from octabox.errors import InvalidParameterError

#: Its warnings are returned with the result.
logger = logging.getLogger(__name__)

#: Maximum number of pixels of an upscaled image; many image readers reject larger files.
MAX_PIXELS = 128 * 1024 * 1024


class ImageUpscalingPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Pipeline for image upscaling by a super-resolution network such as ESRGAN, Real-ESRGAN or SwinIR.

    The network is a single file of weights, which is loaded by spandrel, and determines the upscaling factor.

    Args:
        upscaler ([`Upscaler`]): The network.
    """

    model_cpu_offload_seq = "upscaler"

    #: Half precision dtypes in order of preference: float16 has more precision.
    preferred_dtypes = (torch.float16, torch.bfloat16)

    def __init__(self, upscaler: Upscaler) -> None:
        super().__init__()
        self.register_modules(upscaler=upscaler)

    @classmethod
    def from_single_file(cls, file: str, *, dtype: torch.dtype = torch.float32) -> Self:
        """Load a network from its file.

        Args:
            file: The file.
            dtype: The dtype; the network stays in float32 if it does not support it.
        """
        return cls(Upscaler.from_file(Path(file), dtype=dtype))

    @torch.no_grad()
    def __call__(
        self,
        image: PIL.Image.Image | list[PIL.Image.Image],
        tile: int = 256,
        tile_overlap: int = 32,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Upscale images.

        Args:
            image (`PIL.Image.Image` or `list[PIL.Image.Image]`): The image. Its alpha channel is dropped.
            tile (`int`, *optional*, defaults to 256): Size in pixels of the square tiles that the image is processed in.
                Larger ones need more memory; 0 processes the image without tiles.
            tile_overlap (`int`, *optional*, defaults to 32): Pixels by which tiles overlap, and over which they are blended.
            output_type (`str`, *optional*, defaults to `"pil"`): `"pil"` for images, `"np"` for an array in [0, 1] for each.
            return_dict (`bool`, *optional*, defaults to `True`): Whether to return an `ImagePipelineOutput` or a tuple.

        Returns:
            [`ImagePipelineOutput`] or `tuple`: The upscaled images.
        """
        pil_images = image if isinstance(image, list) else [image]
        self._check_inputs(pil_images, tile, tile_overlap)
        overlap = tile_overlap if tile else 0
        plans = [(tile_spans(each.height, tile, overlap), tile_spans(each.width, tile, overlap)) for each in pil_images]
        tiles = sum(len(rows) * len(columns) for rows, columns in plans)
        if tiles > len(pil_images):
            self._warn_about_tiles()
        upscaled: list[np.ndarray] = []
        with self.progress_bar(total=tiles) as bar:

            def upscale(part: torch.Tensor) -> torch.Tensor:
                result: torch.Tensor = (
                    self.upscaler(part[None].to(self._execution_device, self.upscaler.dtype))[0].float().cpu()
                )
                bar.update()
                return result

            for pil_image, plan in zip(pil_images, plans, strict=True):
                pixels = torch.from_numpy(np.array(pil_image.convert("RGB"))).permute(2, 0, 1)
                larger = (
                    upscale_tiles(pixels, self.upscaler.scale, plan, overlap, upscale)
                    .permute(1, 2, 0)
                    .contiguous()
                    .numpy()
                )
                upscaled.append(larger)
        self.maybe_free_model_hooks()
        return build_output(upscaled, output_type, return_dict=return_dict)

    def _warn_about_tiles(self) -> None:
        """Log a warning if the network needs the complete image."""
        if self.upscaler.needs_context:
            logger.warning(
                "Networks of the architecture %s use the complete image: `tile` 0 may give a better result.",
                self.upscaler.architecture,
            )

    def _check_inputs(self, pil_images: list[PIL.Image.Image], tile: int, overlap: int) -> None:
        """Check the tiles, and the size of the upscaled images.

        Raises:
            InvalidParameterError: A tile size is invalid, or an image would be too large.
        """
        if tile < 0:
            raise InvalidParameterError(f"'tile' must be 0 or more, not {tile}.", parameter="tile")
        if overlap < 0 or (tile and overlap > tile // 2):
            raise InvalidParameterError(
                f"'tile_overlap' must be from 0 to half of 'tile', which is {tile}, not {overlap}.",
                hint="Use an eighth of 'tile'.",
                parameter="tile_overlap",
            )
        scale = self.upscaler.scale
        for pil_image in pil_images:
            if pil_image.width * pil_image.height * scale * scale > MAX_PIXELS:
                raise InvalidParameterError(
                    f"An image of {pil_image.width}x{pil_image.height}, upscaled {scale} times by "
                    f"{self.upscaler.architecture}, has more than the {MAX_PIXELS} pixels that are allowed.",
                    hint="Use a smaller image.",
                    parameter="image",
                )
