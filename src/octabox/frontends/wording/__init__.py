"""What clients' words mean, on whichever wire they come."""
