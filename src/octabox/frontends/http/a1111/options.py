"""The options of the web UI: those of a caller, and those that a request overrides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from octabox.errors import ModelNotFoundError
from octabox.frontends.http.a1111.callers import Caller, Callers
from octabox.frontends.http.a1111.checkpoints import find_checkpoint, identity, is_other, title
from octabox.frontends.http.a1111.fields import Count, Number, drop_null
from octabox.frontends.http.a1111.modules import missing_warning, model_with, requested_modules
from octabox.frontends.http.bodies import check_fields
from octabox.media.formats import ALIASES, formats_of
from octabox.service.protocols import Models
from octabox.types import OutputFormat

#: The option for the model, and the one with its hash, which clients send back.
CHECKPOINT, CHECKPOINT_HASH = "sd_model_checkpoint", "sd_checkpoint_hash"

#: The options for the VAE, and for the VAE and the text encoders of Forge.
VAE, MODULES = "sd_vae", "forge_additional_modules"

#: The option for the model that restores faces.
RESTORER = "face_restoration_model"

#: The option for comments in prompts.
COMMENTS = "enable_prompt_comments"

#: Largest number of a layer of the text encoder, counted from the end.
MAX_LAYER = 64


def format_name(name: str) -> str:
    """Return the name of a format of images by that of the web UI."""
    lowered = name.strip().lower()
    return ALIASES.get(lowered, lowered)


class Options(BaseModel):
    """The options that have an effect."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sd_model_checkpoint: str | None = Field(None, description="Title or name of the model.")
    CLIP_stop_at_last_layers: Count = Field(
        1, ge=1, le=MAX_LAYER, description="Layer of the text encoder that is used, counted from the end."
    )
    samples_format: str = Field("png", description="Format of images: png, jpg or webp.")
    jpeg_quality: Count = Field(80, ge=0, le=100, description="Quality of jpg and webp.")
    live_previews_enable: bool = Field(
        default=True, description="Whether callers that read previews have some; where a request sets it, always."
    )
    show_progress_every_n_steps: Count = Field(
        10, ge=-1, le=1000, description="Steps between two previews; -1 turns them off."
    )
    sd_vae: str = Field("Automatic", description="The VAE; Automatic is that of the model.")
    forge_additional_modules: list[str] = Field(
        default_factory=list, max_length=16, description="The VAE and the text encoders; none are those of the model."
    )
    face_restoration_model: str | None = Field(
        None, description="The model for `restore_faces`; default: the first one."
    )
    initial_noise_multiplier: Number = Field(1.0, gt=0, le=4, description="Factor of the initial noise of img2img.")
    tiling: bool = Field(default=False, description="Whether opposite edges of images continue each other.")
    enable_prompt_comments: bool = Field(default=True, description="Whether `#` begins a comment in prompts.")
    return_grid: bool = Field(default=False, description="Whether the first of several images is a grid of them.")

    @field_validator("*", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        """Replace null by the default."""
        return cls.model_fields[info.field_name].get_default(call_default_factory=True) if value is None else value

    @field_validator("samples_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        """Refuse a format that no image can have, before it is kept for later requests."""
        known = formats_of(("image",))
        if format_name(value) not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return value

    @property
    def output(self) -> OutputFormat:
        """The format of images."""
        name = format_name(self.samples_format)
        return OutputFormat(name, None if name == "png" else self.jpeg_quality)

    @property
    def modules(self) -> dict[str, str]:
        """The option of each module that replaces one of the model, by the name of the module."""
        values = {VAE: [self.sd_vae], MODULES: self.forge_additional_modules}
        return {name: option for option, names in values.items() for name in requested_modules(names)}


def sent_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a client sets: neither those that are null nor a checkpoint that is that of the caller."""
    found = drop_null(values)
    name = found.get(CHECKPOINT)
    if isinstance(name, str) and not is_other(name):
        del found[CHECKPOINT]
    return found


def kept_options(models: Models, callers: Callers, caller: Caller) -> tuple[dict[str, Any], list[str]]:
    """Return the options that a caller has set, and warnings about those that have no effect any more.

    A model that has been removed or renamed since it was set is as one that was not set, so that the caller can set another.
    """
    options = callers.options(caller)
    try:
        if options.get(CHECKPOINT):
            find_checkpoint(models, options[CHECKPOINT])
    except ModelNotFoundError as error:
        name = options.pop(CHECKPOINT)
        return options, [f"The option '{CHECKPOINT}' is '{name}', and has no effect: {error.message}"]
    return options, []


def current_options(models: Models, set_options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a caller, with the title and the hash of its model.

    Args:
        models: The models of this server.
        set_options: The options that the caller has set.
    """
    options = Options.model_validate(set_options).model_dump()
    info = models.get(find_checkpoint(models, options[CHECKPOINT]))
    return {**options, CHECKPOINT: title(info), CHECKPOINT_HASH: identity(info)}


def change_options(models: Models, callers: Callers, caller: Caller, sent: Mapping[str, Any]) -> list[str]:
    """Set options of a caller, and return the warnings for those that have no effect.

    Options that have their value already are ignored, since clients send all of them back.

    Raises:
        ModelNotFoundError: There is no such model.
        RequestError: A value is invalid.
    """
    kept, warnings = kept_options(models, callers, caller)
    known = current_options(models, kept)
    changes = {name: value for name, value in sent_options(sent).items() if known.get(name) != value}
    changes.pop(CHECKPOINT_HASH, None)
    check_fields(Options, changes)
    if CHECKPOINT in changes:
        changes[CHECKPOINT] = find_checkpoint(models, str(changes[CHECKPOINT]))
        warnings = []
    callers.set_options(caller, {name: value for name, value in changes.items() if name in Options.model_fields})
    return [*warnings, *option_warnings(changes), *_module_warnings(models, {**kept, **changes}, changes)]


def _module_warnings(models: Models, options: Mapping[str, Any], changes: Mapping[str, Any]) -> list[str]:
    """Return a warning for each module that is set, and that no configuration of the model has."""
    names = Options.model_validate(changes).modules
    if not names:
        return []
    model = find_checkpoint(models, options.get(CHECKPOINT))
    return [missing_warning(models, model, name, names[name]) for name in model_with(models, model, names)[1]]


def option_warnings(changes: Mapping[str, Any]) -> list[str]:
    """Return a warning for each option without effect."""
    unknown = [name for name in changes if name not in Options.model_fields and name != CHECKPOINT_HASH]
    return [f"The option '{name[:60]}' has no effect." for name in unknown]
