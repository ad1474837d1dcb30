"""Load models from folders, single files and the Hub, and convert them."""
