"""The tables of the store of background jobs, their rows, and the statements that read and write them."""
