"""Rules for requests, read from the input checks of pipelines."""
