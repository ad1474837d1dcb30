"""The script X/Y/Z plot."""
