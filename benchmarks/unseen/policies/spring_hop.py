"""Pumps the hop: lengthens the leg when the spring is shortest, by what a model of the next top asks for.

The model, top = KEPT * last top + GAIN * stroke, was fitted to a dozen hops; its error is followed from hop to hop.
"""

CONTROL = "raw"
REST, KEPT, GAIN = 0.3, 0.64, 0.17  # m, of the height above it, m for each unit of stroke


def act(observation, memory):
    """Return the next action."""
    height, spring, rate, wanted = (observation[f"observation_{i}"] for i in (0, 2, 3, 6))
    before = memory.get("rate", rate)
    memory["rate"] = rate
    grounded = spring > 0.004
    if before > 0 >= rate and not grounded:  # the top
        top = height + rate**2 / 19.62 - REST
        error = memory.get("error", 0.0)
        if "predicted" in memory:
            error += 0.7 * (top - memory["predicted"])
        kept = KEPT * top + error
        stroke = min(2.0, max(0.0, (wanted - REST - kept) / GAIN))
        memory.update(error=error, stroke=stroke, predicted=kept + GAIN * stroke)
    if grounded:
        memory["push"] = memory.get("push", False) or rate > -0.15
    elif rate < 0:
        memory["push"] = False
    return [memory.get("stroke", 2.0) - 1.0 if memory.get("push", False) else -1.0]
