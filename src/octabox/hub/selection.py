"""Select the files of a repository that are needed: one variant, one format, and only the components of its pipeline.

Only names are compared, so that the selection is the same on the Hub and in the cache.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

from octabox.hub.folder import CHECKPOINT_SUFFIXES, INDEX_FILES, index_components

#: What a repository is: a diffusers folder, a single component, or single files of one kind.
RepoKind = Literal["diffusers", "component", "checkpoint", "gguf", "lora", "embedding", "other"]

#: Kinds of repositories of which one file is used.
SINGLE_FILE_KINDS: frozenset[RepoKind] = frozenset({"checkpoint", "gguf", "lora", "embedding"})

#: Weights as diffusers and transformers save them; the shard number is before or after the variant.
_WEIGHTS = re.compile(
    r"(?P<stem>diffusion_pytorch_model|pytorch_model|model)(?P<shard>-\d+-of-\d+)?"
    r"(?:\.(?P<variant>[^.]+?)(?P<late_shard>-\d+-of-\d+)?)?\.(?P<suffix>safetensors|bin)"
)

#: The index of sharded weights; the variant is before or after the word index.
_SHARD_INDEX = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)\.(?P<suffix>safetensors|bin)"
    r"(?:\.(?P<variant>[^.]+))?\.index(?:\.(?P<late_variant>[^.]+))?\.json"
)

#: Suffixes of weights of any framework.
_WEIGHT_SUFFIXES = frozenset(
    (
        *(
            ".safetensors",
            ".bin",
            ".pt",
            ".pth",
            ".ckpt",
            ".gguf",
            ".onnx",
            ".onnx_data",
            ".pb",
            ".msgpack",
            ".h5",
            ".xml",
        ),
        *(".tflite", ".npz", ".engine", ".flashpack", ".zip", ".mlmodel", ".mlpackage"),
    )
)

#: The same, and suffixes of files for readers.
_OTHER = _WEIGHT_SUFFIXES | {".md", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4"}

#: Names without suffix that diffusers, PEFT and trainers give to LoRAs and embeddings.
LORA_STEMS = frozenset({"pytorch_lora_weights", "adapter_model"})
EMBEDDING_STEMS = frozenset({"learned_embeds"})


def kind_of_repository(names: Collection[str], tags: Collection[str] = ()) -> RepoKind:
    """Return what a repository is, by the names of its files and its tags."""
    stems = {PurePosixPath(name).stem for name in names if "/" not in name}
    suffixes = {PurePosixPath(name).suffix.lower() for name in names}
    if any(name in names for name in INDEX_FILES):
        return "diffusers"
    if "lora" in tags or stems & LORA_STEMS:
        return "lora"
    if "textual_inversion" in tags or stems & EMBEDDING_STEMS:
        return "embedding"
    if "config.json" in names and any(_WEIGHTS.fullmatch(name) for name in names):
        return "component"
    if ".gguf" in suffixes:
        return "gguf"
    return "checkpoint" if suffixes & CHECKPOINT_SUFFIXES else "other"


def weight_names(names: Iterable[str]) -> list[str]:
    """Return the names of files that may be used as a single file: safe formats first, then by name."""
    suffixes = (".safetensors", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
    found = [name for name in names if PurePosixPath(name).suffix.lower() in suffixes]
    return sorted(found, key=lambda name: (suffixes.index(PurePosixPath(name).suffix.lower()) > 1, "/" in name, name))


def holds_weights(names: Iterable[str]) -> bool:
    """Return whether any of these files has weights, of any framework."""
    return any(PurePosixPath(name).suffix.lower() in _WEIGHT_SUFFIXES for name in names)


def variants_of(names: Iterable[str]) -> list[str]:
    """Return the variants of the weights, such as fp16, the most common first."""
    found = (_WEIGHTS.fullmatch(PurePosixPath(name).name) for name in names)
    counts = Counter(match["variant"] for match in found if match and match["variant"])
    return [name for name, _ in counts.most_common()]


def select_files(
    names: Sequence[str],
    index: Mapping[str, Any] | None,
    variant: str | None = None,
    omit: Collection[str] = (),
    weightless: Collection[str] = (),
) -> list[str]:
    """Return the names of the files that a model needs.

    Args:
        names: All files of the repository.
        index: Content of its index; None for a repository of a single component.
        variant: Variant of the weights; components without it have the default one.
        omit: Components that come from another source.
        weightless: Components of which only the configuration is needed.
    """
    if index is None:
        return folder_files(names, "", variant)
    classes = {name for name, (_, cls) in index_components(index).items() if cls} - set(omit)
    folders = {name.partition("/")[0] for name in names if "/" in name}
    selected = [name for name in names if name in (*INDEX_FILES, "README.md")]
    pipeline = index.get("_class_name")
    if isinstance(pipeline, list):
        selected += [name for name in names if name == f"{pipeline[0]}.py"]
    for component in sorted(classes & folders):
        selected += folder_files(names, component, variant, weights=component not in weightless)
    if INDEX_FILES[0] in names and classes - folders:
        # The files of a component in the format of transformers may be at the top level.
        selected += folder_files(names, "", variant)
    return list(dict.fromkeys(selected))


def folder_files(names: Iterable[str], folder: str, variant: str | None = None, *, weights: bool = True) -> list[str]:
    """Return the names of the files that the component in a folder needs; the empty folder is the top level.

    Args:
        names: All files of the repository.
        folder: The folder, which may have several parts.
        variant: Variant of the weights.
        weights: Whether its weights are needed, not only its configuration.
    """
    prefix = f"{folder}/" if folder else ""
    inner = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    inner = inner if folder else [name for name in inner if "/" not in name]
    needed = _component_files(inner, variant) if weights else [name for name in inner if not _has_weights(name)]
    return [f"{prefix}{name}" for name in needed]


def essential_files(selected: Iterable[str]) -> list[str]:
    """Return the selected files without which a model cannot be loaded, which are those that diffusers downloads."""
    selected = list(selected)
    paths = [PurePosixPath(name) for name in selected]
    with_weights = {path.parent for path in paths if _WEIGHTS.fullmatch(path.name)}
    return [
        name
        for name, path in zip(selected, paths, strict=True)
        if path.name != "README.md"
        and (
            path.parent not in with_weights
            or path.name in ("config.json", *INDEX_FILES)
            or _WEIGHTS.fullmatch(path.name)
            or _SHARD_INDEX.fullmatch(path.name)
        )
    ]


def _component_files(names: Sequence[str], variant: str | None) -> list[str]:
    """Return the files that a component needs: weights of one variant in one format, and its other files."""
    weights = {name: match for name in names if (match := _WEIGHTS.fullmatch(name))}
    others = [name for name in names if not _has_weights(name)]
    if not weights:
        return others
    found = {match["variant"] for match in weights.values()}
    counts = Counter(match["variant"] for match in weights.values() if match["variant"])
    selected = variant if variant in found else None if None in found else counts.most_common(1)[0][0]
    of_variant = {name: match for name, match in weights.items() if match["variant"] == selected}
    safe = any(match["suffix"] == "safetensors" for match in of_variant.values())
    suffix = "safetensors" if safe else "bin"
    files = {name: match for name, match in of_variant.items() if match["suffix"] == suffix}
    shards = [name for name, match in files.items() if match["shard"] or match["late_shard"]]
    single = [name for name in files if name not in shards]
    # Where there are both, diffusers loads the shards, and transformers the single file.
    prefers_shards = any(match["stem"].startswith("diffusion") for match in files.values())
    use_shards = bool(shards) and (prefers_shards or not single)
    return [
        *(name for name in others if "/" not in name),
        *(_shard_indexes(names, suffix, selected) if use_shards else ()),
        *(shards if use_shards else single),
    ]


def _shard_indexes(names: Iterable[str], suffix: str, variant: str | None) -> list[str]:
    """Return the indexes of the shards of a variant in a format."""
    found = ((name, _SHARD_INDEX.fullmatch(name)) for name in names)
    return [
        name
        for name, match in found
        if match and match["suffix"] == suffix and (match["variant"] or match["late_variant"]) == variant
    ]


def _has_weights(name: str) -> bool:
    """Return whether a file has weights or lists their shards, or is for readers."""
    return _is_weights(name) or _SHARD_INDEX.fullmatch(name) is not None


def _is_weights(name: str) -> bool:
    """Return whether a file has weights of any framework, or is for readers."""
    path = PurePosixPath(name)
    return path.suffix.lower() in _OTHER or path.name.startswith(".")
