"""The static check of a controller's text, in the host: no boundary."""
