"""Download models into the Hub's cache: plan, transfer, check and link."""
