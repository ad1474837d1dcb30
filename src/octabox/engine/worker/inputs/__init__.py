"""Turn the inputs of a call into the arguments of a pipeline: media, sizes and initial noise."""
