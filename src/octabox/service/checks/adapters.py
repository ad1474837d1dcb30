"""Find the problems of the LoRAs, ControlNets and IP-Adapters of a model, by the headers and configurations of their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from octabox.catalog.components.faults import component_in, find_component_faults
from octabox.catalog.conditions.ip_adapter import takes_ip_adapter
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.tasks import CONTROL_COMPONENTS
from octabox.config.parsing import Entry
from octabox.config.problems import Problem
from octabox.errors import NotFoundError, OctaboxError, SecurityError
from octabox.hub.adapters.adapter_file import read_lora
from octabox.hub.adapters.compatibility import incompatibility
from octabox.hub.adapters.controls import DENOISERS, find_mismatches
from octabox.hub.adapters.ip_adapters import check_ip_adapter, resolve_ip_adapter_file
from octabox.hub.adapters.lora_source import resolve_lora_file
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.component_files import read_settings
from octabox.hub.component_widths import WIDTH
from octabox.hub.folder import CHECKPOINT_SUFFIXES, is_hub_id

#: Tensors of an IP-Adapter whose last dimension is the width of the denoiser's text features.
KEY_TENSORS = ".to_k_ip.weight"


def find_adapter_problems(
    entry: Entry, pipeline: PipelineEntry, catalog: Catalog, adapters: AdapterRegistry
) -> Iterator[Problem]:
    """Yield the problems of the adapters of a model; those of the Hub have none.

    Args:
        entry: The configuration of the model, with LoRAs by their files.
        pipeline: Its class.
        catalog: All classes.
        adapters: The LoRAs of the server.
    """
    folder = Path(entry.config.model)
    denoisers = (read_settings(folder / name / "config.json") for name in DENOISERS)
    denoiser = next((settings for settings in denoisers if settings), {})
    yield from _check_loras(entry, folder, adapters)
    yield from _check_components(entry, denoiser, catalog)
    yield from _check_ip_adapters(entry, pipeline, denoiser)


def _check_loras(entry: Entry, folder: Path, adapters: AdapterRegistry) -> Iterator[Problem]:
    """Check that each LoRA is one, and was trained for a model of this width."""
    for index, lora in enumerate(entry.config.adapters):
        if is_hub_id(lora.lora) and not Path(lora.lora).exists():
            continue
        key, name = ("adapters", index, "lora"), Path(lora.lora).name
        try:
            if not Path(lora.lora).exists():
                adapters.source(name)
            found = read_lora(resolve_lora_file(lora.lora), Path(lora.lora).stem)
        except (NotFoundError, SecurityError) as error:
            yield entry.problem(key, f"There is no LoRA {name!r}.", error.hint)
            continue
        except OctaboxError as error:
            yield entry.problem(key, error.message, error.hint)
            continue
        if reason := incompatibility(found, folder):
            message = f"LoRA {found.name!r} cannot be used. {reason}"
            yield entry.problem(key, message, "choose one that was trained for this model family")


def _check_components(entry: Entry, denoiser: Mapping[str, Any], catalog: Catalog) -> Iterator[Problem]:
    """Check the folders of components from other sources, and that ControlNets are of the model's family."""
    for name, part in entry.config.parts():
        source = Path(part.model or "")
        if not part.model or not source.exists() or source.suffix.lower() in CHECKPOINT_SUFFIXES:
            continue
        folder, key = source / (part.subfolder or ""), ("components", name, "model")
        if not folder.is_dir():
            yield entry.problem(key, f"There is no folder {folder}.", "check `subfolder`")
            continue
        ancestors = catalog.metadata.ancestors
        component = component_in(folder, name, ancestors)
        for fault in find_component_faults([(component, folder)], ancestors):
            yield entry.problem(key, fault.message, "check `subfolder`, or download it again")
        settings = read_settings(folder / "config.json")
        if CONTROL_COMPONENTS.search(name):
            for setting, value, expected in find_mismatches(settings, denoiser):
                difference = f"its {setting} is {value}, and the model's is {expected}"
                message = f"The {name} was made for another model family: {difference}."
                yield entry.problem(key, message, "choose one that was trained for this family")


def _check_ip_adapters(entry: Entry, pipeline: PipelineEntry, denoiser: Mapping[str, Any]) -> Iterator[Problem]:
    """Check that the class takes IP-Adapters, that each file is one, and that it is of the model's family."""
    if entry.config.ip_adapters and not takes_ip_adapter(pipeline):
        message = f"{pipeline.name} does not support IP-Adapters."
        yield entry.problem(("ip_adapters",), message, "remove `ip_adapters`")
        return
    for index, part in enumerate(entry.config.ip_adapters):
        if is_hub_id(part.model) and not Path(part.model).exists():
            continue
        key = ("ip_adapters", index, "model")
        if not Path(part.model).exists():
            message = f"There is no {Path(part.model).name!r} in the models folder."
            yield entry.problem(key, message, "put it there, or use a Hub id")
            continue
        try:
            file = resolve_ip_adapter_file(part.model, part.subfolder, part.weight_name)
            shapes = check_ip_adapter(file)
        except OctaboxError as error:
            yield entry.problem(key, error.message, error.hint)
            continue
        widths = {shape[-1] for name, shape in shapes.items() if name.endswith(KEY_TENSORS)}
        width = denoiser.get(WIDTH)
        if widths and isinstance(width, int) and width not in widths:
            found = " and ".join(map(str, sorted(widths)))
            message = f"{file.name} was trained with text features of width {found}, and the model has {width}."
            yield entry.problem(key, message, "choose one that was trained for this model family")
