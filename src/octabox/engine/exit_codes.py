"""The exit codes of worker processes, by which the server learns why they have ended."""

#: Exit code of a worker that has reported a failure of its device, and ends so that the next call gets a new worker.
DEVICE_BROKEN = 75

#: Exit code of a worker that ends since another process of those that its model is split over has failed or ended.
GANG_BROKEN = 76
