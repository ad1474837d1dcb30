"""Images, videos, audio, arrays and meshes in and out, and the metadata inside them."""
