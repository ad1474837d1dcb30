"""From ModelOptions to a model's configuration, by way of LocalAI's YAML, whose fields they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from octabox import demo
from octabox.config import localai
from octabox.config.discovery import demo_model, place
from octabox.config.model import ModelConfig, way
from octabox.config.parsing import Entry
from octabox.config.preset_merge import presets
from octabox.config.problems import did_you_mean, dotted, expectation, shown
from octabox.errors import ConfigError, ModelNotFoundError
from octabox.frontends.grpc.localai.contract import Message
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.loading.load_request import LoadRequest, json_object, quantization
from octabox.frontends.grpc.localai.loading.weights import check_safe
from octabox.hub.folder import is_hub_id
from octabox.types import ACCELERATOR

#: Stands for a file in messages about what LocalAI's core sent.
SENT = Path("ModelOptions")

#: LocalAI's YAML keys by fields of ModelOptions; a field that says nothing (0, "", false) is left out.
KEYS: Mapping[str, str] = {
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

#: Fields of a configuration that EngineArgs cannot say: they are told by other fields of ModelOptions.
TOLD_ELSEWHERE = frozenset({"name", "model", "path"})


def to_model(options: Message, environment: Environment, device: str | None = None) -> LoadRequest:
    """Return the model that ModelOptions mean.

    Args:
        options: The message.
        environment: LocalAI's variables.
        device: Device of the server's settings; it is stronger than LocalAI's switch for CUDA.

    Raises:
        ModelNotFoundError: There is no such file, and it is no Hub id.
        ConfigError: A field says what cannot be.
    """
    folder = Path(options.ModelPath or os.curdir)
    source = _source(options, folder)
    translation = localai.translate(_document(options, source), SENT, {})
    if errors := [problem for problem in translation.problems if problem.severity == "error"]:
        raise ConfigError(" ".join(each.message for each in errors), hint=errors[0].hint, parameter=errors[0].key)
    warnings = [problem.message for problem in translation.problems]
    fields = {**translation.fields, **_device(options, environment, device)}
    if options.F16Memory and fields.get("device") == "cpu" and translation.origins.get(("dtype",)) == "f16":
        fields["dtype"] = "float32"
        warnings.append("`f16` has no effect on a processor, which computes in float32.")
    if environment.disable_cpu_offload:
        fields["memory"] = "full"
    arguments = _engine_args(options.EngineArgs)
    fields = _merged(fields, arguments)
    components, denoiser = quantization(options.Quantization)
    fields = _merged(fields, {"components": {name: {"quantization": each} for name, each in components.items()}})
    if environment.prompt_syntax:
        fields.setdefault("prompt_syntax", environment.prompt_syntax)
    said = arguments.get("defaults", {})
    given = tuple(name for name in fields.get("defaults", {}) if name in said or _is_option(translation.origins, name))
    preset = presets()[fields["preset"]].settings if fields.get("preset") in presets() else {}
    if "config" in preset:
        fields.setdefault("config", environment.bfl_repo)
    defaults = {**_usual(environment, preset), **fields.pop("defaults", {})}
    if not environment.clipskip:
        defaults.pop("clip_skip", None)
    embedded = source == demo.NAME
    fields["defaults"] = {**(demo_model().defaults if embedded else {}), **defaults}
    config = _validated({**fields, "name": _name(options, source), "model": str(demo.FOLDER) if embedded else source})
    placed, _ = place(Entry(config, SENT), folder)
    if environment.safetensors:
        check_safe(Path(placed.config.model))
    return LoadRequest(
        placed.config, options.Model, given, denoiser, folder if options.ModelPath else None, tuple(warnings)
    )


def _source(options: Message, folder: Path) -> str:
    """Return where the model is: the file that the core has found, else what its configuration says."""
    wanted = options.Model
    for path in (options.ModelFile, str(folder / wanted) if wanted else ""):
        if path and os.path.exists(path):  # noqa: PTH110 (pathlib raises on odd paths)
            return str(Path(path).absolute())
    if is_hub_id(wanted) or wanted == demo.NAME:
        return str(wanted)
    missing = options.ModelFile or wanted
    hint = "Put it into the models folder, or give a Hub id like owner/name."
    raise ModelNotFoundError(f"There is no model at '{missing}'." if missing else "No model is named.", hint=hint)


def _name(options: Message, source: str) -> str:
    """Return the model's name in messages."""
    name = str(options.Model or Path(source).name).strip()
    return Path(name).name if name.startswith(("/", "\\")) or "\\" in name else name


def _document(options: Message, source: str) -> dict[str, Any]:
    """Return ModelOptions as LocalAI's YAML would say the same."""
    document: dict[str, Any] = {"diffusers": {}}
    for field, key in KEYS.items():
        if value := getattr(options, field):
            section, _, name = key.rpartition(".")
            (document[section] if section else document)[name or key] = value
    if not options.LoraAdapter:
        document.pop("lora_base", None)
        document.pop("lora_scale", None)
    if options.LoraAdapters:
        document["lora_adapters"], document["lora_scales"] = list(options.LoraAdapters), list(options.LoraScales)
    document["options"] = [option for option in options.Options if option.strip()]
    return {**document, "f16": options.F16Memory, "parameters": {"model": source}}


def _device(options: Message, environment: Environment, device: str | None) -> dict[str, Any]:
    """Return the device: LocalAI's is the processor where neither CUDA nor XPU is asked for, and on a Mac its graphics.

    CUDA asks for an accelerator of whatever maker; where there is none, the load fails, as LocalAI's does.
    """
    if device is not None:
        return {"device": device}
    if environment.xpu:
        return {"device": "xpu"}
    if options.CUDA:
        return {"device": ACCELERATOR}
    return {} if sys.platform == "darwin" else {"device": "cpu"}


def _usual(environment: Environment, preset: Mapping[str, Any]) -> dict[str, Any]:
    """Return call parameters that LocalAI's variables give to pipelines that have them, or in place of a preset's."""
    usual = {"decode_chunk_size": environment.chunk_size}
    return {**usual, "num_frames": environment.frames} if "num_frames" in preset.get("defaults", {}) else usual


def _is_option(origins: Mapping[tuple[int | str, ...], str], name: str) -> bool:
    """Return whether a default comes from an option, not from a field of its own, which holds only where it applies."""
    return origins.get(("defaults", name), "").startswith("options.")


def _engine_args(text: str) -> dict[str, Any]:
    """Return the fields of a configuration that EngineArgs name.

    Raises:
        ConfigError: They are no JSON object, or name what is no field.
    """
    if not text.strip():
        return {}
    given = json_object(text, "EngineArgs")
    known = ModelConfig.model_fields.keys() - TOLD_ELSEWHERE
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known).capitalize() or f"There are {', '.join(sorted(known))}."
            raise ConfigError(f"EngineArgs: there is no key '{name}'.", hint=hint, parameter=name)
    for name in ("defaults", "components"):
        if not isinstance(given.get(name, {}), dict):
            raise ConfigError(f"EngineArgs: `{name}` must be an object, not {shown(given[name])}.", parameter=name)
    return given


def _merged(fields: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return two configurations as one; the second is the stronger."""
    both = dict(fields)
    for name, value in more.items():
        old = both.get(name)
        both[name] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both


def _validated(fields: Mapping[str, Any]) -> ModelConfig:
    """Return a configuration.

    Raises:
        ConfigError: A field has a wrong value; all of them are named.
    """
    try:
        return ModelConfig.model_validate(fields)
    except ValidationError as error:
        wrong = [
            f"`{dotted(way(each['loc']))}` {expectation(each)}, not {shown(each['input'])}." for each in error.errors()
        ]
        raise ConfigError(" ".join(wrong), parameter=dotted(way(error.errors()[0]["loc"]))) from None
