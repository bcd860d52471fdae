"""Helpers that tests and benchmarks import; pytest and mypy have the folder above on their path."""
