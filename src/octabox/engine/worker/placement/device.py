"""The device that a model runs on."""

from __future__ import annotations

import torch

from octabox.errors import LoadError


def choose_device(requested: str | None, model: str) -> str:
    """Return the device to use.

    Args:
        requested: Device such as ``cuda:1``; None selects the best there is.
        model: Name of the model, for errors.

    Raises:
        LoadError: The requested device is not available.
    """
    if requested is None:
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator.type if accelerator else "cpu"
    try:
        torch.empty(0, device=requested)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        hint = "Set `device: cpu`, or leave it out to take the best there is."
        reason = str(error).strip().partition("\n")[0]
        raise LoadError(
            f"Model '{model}' asks for device '{requested}', which is not here: {reason}", hint=hint, model=model
        ) from error
    return requested
