"""Check the files of a model before they are loaded, and name the component that cannot be loaded."""
