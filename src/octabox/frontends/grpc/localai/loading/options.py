"""Translate ModelOptions to a model's configuration, by LocalAI's YAML keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from octabox import demo
from octabox.config import localai
from octabox.config.discovery import demo_model, resolve_sources
from octabox.config.model import ACCELERATOR, ModelConfig, key_path
from octabox.config.parsing import Entry
from octabox.config.preset_merge import presets
from octabox.config.problems import KeyPath, describe_problem, did_you_mean, format_value, join_key
from octabox.errors import ConfigError, ModelNotFoundError
from octabox.frontends.grpc.localai.contract import Message
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.loading import stages
from octabox.frontends.grpc.localai.loading.load_request import LoadRequest, parse_json_object, parse_quantization
from octabox.frontends.grpc.localai.loading.weights import check_safe
from octabox.hub.folder import is_hub_id

#: Name in messages instead of a configuration file.
MESSAGE_FILE = Path("ModelOptions")

#: LocalAI's YAML keys by fields of ModelOptions. Empty fields (0, "", false) are left out.
YAML_KEYS: Mapping[str, str] = {
    "PipelineType": "diffusers.pipeline_type",
    "SchedulerType": "diffusers.scheduler_type",
    "CFGScale": "cfg_scale",
    "IMG2IMG": "diffusers.img2img",
    "CLIPModel": "diffusers.clip_model",
    "CLIPSubfolder": "diffusers.clip_subfolder",
    "CLIPSkip": "diffusers.clip_skip",
    "ControlNet": "diffusers.control_net",
    "LoraAdapter": "lora_adapter",
    "LoraBase": "lora_base",
    "LoraScale": "lora_scale",
    "TrustRemoteCode": "trust_remote_code",
    "TensorParallelSize": "tensor_parallel_size",
    "DType": "dtype",
    "LowVRAM": "low_vram",
}

#: Fields of a configuration that EngineArgs cannot set, because other fields of ModelOptions set them.
RESERVED_FIELDS = frozenset({"name", "model", "path"})


def to_model(options: Message, environment: Environment, device: str | None = None) -> LoadRequest:
    """Return the request to load a model.

    Args:
        options: The message.
        environment: LocalAI's variables.
        device: Device of the server's settings, which overrides LocalAI's CUDA.

    Raises:
        ModelNotFoundError: The model is neither a file nor a Hub id.
        ConfigError: A field has an invalid value.
    """
    folder = Path(options.ModelPath or os.curdir)
    arguments = _engine_args(options.EngineArgs)
    source = stages.first_model(arguments) or _source(options, folder)
    translation = localai.translate(_document(options, source), MESSAGE_FILE, {})
    if errors := [problem for problem in translation.problems if problem.severity == "error"]:
        raise ConfigError(" ".join(each.message for each in errors), hint=errors[0].hint, parameter=errors[0].key)
    warnings = [problem.message for problem in translation.problems]
    fields = _merge({**translation.fields, **_device(options, environment, device)}, arguments)
    changed, conflicts = _fallbacks(fields, options, environment, arguments, translation.origins)
    fields, warnings = {**fields, **changed}, [*warnings, *conflicts]
    components, denoiser = parse_quantization(options.Quantization)
    fields = _merge(fields, {"components": {name: {"quantization": each} for name, each in components.items()}})
    if environment.prompt_syntax:
        fields.setdefault("prompt_syntax", environment.prompt_syntax)
    argument_defaults = arguments.get("defaults", {})
    if not environment.clipskip:
        fields.get("defaults", {}).pop("clip_skip", None)
    names = tuple(
        name
        for name in fields.get("defaults", {})
        if name in argument_defaults or _is_option(translation.origins, name)
    )
    # The preset of EngineArgs may be of any type until the configuration is validated.
    preset = presets().get(str(fields.get("preset")))
    settings = {} if preset is None else preset.settings
    if "config" in settings:
        fields.setdefault("config", environment.bfl_repo)
    defaults = {**_environment_defaults(environment, settings), **fields.pop("defaults", {})}
    embedded = source == demo.NAME and "stages" not in arguments
    fields["defaults"] = {**(demo_model().defaults if embedded else {}), **defaults}
    config = _validate({**fields, "name": _name(options, source), "model": str(demo.FOLDER) if embedded else source})
    config = _place(config, folder, safe=environment.safetensors)
    warnings += stages.unused_source(config, options.Model)
    return LoadRequest(config, options.Model, names, denoiser, folder if options.ModelPath else None, tuple(warnings))


def _place(config: ModelConfig, folder: Path, *, safe: bool) -> ModelConfig:
    """Return a configuration with absolute sources, and check that the weights are safetensors files if they must be."""
    if not config.stages:
        config = resolve_sources(Entry(config, MESSAGE_FILE), folder)[0].config
    else:
        config = stages.place(config, folder)
    if safe:
        for model in [stage.model for stage in config.stages] or [config.model]:
            check_safe(Path(model))
    return config


def _source(options: Message, folder: Path) -> str:
    """Return the path or Hub id of the model: ModelFile if it exists, else Model."""
    model = options.Model
    for path in (options.ModelFile, str(folder / model) if model else ""):
        if path and os.path.exists(path):  # noqa: PTH110 (pathlib raises on odd paths)
            return str(Path(path).absolute())
    if is_hub_id(model) or model == demo.NAME:
        return str(model)
    missing = options.ModelFile or model
    hint = "Add it to the models folder, or set a Hub id like owner/name."
    raise ModelNotFoundError(f"There is no model at '{missing}'." if missing else "The model is missing.", hint=hint)


def _name(options: Message, source: str) -> str:
    """Return the name of the model in messages."""
    name = str(options.Model or Path(source).name).strip()
    return Path(name).name if name.startswith(("/", "\\")) or "\\" in name else name


def _document(options: Message, source: str) -> dict[str, Any]:
    """Return ModelOptions as a document of LocalAI's YAML."""
    document: dict[str, Any] = {"diffusers": {}}
    for field, key in YAML_KEYS.items():
        if value := getattr(options, field):
            section, _, name = key.rpartition(".")
            (document[section] if section else document)[name or key] = value
    lists = {"lora_adapters": list(options.LoraAdapters), "lora_scales": list(options.LoraScales)}
    document |= {key: values for key, values in lists.items() if values}
    if not options.LoraAdapter and not options.LoraAdapters:
        document.pop("lora_base", None)
        document.pop("lora_scale", None)
    document["options"] = [option for option in options.Options if option.strip()]
    return {**document, "f16": options.F16Memory, "parameters": {"model": source}}


def _device(options: Message, environment: Environment, device: str | None) -> dict[str, Any]:
    """Return the device: the CPU without CUDA and XPU, as in LocalAI; on macOS the default.

    CUDA requests an accelerator of any vendor. Without one the load fails, as in LocalAI.
    """
    if device is not None:
        return {"device": device}
    if environment.xpu:
        return {"device": "xpu"}
    if options.CUDA:
        return {"device": ACCELERATOR}
    return {} if sys.platform == "darwin" else {"device": "cpu"}


def _fallbacks(
    fields: Mapping[str, Any],
    options: Message,
    environment: Environment,
    arguments: Mapping[str, Any],
    origins: Mapping[KeyPath, str],
) -> tuple[dict[str, Any], list[str]]:
    """Return the dtype and the memory mode of conflicting fields and variables, and warnings; EngineArgs have priority."""
    changed: dict[str, Any] = {}
    warnings = []
    is_half = options.F16Memory and origins.get(("dtype",)) == "f16"
    if is_half and "dtype" not in arguments and fields.get("device") == "cpu":
        changed["dtype"] = "float32"
        warnings.append("`f16` has no effect on a CPU, which computes in float32.")
    if environment.disable_cpu_offload and "memory" not in arguments:
        if options.LowVRAM:
            warnings.append("DISABLE_CPU_OFFLOAD has no effect: `low_vram` is set for this model.")
        else:
            changed["memory"] = "full"
    return changed, warnings


def _environment_defaults(environment: Environment, preset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of call parameters that LocalAI's variables set."""
    defaults = {"decode_chunk_size": environment.chunk_size}
    return {**defaults, "num_frames": environment.frames} if "num_frames" in preset.get("defaults", {}) else defaults


def _is_option(origins: Mapping[KeyPath, str], name: str) -> bool:
    """Return whether a default was set by an option; the default of a field applies only where the pipeline has it."""
    return origins.get(("defaults", name), "").startswith("options.")


def _engine_args(text: str) -> dict[str, Any]:
    """Return the fields of a configuration in EngineArgs.

    Raises:
        ConfigError: EngineArgs are not a JSON object, or a field is unknown.
    """
    if not text.strip():
        return {}
    fields = parse_json_object(text, "EngineArgs")
    known = ModelConfig.model_fields.keys() - RESERVED_FIELDS
    for name in fields:
        if name not in known:
            hint = did_you_mean(name, known).capitalize() or f"There are {', '.join(sorted(known))}."
            raise ConfigError(f"EngineArgs: there is no key '{name}'.", hint=hint, parameter=name)
    for name in ("defaults", "components"):
        if not isinstance(fields.get(name, {}), dict):
            raise ConfigError(
                f"EngineArgs: `{name}` must be an object, not {format_value(fields[name])}.", parameter=name
            )
    return fields


def _merge(fields: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the values of another one, recursively."""
    merged = dict(fields)
    for name, value in overrides.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _validate(fields: Mapping[str, Any]) -> ModelConfig:
    """Return a configuration.

    Raises:
        ConfigError: Fields have invalid values; the message names all of them.
    """
    try:
        return ModelConfig.model_validate(fields)
    except ValidationError as error:
        messages = [describe_problem(key_path(each["loc"]), each) for each in error.errors()]
        raise ConfigError(" ".join(messages), parameter=join_key(key_path(error.errors()[0]["loc"]))) from None
