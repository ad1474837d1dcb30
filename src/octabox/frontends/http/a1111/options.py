"""The options of the web UI: those of a caller, and those that a request overrides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from octabox.frontends.http.a1111.callers import Caller, Callers
from octabox.frontends.http.a1111.checkpoints import find_checkpoint, identity, title
from octabox.frontends.http.a1111.fields import Count, Number, drop_null
from octabox.frontends.http.bodies import check_fields
from octabox.service.protocols import ModelService
from octabox.types import OutputFormat

#: The option for the model, and the one with its hash, which clients send back.
CHECKPOINT, CHECKPOINT_HASH = "sd_model_checkpoint", "sd_checkpoint_hash"

#: Values of the options for a VAE that mean that of the model.
DEFAULT_VAE = ("", "automatic", "none")

#: Formats of images by the names of the web UI.
FORMATS = {"jpg": "jpeg"}


class Options(BaseModel):
    """The options that have an effect."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sd_model_checkpoint: str | None = Field(None, description="Title or name of the model.")
    CLIP_stop_at_last_layers: Count = Field(
        1, ge=1, le=64, description="Layer of the text encoder that is used, counted from the end."
    )
    samples_format: str = Field("png", description="Format of images: png, jpg or webp.")
    jpeg_quality: Count = Field(80, ge=0, le=100, description="Quality of jpg and webp.")
    live_previews_enable: bool = Field(
        default=True, description="Whether callers that read previews have some; where a request sets it, always."
    )
    show_progress_every_n_steps: Count = Field(
        10, ge=-1, le=1000, description="Steps between two previews; -1 turns them off."
    )
    sd_vae: str = Field("Automatic", description="The VAE; only that of the model.")
    initial_noise_multiplier: Number = Field(1.0, gt=0, le=4, description="Factor of the initial noise of img2img.")
    tiling: bool = Field(default=False, description="Whether opposite edges of images continue each other.")
    return_grid: bool = Field(default=False, description="Accepted for compatibility; no grid is made.")

    @field_validator("*", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        """Replace null by the default."""
        return cls.model_fields[info.field_name].default if value is None else value

    @property
    def output(self) -> OutputFormat:
        """The format of images."""
        name = self.samples_format.lower()
        name = FORMATS.get(name, name)
        return OutputFormat(name, None if name == "png" else self.jpeg_quality)


def current_options(models: ModelService, set_options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a caller, with the title and the hash of its model.

    Args:
        models: The models of this server.
        set_options: The options that the caller has set.
    """
    options = Options.model_validate(set_options).model_dump()
    info = models.get(find_checkpoint(models, options[CHECKPOINT]))
    return {**options, CHECKPOINT: title(info), CHECKPOINT_HASH: identity(info)}


def change_options(models: ModelService, callers: Callers, caller: Caller, sent: Mapping[str, Any]) -> list[str]:
    """Set options of a caller, and return the warnings for those that have no effect.

    Options that have their value already are ignored, since clients send all of them back.

    Raises:
        ModelNotFoundError: There is no such model.
        RequestError: A value is invalid.
    """
    known = current_options(models, callers.options(caller))
    changes = {name: value for name, value in drop_null(sent).items() if known.get(name) != value}
    changes.pop(CHECKPOINT_HASH, None)
    check_fields(Options, changes)
    if CHECKPOINT in changes:
        changes[CHECKPOINT] = find_checkpoint(models, str(changes[CHECKPOINT]))
    callers.set_options(caller, {name: value for name, value in changes.items() if name in Options.model_fields})
    return option_warnings(changes)


def option_warnings(changes: Mapping[str, Any]) -> list[str]:
    """Return a warning for each option without effect."""
    unknown = [name for name in changes if name not in Options.model_fields and name != CHECKPOINT_HASH]
    warnings = [f"The option '{name}' has no effect." for name in unknown]
    if str(changes.get("sd_vae") or "").casefold() not in DEFAULT_VAE:
        warnings.append("The option 'sd_vae' has no effect: a model has its own VAE, or that of its configuration.")
    if changes.get("return_grid"):
        warnings.append("The option 'return_grid' has no effect: no grid is made.")
    return warnings
