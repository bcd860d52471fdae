"""What can be typed after each command; light modules, so that help is quick."""
