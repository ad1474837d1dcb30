"""Models of the Hub over HTTP, for administrators: search, download, list and remove."""
