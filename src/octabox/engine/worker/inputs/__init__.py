"""Prepare the arguments of a pipeline call: media, sizes and initial noise."""
