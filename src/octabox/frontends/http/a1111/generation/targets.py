"""Select the pipeline of a request, and the parameters of it that the fields of the web UI are for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from octabox.catalog.conditions.control import control_inputs
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.errors import RequestError, TaskNotFoundError
from octabox.media.metadata.passes import GUIDANCES
from octabox.service.bounds import STEPS
from octabox.service.protocols import Models
from octabox.service.selection.inputs import (
    IMAGE_TO_IMAGE,
    STRENGTH,
    bind_image_to_image,
    bindings_for,
    number_parameter,
)
from octabox.service.selection.models import select_pipeline
from octabox.service.selection.pipelines import choose_pipeline
from octabox.service.served_model import ServedModel

#: The tasks of the routes.
TEXT_TO_IMAGE, INPAINTING = "text-to-image", "inpainting"

#: Names of the parameter for the guidance by an image.
IMAGE_GUIDANCE = ("image_guidance_scale",)


@dataclass(frozen=True)
class Target:
    """The pipeline of a request.

    Args:
        served: The model.
        entry: The pipeline.
        task: The task to request; None if the inputs decide.
        image: The parameter for the source image.
        mask: The parameter for the mask.
        control: The parameter for control images.
    """

    served: ServedModel
    entry: PipelineEntry
    task: str | None
    image: str = ""
    mask: str = ""
    control: str = ""

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.served.config.name

    @property
    def steps(self) -> str:
        """The parameter for the number of steps."""
        names = [each.name for each in self.entry.parameters if STEPS.fullmatch(each.name)]
        return min(names, key=len, default="num_inference_steps")

    @property
    def default_steps(self) -> int | None:
        """The number of steps of a request without one; None if it is not known."""
        parameter = self.entry.parameter(self.steps)
        found = self.served.config.defaults.get(self.steps, parameter.default if parameter else None)
        return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None

    @property
    def guidance(self) -> str:
        """The parameter for classifier-free guidance."""
        return number_parameter(self.entry, *GUIDANCES) or GUIDANCES[-1]

    @property
    def distilled_guidance(self) -> str | None:
        """The parameter for the guidance of distilled models; None if the pipeline has one guidance."""
        return GUIDANCES[-1] if self.guidance != GUIDANCES[-1] and self.entry.parameter(GUIDANCES[-1]) else None

    def takes(self, *names: str) -> bool:
        """Return whether the pipeline has all parameters of these names."""
        return all(self.entry.parameter(name) is not None for name in names)


def text_target(models: Models, model: str, *, controlled: bool = False) -> Target:
    """Return the pipeline that makes images from a prompt; that of the model's class, if its images have no prompt.

    Args:
        models: The models of this server.
        model: Name of the model.
        controlled: Whether there are control images.

    Raises:
        RequestError: The model makes no images, or takes no control images.
    """
    served, catalog = models.resolve(model), models.catalog
    control = control_name(served, catalog, TEXT_TO_IMAGE) if controlled else ""
    try:
        entry, task = choose_pipeline(catalog, served, TEXT_TO_IMAGE, {control} - {""})
    except TaskNotFoundError:
        match = select_pipeline(models, model, "image")
        return Target(served, match.entry, match.task, control=control)
    return Target(served, entry, task, control=control)


def image_target(models: Models, model: str, *, controlled: bool = False) -> Target:
    """Return the pipeline that paints over an image; one with a strength, if there is one.

    Raises:
        RequestError: The model takes no image.
    """
    served, catalog = models.resolve(model), models.catalog
    control = control_name(served, catalog, IMAGE_TO_IMAGE) if controlled else ""
    bound = bind_image_to_image(served, catalog, {control} - {""})
    if bound is not None:
        return Target(served, bound[0], IMAGE_TO_IMAGE, image=bound[1], control=control)
    bindings = bindings_for(served, catalog).making("image")
    serving = bindings.serving(IMAGE_TO_IMAGE)
    name = (serving if serving.entries else bindings).medium("image", "init_images")
    entry, task = choose_pipeline(catalog, served, None, {name, control} - {""})
    return Target(served, entry, task, image=name, control=control)


def mask_target(models: Models, model: str, *, controlled: bool = False) -> Target:
    """Return the pipeline that inpaints.

    Raises:
        RequestError: The model does not inpaint.
    """
    served, catalog = models.resolve(model), models.catalog
    control = control_name(served, catalog, INPAINTING) if controlled else ""
    serving = bindings_for(served, catalog).serving(INPAINTING)
    with_strength = [entry for entry in serving.entries if entry.parameter(STRENGTH)]
    bindings = type(serving)(model, (*with_strength, *serving.entries))
    if not bindings.entries:
        choose_pipeline(catalog, served, INPAINTING, ())
    mask = bindings.medium("mask", "mask")
    image = bindings.medium("image", "init_images")
    entry, _ = choose_pipeline(catalog, served, INPAINTING, {image, mask, control} - {""})
    return Target(served, entry, INPAINTING, image=image, mask=mask, control=control)


def control_name(served: ServedModel, catalog: Catalog, task: str) -> str:
    """Return the parameter for control images of the pipelines of a model for a task.

    Raises:
        RequestError: The model has no ControlNet, or none for this task.
    """
    extra: Collection[str] = served.config.components
    for entry in bindings_for(served, catalog).serving(task).entries:
        control = control_inputs(entry)
        if control.component is not None and control.image is not None and control.component.name in extra:
            return control.image.name
    raise RequestError(
        f"The model '{served.config.name}' has no ControlNet for {task}.",
        hint="Add one to `components` of its configuration, or select a model that has one.",
        parameter="alwayson_scripts",
    )
