"""Refuse weights that do not fill a component: the libraries would set the rest at random and only log it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from diffusers import ModelMixin

from octabox.errors import IncompatibleWeightsError, OctaboxError
from octabox.hub.checkpoints.tensors import summarize_names

#: Argument of `from_pretrained` for a report about the tensors.
_REPORT = "output_loading_info"

#: Words of the libraries' errors about tensors of another shape.
_SHAPES = ("size mismatch", "shape", "ignore_mismatched_sizes")


@contextmanager
def require_all_weights(model: str) -> Iterator[None]:
    """Within the context, raise an error if a component is loaded from weights without some of its tensors.

    Args:
        model: Name of the model, for errors.

    Raises:
        IncompatibleWeightsError: Tensors are missing, or have another shape.
    """
    from transformers import PreTrainedModel  # noqa: PLC0415 (takes a second, which a pipeline may not need before)

    with ExitStack() as stack:
        for base in (PreTrainedModel, ModelMixin):
            stack.enter_context(_checked(base, model))
        yield


@contextmanager
def _checked(base: Any, model: str) -> Iterator[None]:
    """Check the report of a base class's `from_pretrained` within the context."""
    original = base.__dict__["from_pretrained"]

    def from_pretrained(cls: Any, source: Any, *args: Any, **options: Any) -> Any:
        load: Callable[..., Any] = original.__get__(None, cls)
        if options.get(_REPORT):
            return load(source, *args, **options)
        try:
            loaded, report = load(source, *args, **{**options, _REPORT: True})
        except (ValueError, RuntimeError) as error:
            if isinstance(error, OctaboxError) or not any(word in str(error) for word in _SHAPES):
                raise
            raise _shapes_error(model, cls, _place(source, options), error) from error
        _check_report(model, cls, _place(source, options), loaded, report)
        return loaded

    base.from_pretrained = classmethod(from_pretrained)
    try:
        yield
    finally:
        base.from_pretrained = original


def _place(source: object, options: Mapping[str, Any]) -> str:
    """Return the folder or the repository of a component, for messages."""
    return str(Path(str(source)) / str(options.get("subfolder") or ""))


def _shapes_error(model: str, cls: Any, place: str, error: Exception) -> IncompatibleWeightsError:
    return IncompatibleWeightsError(
        f"Model '{model}': the weights in {place} do not fit its configuration: tensors of {cls.__name__} have another "
        f"shape: {' '.join(str(error).split())[:300]}",
        hint="The folder mixes files of two models; download it again.",
        model=model,
    )


def _check_report(model: str, cls: Any, place: str, loaded: Any, report: Mapping[str, Any]) -> None:
    """Check a report of missing tensors.

    Raises:
        IncompatibleWeightsError: There are any.
    """
    missing = dict.fromkeys(report.get("missing_keys") or ())
    if not missing:
        return
    total = len(loaded.state_dict())
    others = dict.fromkeys(report.get("unexpected_keys") or ())
    found = f" It has others instead, such as {summarize_names(others, 2)}." if others else ""
    raise IncompatibleWeightsError(
        f"Model '{model}': the weights in {place} lack {len(missing)} of the {total} tensors of {cls.__name__}: "
        f"{summarize_names(missing)}.{found}",
        hint="The file is incomplete or of another class; download it again, or set a source under `components`.",
        model=model,
    )
