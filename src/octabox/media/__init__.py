"""Pictures, clips, sounds, arrays and meshes in and out, and the metadata inside them."""
