"""To be named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trace_robot.policy import Policy
from trace_robot.spec import TaskSpec

DEFAULT_CONTROL = "pose"


def resolve(
    task: str,
    policy: Policy,
    control: str | None = None,
    usual: str = DEFAULT_CONTROL,
    options: Mapping[str, Any] | None = None,
) -> tuple[Policy, TaskSpec, dict[str, Any]]:
    """Return the policy fixed to a control mode, the environment's description and its options.

    control: None for what the policy says, else ``usual`` where the environment has that, else its only one. options:
    others of the environment. An environment that is merely declared is made once, to see its spaces.
    """
    from trace_robot.env.registry import controls, describe

    policy.require_act()
    modes = controls(task)
    chosen = {
        "control": control or policy.control or (usual if usual in modes else modes[-1]),
        **(options or {}),
    }
    spec = describe(task, **chosen)
    policy = policy.with_control(chosen["control"]).with_names().with_action_size(spec.action_size)
    return policy, spec, chosen
