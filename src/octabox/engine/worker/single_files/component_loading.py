"""Load each component of a single file in its own dtype, and directly on the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.loaders import single_file

from octabox.engine.replacement import replaced


@contextmanager
def components_loaded(dtypes: Mapping[str, torch.dtype], device: str | None) -> Iterator[None]:
    """Within the context, let diffusers load components of a file in their dtypes and on a device.

    By itself it reads all of them in one dtype to the host. Models of diffusers are read to the device weight by weight; the
    text encoders of a file, which diffusers can only read to the host, are moved one by one.

    Args:
        dtypes: Dtypes of single components.
        device: The device; None is the host.
    """
    load = single_file.load_single_file_sub_model

    def load_component(*args: Any, name: str, torch_dtype: torch.dtype | None = None, **options: Any) -> Any:
        if device is not None:
            options["device"] = torch.device(device)
        component = load(*args, name=name, torch_dtype=dtypes.get(name, torch_dtype), **options)
        return component.to(device) if device is not None and isinstance(component, torch.nn.Module) else component

    with replaced(single_file, "load_single_file_sub_model", load_component):
        yield
