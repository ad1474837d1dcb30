"""API keys, and checks of hosts, URLs and JSON."""
