"""Gymnasium's walkers, reset so that nothing of the episode before is left in Box2D.

It runs wherever gymnasium and Box2D are installed, and imports nothing of trace_robot.
"""

from __future__ import annotations

from typing import Any

import gymnasium


class IndependentEpisodes(gymnasium.Wrapper):
    """Environment whose reset makes the world again, as gymnasium's lander does.

    The walker's own reset removes the bodies and keeps the world, whose solver is warm from the episode before: one in
    fifteen episodes took another course than the same one in a new environment.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Remove the bodies from the old world before the reset builds them in a new one."""
        import Box2D

        walker: Any = self.env.unwrapped
        walker._destroy()
        walker.world = Box2D.b2World()
        return self.env.reset(seed=seed, options=options)


def make(name: str, **arguments: Any) -> Any:
    """Return a walker of gymnasium.

    Args:
        name: its id.
        arguments: of ``gymnasium.make``.
    """
    # Without gymnasium's time limit: the caller counts the steps.
    return IndependentEpisodes(gymnasium.make(name, disable_env_checker=True, **arguments).unwrapped)
