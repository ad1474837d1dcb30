"""Conditions of a call besides its task: control images and image prompts."""
