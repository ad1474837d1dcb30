"""Share the store of background jobs with other servers."""
