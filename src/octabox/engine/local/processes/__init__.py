"""The processes of the engine: how they are started, watched and ended."""
