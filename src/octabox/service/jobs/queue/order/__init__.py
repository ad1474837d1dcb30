"""The order of the jobs that wait."""
