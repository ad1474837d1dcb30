"""Inference API of the Hugging Face Hub, for `huggingface_hub.InferenceClient`."""
