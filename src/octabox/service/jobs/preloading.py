"""Load models when the server starts, and keep the errors of those that cannot be loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from octabox.errors import OctaboxError
from octabox.service.protocols import ModelService

logger = logging.getLogger("octabox.service")


class Preloads:
    """The models that a server loads when it starts.

    Args:
        names: Names of the models.
    """

    def __init__(self, *names: str) -> None:
        self.names = tuple(dict.fromkeys(names))
        self._pending = set(self.names)
        self._errors: dict[str, str] = {}

    @property
    def pending(self) -> bool:
        """Whether some models are neither loaded nor have failed."""
        return bool(self._pending)

    def failures(self, models: ModelService) -> Mapping[str, str]:
        """Return the error of each model that could not be loaded, unless a request has loaded it since."""
        ready = [status for status in models.status() if status.state != "loading"]
        loaded = {name for status in ready for name in (status.model, *status.names)}
        return {name: error for name, error in self._errors.items() if name not in loaded}

    async def load(self, name: str, models: ModelService, on_failure: Callable[[str], None]) -> None:
        """Load a model; an error is logged and reported, not raised."""
        try:
            await models.load(name)
        except Exception as error:
            self._errors[name] = str(error)
            message = f"The model '{name}' could not be preloaded: {error}"
            logger.log(logging.ERROR, "%s", message, exc_info=None if isinstance(error, OctaboxError) else error)
            on_failure(message)
        finally:
            self._pending.discard(name)
