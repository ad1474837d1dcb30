"""The installation, the settings and the log of the server over HTTP, for administrators."""
