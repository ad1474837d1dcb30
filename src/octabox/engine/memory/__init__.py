"""What models need of memory: computed from their files, and learned from what was measured."""
