"""CMA-ES as the ``cma`` package has it, imported without its advice about plotting."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Could not import matplotlib")
    import cma

__all__ = ["cma"]
