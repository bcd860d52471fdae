"""Hands a finished or running run over to an experiment tracker: scalars, texts and videos."""
