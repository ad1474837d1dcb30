"""The one door of every frontend to the engine."""
