"""Models and adapters in files and on the Hugging Face Hub."""
