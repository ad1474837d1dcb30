"""LocalAI's configuration of models, in our terms."""

from octabox.config.localai.keys import own_key, table, top_keys
from octabox.config.localai.shape import translate

__all__ = ["own_key", "table", "top_keys", "translate"]
