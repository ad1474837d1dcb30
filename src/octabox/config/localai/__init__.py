"""LocalAI's model configurations, translated to Octabox's format."""

from octabox.config.localai.keys import octabox_key, table, top_keys
from octabox.config.localai.shape import translate

__all__ = ["octabox_key", "table", "top_keys", "translate"]
