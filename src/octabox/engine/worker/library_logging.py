"""What the libraries of a worker log and draw."""

from __future__ import annotations

from diffusers.utils import logging as diffusers_logging
from huggingface_hub.utils.tqdm import disable_progress_bars
from transformers.utils import logging as transformers_logging


def configure_library_logging() -> None:
    """Turn off the progress bars of the libraries, and have them warn of what concerns a request."""
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_warning()
    disable_progress_bars()
