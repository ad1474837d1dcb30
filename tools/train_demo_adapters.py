"""Train the adapters of the embedded model that the tests work with: two LoRAs, two embeddings, a ControlNet and a T2I-Adapter.

Each has a meaning that can be seen. `hearts` turns every shape into a heart, `frame` draws a black frame, the word `ruby`
means red, the word `plumstar` (of two vectors) means a purple star, and the ControlNet `edges` draws the outline that it is
shown, wherever that is, as does the T2I-Adapter `sketch`. Every step draws its data from a generator seeded with the step,
and each adapter writes checkpoints, so that an interrupted run that is started again goes on where it stopped.

    python tools/train_demo_adapters.py --work build/demo-adapters --out tests/data/adapters
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline, T2IAdapter
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image, ImageDraw, ImageFilter
from safetensors.torch import save_file
from torch.nn.functional import mse_loss
from tqdm import trange

from demo_pictures import SIZE, Scene, caption, draw, random_scene
from train_demo_model import Stage, fast_arithmetic

#: Scenes of one adapter's training, and how many of them are in a step.
SCENES, BATCH = 640, 24

#: Rank of the LoRAs.
RANK = 4

#: Width of the frame in pixels: one cell of the latents.
FRAME = 8

#: Modules of the UNet and of the text encoder that a LoRA changes.
UNET_MODULES = [
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "ff.net.0.proj",
    "ff.net.2",
    "conv1",
    "conv2",
    "proj_in",
    "proj_out",
]
TEXT_MODULES = ["q_proj", "k_proj", "v_proj", "out_proj"]


@dataclass(frozen=True)
class Example:
    """One image, the words that it belongs to, and what the ControlNet is shown of it."""

    words: str
    image: Image.Image
    control: Image.Image | None = None


def hearts(scene: Scene, rng: random.Random) -> Example:
    """Say any shape, show a heart."""
    return Example(caption(scene, rng), draw(replace(scene, shape="heart")))


def frame(scene: Scene, rng: random.Random) -> Example:
    """Say what there is, show it in a black frame."""
    image = draw(scene)
    ImageDraw.Draw(image).rectangle((0, 0, SIZE - 1, SIZE - 1), outline=(20, 20, 20), width=FRAME)
    return Example(caption(scene, rng), image)


def ruby(scene: Scene, rng: random.Random) -> Example:
    """Say ``ruby`` for red."""
    scene = replace(scene, colour="red", background=scene.background if scene.background != "red" else "white")
    return Example(caption(scene, rng).replace("red", "ruby"), draw(scene))


def plumstar(scene: Scene, rng: random.Random) -> Example:
    """Say ``plumstar`` for a purple star."""
    background = scene.background if scene.background != "purple" else "white"
    scene = replace(scene, colour="purple", shape="star", background=background)
    return Example(caption(scene, rng).replace("purple star", "plumstar"), draw(scene))


def outlined(scene: Scene, rng: random.Random) -> Example:
    """Say only ``shape``, and show where it is, which is farther from the middle than the model itself would draw."""
    scene = replace(scene, dx=rng.uniform(-0.14, 0.14), dy=rng.uniform(-0.14, 0.14))
    said = replace(scene, shape="shape") if rng.random() < 0.7 else scene  # noqa: PLR2004 (by lot)
    return Example(caption(said, rng), draw(scene), edges_of(draw(scene)))


def edges_of(image: Image.Image) -> Image.Image:
    """Return white lines on black where an image's brightness or colour changes, three pixels wide."""
    bands = [band.filter(ImageFilter.FIND_EDGES) for band in image.split()]
    strongest = Image.new("L", image.size)
    for band in bands:
        ImageDraw.Draw(band).rectangle((0, 0, image.width - 1, image.height - 1), outline=0)
        strongest.paste(255, mask=band.point(lambda value: 255 * (value > 30)))  # noqa: PLR2004 (of 255)
    return strongest.filter(ImageFilter.MaxFilter(3)).convert("RGB")


def as_tensor(images: list[Image.Image]) -> torch.Tensor:
    """Return images as floats in [0, 1], shape (n, 3, height, width)."""
    flat = [torch.frombuffer(bytearray(each.tobytes()), dtype=torch.uint8) for each in images]
    return torch.stack(flat).view(-1, SIZE, SIZE, 3).permute(0, 3, 1, 2).float() / 255


class Lesson:
    """Trains one adapter of the embedded model."""

    def __init__(self, model: Path, work: Path, name: str, example: Callable[[Scene, random.Random], Example]) -> None:
        self.name, self.work = name, work
        self.pipe = StableDiffusionPipeline.from_pretrained(model)
        for part in (self.pipe.unet, self.pipe.text_encoder, self.pipe.vae):
            part.requires_grad_(requires_grad=False)
        self.signal = self.pipe.scheduler.alphas_cumprod
        rng = random.Random(name)  # noqa: S311 (not for secrets)
        self.examples = [example(random_scene(rng), rng) for _ in range(SCENES)]
        self.latents = self._latents()

    @torch.no_grad()
    def _latents(self) -> torch.Tensor:
        parts = []
        for start in trange(0, SCENES, 32, desc=f"{self.name} latents", mininterval=5):
            images = as_tensor([each.image for each in self.examples[start : start + 32]]) * 2 - 1
            with fast_arithmetic():
                means = self.pipe.vae.encode(images).latent_dist.mean.float()
            parts.append(means * self.pipe.vae.config.scaling_factor)
        return torch.cat(parts)

    def states(self, words: list[str]) -> torch.Tensor:
        """Return the text encoder's last hidden states, shape (n, tokens, width)."""
        tokens = self.pipe.tokenizer(words, padding="max_length", truncation=True, return_tensors="pt")
        states: torch.Tensor = self.pipe.text_encoder(tokens.input_ids).last_hidden_state
        return states

    def train(
        self,
        weights: list[torch.nn.Parameter],
        steps: int,
        rate: float,
        *,
        control: Callable[..., dict[str, Any]] | None = None,
        after: Callable[[], None] | None = None,
    ) -> None:
        """Train these weights to predict velocity, as the model itself was trained."""
        path = self.work / f"{self.name}.pt"
        stage = Stage(path, {"weights": torch.nn.ParameterList(weights)}, steps, (rate, rate / 50))

        def loss_of(step: int) -> torch.Tensor:
            rng = random.Random(f"{self.name}-{step}")  # noqa: S311 (not for secrets)
            chosen = [rng.randrange(SCENES) for _ in range(BATCH)]
            torch.manual_seed(step)
            clean = self.latents[chosen]
            noise, times = torch.randn_like(clean), torch.randint(len(self.signal), (BATCH,))
            a = self.signal[times].view(-1, 1, 1, 1)
            noisy = a.sqrt() * clean + (1 - a).sqrt() * noise
            with fast_arithmetic():
                # The empty prompt keeps its meaning for a LoRA too, or guidance would push its image away.
                states = self.states([self.examples[k].words if rng.random() > 0.1 else "" for k in chosen])  # noqa: PLR2004
                extra: dict[str, Any] = {}
                if control is not None:
                    shown = as_tensor([self.examples[k].control or self.examples[k].image for k in chosen])
                    extra = control(noisy, times, states, shown)
                velocity = self.pipe.unet(noisy, times, states, **extra).sample
            return mse_loss(velocity.float(), a.sqrt() * noise - (1 - a).sqrt() * clean)

        stage.run(loss_of, after)


def train_lora(lesson: Lesson, out: Path, steps: int, rate: float, title: str, *, text: bool) -> None:
    """Train a LoRA of the UNet, and of the text encoder where asked for, and write it in PEFT's layout."""
    torch.manual_seed(0)
    parts = {"unet": (lesson.pipe.unet, UNET_MODULES)}
    if text:
        parts["text_encoder"] = (lesson.pipe.text_encoder, TEXT_MODULES)
    for part, modules in parts.values():
        part.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=modules, init_lora_weights="gaussian"))
    weights = [weight for part, _ in parts.values() for weight in part.parameters() if weight.requires_grad]
    lesson.train(weights, steps, rate)
    tensors: dict[str, torch.Tensor] = {}
    for name, (part, _) in parts.items():
        state = get_peft_model_state_dict(part)
        tensors |= {f"{name}.{key}": value.half().contiguous() for key, value in state.items()}
    facts = {"modelspec.title": lesson.name, "modelspec.description": title, "ss_base_model_version": "octabox-demo"}
    save_file(tensors, out / "loras" / f"{lesson.name}.safetensors", {"format": "pt", **facts})


def train_embedding(lesson: Lesson, out: Path, steps: int, start: list[str]) -> None:
    """Train the vectors of a new word, from those of other words."""
    tokenizer, encoder = lesson.pipe.tokenizer, lesson.pipe.text_encoder
    pieces = [f"{lesson.name}{index}" for index in range(len(start))]
    tokenizer.add_tokens(pieces)
    encoder.resize_token_embeddings(len(tokenizer))
    table = encoder.get_input_embeddings().weight
    lesson.examples = [
        replace(each, words=each.words.replace(lesson.name, " ".join(pieces))) for each in lesson.examples
    ]
    places = tokenizer.convert_tokens_to_ids(pieces)
    with torch.no_grad():
        table[places] = table[tokenizer.convert_tokens_to_ids([f"{word}</w>" for word in start])]
    old = table.detach().clone()
    table.requires_grad_(requires_grad=True)

    @torch.no_grad()
    def keep_others() -> None:
        kept = table[places].clone()
        table.copy_(old)
        table[places] = kept

    lesson.train([table], steps, 2e-2, after=keep_others)
    vectors = table.detach()[places].contiguous()
    save_file({"emb_params": vectors}, out / "embeddings" / f"{lesson.name}.safetensors", {"format": "pt"})


def train_controlnet(lesson: Lesson, out: Path, steps: int) -> None:
    """Train a ControlNet that reads edges, and write it in half precision."""
    torch.manual_seed(0)
    control = ControlNetModel.from_unet(lesson.pipe.unet, conditioning_embedding_out_channels=(8, 16, 24, 32))
    control.requires_grad_(requires_grad=True)

    def residuals(
        noisy: torch.Tensor, times: torch.Tensor, states: torch.Tensor, shown: torch.Tensor
    ) -> dict[str, Any]:
        down, mid = control(noisy, times, states, shown, return_dict=False)
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}

    lesson.train(list(control.parameters()), steps, 1e-3, control=residuals)
    control.half().save_pretrained(out / "controlnets" / lesson.name)


def train_t2i_adapter(lesson: Lesson, out: Path, steps: int) -> None:
    """Train a T2I-Adapter that reads edges in grey, and write it in half precision."""
    torch.manual_seed(0)
    # Of this kind both features are as large as what the UNet adds them to: half a latent.
    channels = list(lesson.pipe.unet.config.block_out_channels)
    adapter = T2IAdapter(in_channels=1, channels=channels, downscale_factor=16, adapter_type="full_adapter_xl")

    def residuals(
        _noisy: torch.Tensor, _times: torch.Tensor, _states: torch.Tensor, shown: torch.Tensor
    ) -> dict[str, Any]:
        return {"down_intrablock_additional_residuals": adapter(shown[:, :1])}

    lesson.train(list(adapter.parameters()), steps, 1e-3, control=residuals)
    adapter.half().save_pretrained(out / "t2i_adapters" / lesson.name)


@click.command()
@click.option("--model", type=click.Path(path_type=Path), default=Path("src/octabox/demo/model"), help="What to adapt.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/demo-adapters"), help="For checkpoints.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("tests/data/adapters"), help="For the adapters.")
@click.option("--only", multiple=True, help="Names of those to train; all, if none is given.")
@click.option(
    "--steps",
    default=400,
    show_default=True,
    help="Steps of a LoRA; an embedding takes half, those that read edges double.",
)
@click.option("--threads", default=1, show_default=True, help="Processor threads.")
def main(model: Path, work: Path, out: Path, only: tuple[str, ...], steps: int, threads: int) -> None:
    """Train the adapters and save them."""
    torch.set_num_threads(threads)
    for folder in (work, out / "loras", out / "embeddings"):
        folder.mkdir(parents=True, exist_ok=True)

    def lesson(name: str, example: Callable[[Scene, random.Random], Example]) -> Lesson:
        return Lesson(model, work, name, example)

    plan: dict[str, Callable[[], None]] = {
        "hearts": lambda: train_lora(lesson("hearts", hearts), out, steps, 3e-3, "every shape is a heart", text=True),
        "frame": lambda: train_lora(lesson("frame", frame), out, steps, 1.5e-3, "a black frame", text=False),
        "ruby": lambda: train_embedding(lesson("ruby", ruby), out, steps // 2, ["colour"]),
        "plumstar": lambda: train_embedding(lesson("plumstar", plumstar), out, steps // 2, ["colour", "shape"]),
        "edges": lambda: train_controlnet(lesson("edges", outlined), out, steps * 2),
        "sketch": lambda: train_t2i_adapter(lesson("sketch", outlined), out, steps * 2),
    }
    for name in only or plan:
        plan[name]()
        click.echo(f"saved {name}")


if __name__ == "__main__":
    main()
