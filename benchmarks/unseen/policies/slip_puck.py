"""Drags the puck: over its middle, down, hard pressure, slow acceleration; up again where the tip has slipped."""

import numpy as np

CONTROL = "raw"
STEP = 0.02  # seconds
SPRING, DAMPER = 60.0, 8.0  # N/m, N s/m
MASS, DAMPING = 0.4, 1.0  # kg, N s/m, of the fingertip


def act(observation, memory):
    """Return the next action."""
    tip = np.array([*observation["tip_position"], observation["tip_height"]])
    puck, mark = observation["puck_position"], observation["mark_position"]
    velocity = (tip - memory.get("tip", tip)) / STEP
    drift = (puck - memory.get("puck", puck)) / STEP
    memory.update(tip=tip, puck=np.array(puck))
    stage, miss = memory.get("stage", "over"), mark - puck
    offset = np.linalg.norm(tip[:2] - puck)
    waited = memory["waited"] = memory.get("waited", 0) + 1
    following = stage
    if stage == "over" and offset < 0.003 and np.linalg.norm(velocity[:2]) < 0.02:
        following = "leave" if np.linalg.norm(miss) < 0.008 else "press"
    elif stage == "press" and waited > 15 and tip[2] < 0.014:
        following = "drag"
    elif stage == "drag" and (
        offset > 0.022 or (np.linalg.norm(miss) < 0.003 and np.linalg.norm(drift) < 0.01)
    ):
        following = "lift"
    elif stage == "lift" and tip[2] > 0.03:
        following = "over" if np.linalg.norm(miss) > 0.008 else "leave"
    if following != stage:
        memory.update(stage=following, waited=0, aim=np.array(tip[:2]), rate=np.zeros(2), pull=np.zeros(2))
        stage = following
    aim, rate = memory.get("aim", np.array(tip[:2])), memory.get("rate", np.zeros(2))
    limit, speed = (1.5, 0.5) if stage == "over" else (0.35, 0.15)
    goal = puck if stage == "over" else aim if stage in ("press", "lift", "leave") else tip[:2] + miss
    way = goal - aim
    far = np.linalg.norm(way)
    wanted = way / (far + 1e-9) * min(speed, np.sqrt(limit * far), 4.0 * far)
    change = np.clip(wanted - rate, -limit * STEP, limit * STEP)
    rate = rate + change
    aim = aim + STEP * rate
    lag = aim - tip[:2]
    pull = memory.get("pull", np.zeros(2)) + SPRING * STEP * lag * (stage == "drag")
    memory.update(aim=aim, rate=rate, pull=np.clip(pull, -1.5, 1.5))
    force = (
        SPRING * lag + DAMPER * (rate - velocity[:2]) + DAMPING * rate + MASS * change / STEP + memory["pull"]
    )
    if stage in ("over", "lift", "leave"):
        up = 30.0 * (0.05 - tip[2]) - 6.0 * velocity[2]
    else:
        up = -8.0 if tip[2] < 0.0135 else -0.6 - 6.0 * (velocity[2] + 0.08)
    return [*force, up]
