"""The requests that wait for a model, and the calls that its worker has been sent."""
