"""Select the model, the pipeline and the parameter that an input is for."""
