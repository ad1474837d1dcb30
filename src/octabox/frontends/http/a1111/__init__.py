"""The API of the AUTOMATIC1111 web UI, as its clients use it, over any model."""
