"""Pictures in and out, and the metadata inside them."""
