"""Fuzz tests: what a stranger or a model can write, read until a deadline."""
