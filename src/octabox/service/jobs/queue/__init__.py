"""The queue of background jobs: their order, their runs, and the notification of their ends."""
