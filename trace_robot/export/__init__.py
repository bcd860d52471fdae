"""Export of a run's scalars, texts and videos to experiment trackers."""
