"""Upstream itself, to compare with, and the plug-in's own modules."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from trace_robot.workspace import load

ROOT = Path(__file__).parents[2]
TASKS = load(ROOT / "envs" / "metaworld.py").names()


@pytest.fixture(scope="session")
def upstream() -> SimpleNamespace:
    """Upstream's classes and scripted experts by task."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
        from metaworld.policies import ENV_POLICY_MAP
    return SimpleNamespace(classes=ALL_V3_ENVIRONMENTS, experts=ENV_POLICY_MAP)


def part(name: str) -> ModuleType:
    """Return one of the modules beside the plug-in."""
    package = load(ROOT / "envs" / "metaworld.py").__package__
    return importlib.import_module(f"{package}.metaworld_parts.{name}")


@pytest.fixture(scope="session")
def parts() -> Any:
    return part
