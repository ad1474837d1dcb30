"""Models in memory: worker processes, their queues, and the calls they run."""
