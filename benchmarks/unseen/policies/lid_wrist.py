"""Unscrews the lid: presses while it closes and turns, lets go and turns back, and lifts once the lid is loose."""

import numpy as np

CONTROL = "raw"
LIGHT, HARD, END = 3.0, 13.5, 0.57  # N, N, rad of the wrist
COUNTS = {
    "touch": 14,
    "back": 30,
    "press": 8,
    "close": 3,
    "turn": 24,
    "open": 3,
}  # decisions, at most where it turns
FOLLOWING = {
    "touch": "back",
    "back": "press",
    "press": "close",
    "close": "turn",
    "turn": "open",
    "open": "back",
}


def act(observation, memory):
    """Return the next action."""
    stage, count = memory.get("stage", "touch"), memory.get("count", 0) + 1
    wrist, force = observation["wrist_angle"], observation["press_force"]
    height = observation["hand_height"] - observation["lid_height"]
    memory["count"] = count
    if stage == "lift":
        return [0.06 if count > 6 else 0.0, 0.0, 12.0]
    if force == 0.0 and stage == "touch":
        memory["count"] = 0
        return [-float(np.clip(4.0 * (height - 0.002), 0.012, 0.1)), 0.0, -4.0]
    down = memory.get("down", 0.012)
    settled = force > 0.5 and abs(force - memory.get("before", 0.0)) < 1.0
    if settled and (
        stage == "press" or (stage == "touch" and count > 5)
    ):  # closed fingers carry a part of the force
        ratios = memory["ratios"] = [*memory.get("ratios", []), force / down]  # N for each m/s, of the drive
        memory["gain"] = float(np.median(ratios[-12:]))
    memory["before"] = force
    if stage not in ("close", "turn"):
        wanted = (HARD if stage == "press" and not memory.get("loose", False) else LIGHT) / memory.get(
            "gain", 550.0
        )
        down = memory["down"] = down + float(np.clip(wanted - down, -0.02, 0.006))
    most = memory["most"] = max(memory.get("most", 0.0), observation["lid_angle"])
    if stage == "back" and observation["lid_angle"] < most - 0.2:
        memory["loose"] = True  # off the thread, it follows the pad back
    turned = (stage == "turn" and wrist > END) or (stage == "back" and wrist < -END)
    if turned or count > COUNTS[stage]:
        stage = FOLLOWING[stage]
        if stage == "turn" and memory.get("loose", False):
            stage = "lift"
        memory.update(stage=stage, count=0)
    rate = {"turn": 1.7, "back": -3.0}.get(stage, 0.0)
    return [-down, rate, 10.0 if stage in ("close", "turn", "lift") else -4.0]
