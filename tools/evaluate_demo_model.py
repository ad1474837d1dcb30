"""Measure the embedded model on 200 prompts with fixed seeds, and write the figures into its model card.

python tools/evaluate_demo_model.py --model src/octabox/demo/model
"""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path

import click
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from tqdm import tqdm

from demo_pictures import COLOURS, SHAPES, Scene, border_colour, centre_colour, random_scene, shape_of

#: How pictures are made for the measurement.
STEPS, GUIDANCE = 20, 3.0

CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---
# The embedded model of Octabox

A text-to-image model of {weights:.1f} million weights that draws one shape of one colour on a plain background, {size}x{size}
pixels. It shows a newcomer a first picture within seconds, and lets Octabox's tests check what a picture *means*. It is a
`StableDiffusionPipeline` in diffusers' folder format, trained from nothing by `tools/train_demo_model.py` on pictures that
`tools/demo_pictures.py` draws.

- Say: "a [small|large] COLOUR SHAPE on a COLOUR background"
- Colours: {colours}
- Shapes: {shapes}
- Settings: {steps} steps, `guidance_scale` {guidance:g}

Measured by `tools/evaluate_demo_model.py` on {count} prompts with fixed seeds, {steps} steps and guidance {guidance:g}:

| figure | value |
|---|---|
| centre has the asked colour | {centre:.1%} |
| border has the asked background | {border:.1%} |
| both | {both:.1%} |
| shape is correct (best overlap among the shapes' masks) | {shape:.1%} |
| seconds an image, one thread (median) | {seconds:.2f} |
"""


def make(pipe: StableDiffusionPipeline, scene: Scene, seed: int) -> Image.Image:
    """Return the model's picture of a scene."""
    generator = torch.Generator("cpu").manual_seed(seed)
    output = pipe(scene.prompt, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generator)
    picture = output.images[0]
    assert isinstance(picture, Image.Image)
    return picture


@click.command()
@click.option("--model", type=click.Path(exists=True, path_type=Path), default=Path("src/octabox/demo/model"))
@click.option("--count", default=200, show_default=True, help="Prompts.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Write the first 64 pictures into one.")
@click.option("--card/--no-card", default=True, help="Write the figures into the model's README.md.")
def main(model: Path, count: int, sheet: Path | None, *, card: bool) -> None:
    """Measure a model folder."""
    torch.set_num_threads(1)
    pipe = StableDiffusionPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    rng = random.Random("evaluation")  # noqa: S311 (not for secrets)
    rows, pictures = [], []
    for seed in tqdm(range(count), mininterval=5):
        scene = random_scene(rng)
        began = time.perf_counter()
        picture = make(pipe, scene, seed)
        seconds = time.perf_counter() - began
        centre, border = centre_colour(picture) == scene.colour, border_colour(picture) == scene.background
        rows.append(
            (
                centre,
                border,
                centre and border,
                shape_of(picture, scene.colour, scene.background) == scene.shape,
                seconds,
            )
        )
        pictures.append(picture)
    centre, border, both, shape = (statistics.mean(column) for column in list(zip(*rows, strict=True))[:4])
    text = CARD.format(
        weights=sum(w.numel() for part in (pipe.unet, pipe.vae, pipe.text_encoder) for w in part.parameters()) / 1e6,
        size=pictures[0].width,
        colours=", ".join(COLOURS),
        shapes=", ".join(SHAPES),
        steps=STEPS,
        guidance=GUIDANCE,
        count=count,
        centre=centre,
        border=border,
        both=both,
        shape=shape,
        seconds=statistics.median(row[4] for row in rows),
    )
    click.echo(text[text.index("| figure") :])
    if card:
        (model / "README.md").write_text(text, encoding="utf-8")
    if sheet:
        _sheet(pictures[:64]).save(sheet)


def _sheet(pictures: list[Image.Image], columns: int = 8) -> Image.Image:
    """Return pictures side by side."""
    width, height = pictures[0].size
    whole = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height))
    for index, picture in enumerate(pictures):
        whole.paste(picture, (index % columns * width, index // columns * height))
    return whole


if __name__ == "__main__":
    main()
