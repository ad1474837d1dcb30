"""The progress of requests, and their end before they are finished."""
