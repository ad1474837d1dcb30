"""The store of background jobs: rows in a database, and files in a folder."""
