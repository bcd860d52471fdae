"""panda-gym's environments, reset so that nothing of the episode before is left in Bullet.

It runs wherever panda-gym is installed, and imports nothing of trace_robot.
"""

from __future__ import annotations

from typing import Any

import gymnasium

AWAY = 100.0  # m from the table, and from one object to the next


class IndependentEpisodes(gymnasium.Wrapper):
    """Environment whose reset clears Bullet's cached contacts.

    Upstream's reset moves the bodies back and leaves pairs of touching bodies and their contact points as they were.
    The solver starts from them and in their order, so that an episode depends on the one before. Here no pairs are
    left, and those of an episode are sorted by body: upstream solves them in an order that depends on past moves.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        simulator = env.unwrapped.sim
        self._client = simulator.physics_client
        self._client.setPhysicsEngineParameter(deterministicOverlappingPairs=1)
        self._client.__deepcopy__ = _refuse_copy
        self._objects = [body for name, body in simulator._bodies_idx.items() if name.startswith("object")]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Take all that moves apart, let Bullet drop the pairs, then reset."""
        self.env.unwrapped.robot.reset()  # type: ignore[attr-defined]
        for place, body in enumerate(self._objects, start=1):
            self._client.resetBasePositionAndOrientation(
                body, [AWAY * place, AWAY, AWAY], [0.0, 0.0, 0.0, 1.0]
            )
        self._client.performCollisionDetection()
        return self.env.reset(seed=seed, options=options)


def _refuse_copy(memo: dict[int, Any]) -> Any:
    # A copied client is of the same simulation, and disconnects it when it is deleted.
    raise TypeError("PyBullet's simulation cannot be copied; make another environment")


def make(name: str, **arguments: Any) -> Any:
    """Return an environment of panda-gym.

    Args:
        name: its id.
        arguments: of gymnasium.make, such as ``reward_type="dense"`` and ``render_mode``.
    """
    import panda_gym  # noqa: F401  # registers the environments; here, so that a file without it can be loaded

    return IndependentEpisodes(gymnasium.make(name, disable_env_checker=True, **arguments).unwrapped)
