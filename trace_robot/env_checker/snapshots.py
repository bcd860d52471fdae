"""Snapshot check: whether the state of an environment can be saved and restored exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from trace_robot.env_checker.checker import Finding, error_text

SEED = 0


def saved_state(make: Callable[[], Any], actions: Sequence[Any]) -> Finding:
    """Try to save and restore an environment that nothing else uses.

    A client of a physics server may end its connection when a copy of it is dropped, as PyBullet's does.

    Args:
        make: returns the environment.
        actions: to take, at least 9.
    """
    try:
        env = make()
    except Exception as error:
        return Finding("state", "note", f"its state cannot be saved: {error_text(error)}")
    finding = _snapshot(env, actions)
    with suppress(Exception):  # close() is tried on the other one
        env.close()
    return finding


def _snapshot(env: Any, actions: Sequence[Any]) -> Finding:
    """Try whether an episode that is continued from a saved state goes on as it did."""
    if not hasattr(env, "snapshot"):
        return Finding("state", "note", "its state cannot be saved: it has no snapshot and restore")
    try:
        env.reset(seed=SEED)
        env.step(actions[0])
        saved = env.snapshot()
        first = _trajectory(env, actions[1:9])
        env.restore(saved)
        again = _trajectory(env, actions[1:9])
    except Exception as error:
        return Finding("state", "note", f"its state cannot be saved and restored: {error_text(error)}")
    if first != again:
        text = "its state cannot be saved exactly: a restored episode goes on otherwise"
        return Finding("state", "note", text)
    text = "its state can be saved, and a restored episode goes on exactly as it did"
    return Finding("state", "good", text)


def _trajectory(env: Any, actions: Sequence[Any]) -> list[tuple[bytes, float]]:
    seen = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append((observation.tobytes(), float(reward)))
        if terminated or truncated:
            break
    return seen
