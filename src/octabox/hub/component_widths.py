"""Find the components of a model that do not fit each other, by their configurations and the headers of their weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from octabox.errors import IncompatibleWeightsError
from octabox.hub.adapters.controls import DENOISERS
from octabox.hub.checkpoints.tensors import read_safetensors
from octabox.hub.component_files import FileFault, as_mapping, read_settings
from octabox.hub.limits import MAX_JSON_BYTES
from octabox.hub.weights import weight_files

#: Prefixes of the names of tokenizers and of the text encoders that they belong to.
TOKENIZER, TEXT_ENCODER = "tokenizer", "text_encoder"

#: Name of the component that decodes latents.
VAE = "vae"

#: Setting of a denoiser for the width of the text features that its attention takes.
WIDTH = "cross_attention_dim"


def find_width_faults(folder: Path, components: Iterable[str]) -> Iterator[FileFault]:
    """Yield the tokenizers and denoisers that do not fit the text encoders, by their configurations and headers.

    Args:
        folder: Folder of the model.
        components: Names of the components that are loaded from it.
    """
    names = list(components)
    settings = {name: read_settings(folder / name / "config.json") for name in names}
    for name in names:
        encoder = name.replace(TOKENIZER, TEXT_ENCODER)
        size = settings.get(encoder, {}).get("vocab_size") if name.startswith(TOKENIZER) else None
        if isinstance(size, int) and (words := _count_tokens(folder / name)) > size:
            yield FileFault(name, f"{name} has {words} tokens, but its text encoder has embeddings for {size}.")
    encoders = [each for name, each in settings.items() if name.startswith(TEXT_ENCODER) and each]
    for name, each in settings.items():
        if isinstance(width := each.get(WIDTH), int) and encoders:
            accepted = {shape[1] for shape in _shapes(folder / name) if len(shape) == 2}  # noqa: PLR2004 (of a linear layer)
            if not takes_width(accepted, encoders):
                found = " and ".join(str(encoder.get("hidden_size", "other")) for encoder in encoders)
                message = f"{name} takes text features of width {width}, but the text encoder returns width {found}."
                yield FileFault(name, message)


def find_channel_faults(folder: Path, components: Iterable[str]) -> Iterator[FileFault]:
    """Yield the denoisers whose output cannot be the latents of the VAE, by their configurations.

    A denoiser returns at least the channels of the latents; more are for patches, for a variance, or dropped by the pipeline.

    Args:
        folder: Folder of the model.
        components: Names of the components that are loaded from it.
    """
    names = set(components)
    latents = read_settings(folder / VAE / "config.json").get("latent_channels") if VAE in names else None
    for name in sorted(names & {*DENOISERS}):
        channels = read_settings(folder / name / "config.json").get("out_channels")
        if type(latents) is type(channels) is int and channels < latents:
            message = f"{name} returns latents of {channels} channels, but {VAE} takes {latents}."
            yield FileFault(name, message)


def _count_tokens(folder: Path) -> int:
    """Return the number of tokens of a tokenizer without added ones; 0 if that is unknown."""
    model = as_mapping(read_settings(folder / "tokenizer.json", MAX_JSON_BYTES).get("model"))
    vocabulary = model.get("vocab") or read_settings(folder / "vocab.json", MAX_JSON_BYTES)
    return len(vocabulary) if isinstance(vocabulary, Mapping | list) else 0


def takes_width(accepted: Collection[int], encoders: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether a layer of a denoiser takes the width of a text encoder, or the sum of those of several.

    Args:
        accepted: Input widths of the denoiser's linear layers.
        encoders: Settings of the text encoders; their widths are among the integers, whatever the names are.
    """
    sums = {0}
    for encoder in encoders:
        sums |= {total + each for total in sums for each in _integers(encoder)}
    return not accepted or bool(set(accepted) & sums) or sums == {0}


def _integers(settings: Mapping[str, Any]) -> Iterator[int]:
    for value in settings.values():
        for each in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(each, int) and not isinstance(each, bool):
                yield each


def _shapes(folder: Path) -> Iterator[tuple[int, ...]]:
    """Yield the shapes of the tensors in the .safetensors files of a component."""
    for file in weight_files(folder):
        if file.path.suffix == ".safetensors" and file.path.parent == folder:
            try:
                yield from read_safetensors(file.path).values()
            except (IncompatibleWeightsError, OSError):
                continue
