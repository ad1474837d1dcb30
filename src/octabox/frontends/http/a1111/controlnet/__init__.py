"""ControlNets, by the names of the web UI's extension for them."""
