"""Request bodies of ``txt2img`` and ``img2img``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from octabox.frontends.http.a1111.fields import Count, LenientModel, Number, Unbounded
from octabox.noise import MAX_SIDE

#: The seed by which clients ask for one at random.
RANDOM = -1


class GenerationBody(LenientModel):
    """Fields of both routes."""

    prompt: str = Field("", description="The prompt, in the syntax of the web UI.")
    negative_prompt: str = Field("", description="The negative prompt.")
    styles: list[str] = Field(default_factory=list, description="Names of styles.")
    seed: Count = Field(RANDOM, description="Seed of the first image; -1 is at random.")
    subseed: Count = Field(RANDOM, description="Seed of the variation noise; -1 is at random.")
    subseed_strength: Number = Field(0.0, ge=0, le=1, description="Share of the variation noise.")
    seed_resize_from_h: Count = Field(-1, le=MAX_SIDE, description="Height of the image whose noise is in the centre.")
    seed_resize_from_w: Count = Field(-1, le=MAX_SIDE, description="Width of that image.")
    sampler_name: str | None = Field(None, description="The sampler; default: the model's.")
    sampler_index: str | None = Field(None, description="The sampler, if `sampler_name` is null.")
    scheduler: str | None = Field(None, description="The schedule; default: that of the sampler.")
    batch_size: Count = Field(1, ge=1, description="Images of each batch.")
    n_iter: Count = Field(1, ge=1, description="Number of batches.")
    steps: Count = Field(50, ge=1, description="Number of steps; default: the model's.")
    cfg_scale: Number = Field(7.0, description="Guidance scale; default: the model's.")
    distilled_cfg_scale: Number = Field(3.5, description="Guidance scale of distilled models; default: the model's.")
    width: Count = Field(512, ge=1, description="Width in pixels; default: the model's, or the image's.")
    height: Count = Field(512, ge=1, description="Height in pixels; default: the model's, or the image's.")
    restore_faces: bool = Field(default=False, description="Whether to restore faces, by the first model that does.")
    tiling: bool = Field(default=False, description="Whether opposite edges continue each other.")
    do_not_save_samples: bool = Field(default=False, description="No effect: `save_images` decides.")
    do_not_save_grid: bool = Field(default=False, description="Whether no grid is made, whatever the options.")
    disable_extra_networks: bool = Field(default=False, description="Whether tags of LoRAs have no effect.")
    eta: Number | None = Field(None, description="Noise of DDIM, where the pipeline or the sampler has it.")
    denoising_strength: Number = Field(0.75, ge=0, le=1, description="Strength of img2img, or of the second pass.")
    s_min_uncond: Number | None = Field(None, description="No effect.")
    s_churn: Number | None = Field(None, ge=0, description="Noise that each step adds, where the sampler has it.")
    s_tmax: Unbounded | None = Field(None, ge=0, description="Largest sigma at which it does.")
    s_tmin: Number | None = Field(None, ge=0, description="Smallest sigma at which it does.")
    s_noise: Number | None = Field(None, ge=0, description="Scale of that noise.")
    override_settings: dict[str, Any] = Field(default_factory=dict, description="Options of this request alone.")
    override_settings_restore_afterwards: bool = Field(default=True, description="Options are always restored.")
    refiner_checkpoint: str | None = Field(None, description="Model that refines the image.")
    refiner_switch_at: Number | None = Field(None, ge=0, le=1, description="Fraction of the steps before it does.")
    send_images: bool = Field(default=True, description="Whether the response has the images.")
    save_images: bool = Field(default=False, description="Whether the server stores the images, if it has a folder.")
    force_task_id: str | None = Field(None, max_length=200, description="Id of the task, for its progress.")
    infotext: str | None = Field(None, description="Infotext with defaults of the other fields.")
    comments: dict[str, Any] | None = Field(None, description="No effect.")
    script_name: str | None = Field(None, description="A script; see `GET /sdapi/v1/scripts`.")
    script_args: list[Any] = Field(default_factory=list, description="Arguments of the script.")
    alwayson_scripts: dict[str, Any] = Field(default_factory=dict, description="Scripts such as ControlNet.")

    @field_validator("seed", "subseed", mode="before")
    @classmethod
    def _empty_is_random(cls, value: Any) -> Any:
        """Accept an empty text for a seed at random."""
        return RANDOM if value == "" else value

    @field_validator("script_args", mode="before")
    @classmethod
    def _args_list(cls, value: Any) -> Any:
        """Accept an empty object for no arguments."""
        return [] if value == {} else value


class TextToImageBody(GenerationBody):
    """Body of ``txt2img``."""

    enable_hr: bool = Field(default=False, description="Whether there is a second pass at a larger size.")
    firstphase_width: Count = Field(0, ge=0, description="Width of the first pass; `width` is then the result's.")
    firstphase_height: Count = Field(0, ge=0, description="Height of the first pass.")
    firstpass_image: str | None = Field(None, description="Image in place of the first pass.")
    hr_scale: Number = Field(2.0, gt=0, le=16, description="Factor of each side.")
    hr_upscaler: str | None = Field(None, description="Filter or model that enlarges; default: Latent.")
    hr_second_pass_steps: Count = Field(0, ge=0, description="Steps of the second pass; 0 is those of the first.")
    hr_resize_x: Count = Field(0, ge=0, description="Width of the result, in place of the scale.")
    hr_resize_y: Count = Field(0, ge=0, description="Height of the result.")
    hr_checkpoint_name: str | None = Field(None, description="Model of the second pass.")
    hr_sampler_name: str | None = Field(None, description="Sampler of the second pass.")
    hr_scheduler: str | None = Field(None, description="Schedule of the second pass.")
    hr_prompt: str = Field("", description="Prompt of the second pass.")
    hr_negative_prompt: str = Field("", description="Negative prompt of the second pass.")
    hr_cfg: Number | None = Field(None, description="Guidance scale of the second pass.")
    hr_distilled_cfg: Number | None = Field(None, description="That of distilled models.")
    hr_additional_modules: list[Any] = Field(default_factory=list, description="VAE and text encoders of that pass.")


class ImageToImageBody(GenerationBody):
    """Body of ``img2img``."""

    init_images: list[str] = Field(default_factory=list, description="Images in base64 or as data URIs.")
    resize_mode: Count = Field(0, ge=0, le=3, description="0 stretches, 1 crops, 2 fills, 3 stretches latents.")
    image_cfg_scale: Number | None = Field(None, description="Guidance scale of the image, where there is one.")
    mask: str | None = Field(None, description="Mask, white where the image is painted.")
    mask_blur: Count | None = Field(None, ge=0, le=512, description="Radius of the mask's blur.")
    mask_blur_x: Count = Field(4, ge=0, le=512, description="Radius in one direction, if `mask_blur` is null.")
    mask_blur_y: Count = Field(4, ge=0, le=512, description="Radius in the other direction.")
    mask_round: bool = Field(default=True, description="Whether the mask is rounded to black and white.")
    inpainting_fill: Count = Field(0, ge=0, le=3, description="0 fill, 1 original, 2 noise, 3 nothing.")
    inpaint_full_res: bool = Field(default=True, description="Whether only the masked region is painted.")
    inpaint_full_res_padding: Count = Field(0, ge=0, description="Pixels around that region.")
    inpainting_mask_invert: Count = Field(0, ge=0, le=1, description="Whether all but the mask is painted.")
    initial_noise_multiplier: Number | None = Field(None, ge=0, le=4, description="Factor of the initial noise.")
    latent_mask: str | None = Field(None, description="No effect.")
    include_init_images: bool = Field(default=False, description="Whether `parameters` has the images.")

    @field_validator("inpainting_mask_invert", mode="before")
    @classmethod
    def _boolean_is_number(cls, value: Any) -> Any:
        """Accept true and false."""
        return int(value) if isinstance(value, bool) else value
