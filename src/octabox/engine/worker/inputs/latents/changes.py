"""What a run changes of a pipeline for one call: its noise, its masked latents, and the edges of its convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from PIL.Image import Image

from octabox.engine.protocol import Run
from octabox.engine.replacement import replaced
from octabox.engine.worker.inputs.latents.fill import filled_latents
from octabox.engine.worker.inputs.latents.noise import apply_initial_noise, apply_variation
from octabox.engine.worker.inputs.latents.seamless import seamless_convolutions
from octabox.engine.worker.inputs.scheduler_steps import changed_step
from octabox.engine.worker.inputs.sizes import default_size
from octabox.engine.worker.steps import StepCallback


@contextmanager
def changes_of(
    pipe: Any, run: Run, arguments: Mapping[str, Any], steps: StepCallback, messages: list[str]
) -> Iterator[None]:
    """Apply the variation, the initial noise, the masked latents and the closed axes of a run within the context.

    Args:
        pipe: The pipeline.
        run: The run.
        arguments: The arguments of the call.
        steps: Counts the steps of the call.
        messages: Receives the warnings.

    Raises:
        InvalidParameterError: There is a variation, and the call has sampled nothing from a generator.
    """
    warnings: list[list[str]] = []
    with ExitStack() as stack:
        if run.variation is not None:
            stack.enter_context(apply_variation(arguments, run.variation))
        if run.noise is not None:
            size = _size(pipe, arguments)
            is_initial = stack.enter_context(_watched_steps(pipe, steps))
            warnings.append(
                stack.enter_context(apply_initial_noise(arguments, run.noise, run.variation, size, is_initial))
            )
        if run.latent_fill is not None:
            warnings.append(stack.enter_context(filled_latents(pipe, arguments, run.latent_fill, run.seed)))
        if run.seamless:
            warnings.append(stack.enter_context(seamless_convolutions(pipe, run.seamless)))
        yield
    messages.extend(text for each in warnings for text in each)


def _size(pipe: Any, arguments: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return height and width of the image of a call, if known: those of its arguments, of its image, or of the model."""
    height, width = (arguments.get(name) for name in ("height", "width"))
    if isinstance(height, int) and isinstance(width, int):
        return height, width
    images = [each for each in arguments.values() if isinstance(each, Image)]
    return (images[0].height, images[0].width) if images else default_size(pipe)


@contextmanager
def _watched_steps(pipe: Any, steps: StepCallback) -> Iterator[Callable[[], bool]]:
    """Watch the scheduler of a pipeline within the context, and yield a function: whether no step has begun."""
    scheduler: Any = getattr(pipe, "scheduler", None)
    begun: list[bool] = []
    if getattr(scheduler, "step", None) is None:
        yield lambda: not steps.taken
        return

    def step(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
        begun.append(True)
        return original(*args, **options)

    with replaced(scheduler, "step", changed_step(scheduler, step)):
        yield lambda: not begun
