"""What pipelines check before they run, and what that says of a request."""
