"""Workflows: requests before and after a pipeline call, such as a second pass or an enlargement."""
