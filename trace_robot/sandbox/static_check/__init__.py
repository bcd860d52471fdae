"""The static check of a controller's text: runs in the host, executes nothing, and is no boundary."""
