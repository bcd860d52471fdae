"""Envelope: limits on an action, as arithmetic that ``deploy`` translates too.

This file is in the subset of ``trace_robot.deploy``: rollouts call it, a deployed controller contains its translation,
so that the limits which a search saw are those on the robot, bit for bit. Along each axis a hand's motion, the action
number itself, is a speed; what limits it is in units of that number and of steps.
"""

import math
from typing import Any


def begun(observation: Any, limits: Any) -> dict[str, Any]:
    """Return what an episode remembers, at its first observation.

    Args:
        observation: numbers by field.
        limits: as ``Envelope.limits`` gives them.
    """
    return {
        "sent": [*limits["stop"]],
        "place": [observation[axis["position"]][axis["axis"]] for axis in limits["axes"]],
        "change": [0.0 for axis in limits["axes"]],
        "bounds": 0,
        "rate": 0,
        "speed": 0,
        "acceleration": 0,
        "jerk": 0,
        "box": 0,
    }


def within(number: Any, low: Any, high: Any) -> Any:
    """Return the number between two bounds.

    Args:
        number: any.
        low: the lowest.
        high: the highest.
    """
    return min(max(number, low), high)


def greatest(gap: Any, step: Any) -> Any:
    """Return the largest first term of a series falling by ``step`` whose sum fits.

    It is the speed from which a motion that may brake by ``step`` a step stops within ``gap``, and the acceleration
    from which one that may fall by ``step`` keeps a top speed.

    Args:
        gap: the sum at most, 0 or more.
        step: by which each term is less than the one before.
    """
    terms = math.floor(math.sqrt(0.25 + 2.0 * gap / step) - 0.5)
    return gap / (terms + 1.0) + 0.5 * step * terms


def limited(wanted: Any, observation: Any, memory: Any, limits: Any) -> list[Any]:
    """Return the action that is sent, and count in memory which limits acted.

    Args:
        wanted: the numbers of an action.
        observation: numbers by field, as the controller saw them.
        memory: as ``begun`` made it; changed.
        limits: as ``Envelope.limits`` gives them.
    """
    for number in wanted:
        assert math.isfinite(number), "the action has a number that is not finite"
    for watched in limits["watched"]:
        seen = observation[watched["position"]][watched["axis"]]
        assert watched["low"] <= seen <= watched["high"], watched["reason"]
    sent = [*wanted]
    bounds, rate, speed, acceleration, jerk, box = False, False, False, False, False, False
    for part in limits["numbers"]:
        i = part["number"]
        before = sent[i]
        sent[i] = within(before, part["low"], part["high"])
        bounds = bounds or sent[i] != before
        if part["rate"] is not None:
            before, last = sent[i], memory["sent"][i]
            sent[i] = within(before, last - part["rate"], last + part["rate"])
            rate = rate or sent[i] != before
    place, change = [*memory["place"]], [*memory["change"]]
    for k, axis in enumerate(limits["axes"]):
        i, most, fall, low, high = (
            axis["number"],
            axis["acceleration"],
            axis["jerk"],
            axis["low"],
            axis["high"],
        )
        last = memory["sent"][i]
        asked = sent[i]
        slow = within(asked, low, high)
        speed = speed or slow != asked
        smooth = slow
        if most is not None:
            smooth = within(slow, last - most, last + most)
            acceleration = acceleration or smooth != slow
        gentle = smooth
        if fall is not None:
            # Also so that the top speed is reached without a jump: see ``greatest``.
            down = max(change[k] - fall, -greatest(max(last - low, 0.0), fall))
            up = min(change[k] + fall, greatest(max(high - last, 0.0), fall))
            gentle = within(smooth, last + down, last + up)
            jerk = jerk or gentle != smooth
            gentle = within(gentle, low, high)
        kept = gentle
        if axis["box"] is not None:
            floor, ceiling = axis["box"]
            hand = observation[axis["position"]][axis["axis"]]
            # Where the command is: the sum of what was sent, while the hand follows it.
            place[k] = within(place[k], hand - axis["lead"], hand + axis["lead"])
            below = max(place[k] - floor, 0.0) / axis["unit"]
            above = max(ceiling - place[k], 0.0) / axis["unit"]
            if most is not None:
                below, above = min(below, greatest(below, most)), min(above, greatest(above, most))
            # A motion that leaves the box is cut at once: the box goes before acceleration and jerk.
            kept = within(gentle, -below, above)
            box = box or kept != gentle
            place[k] = place[k] + kept * axis["unit"]
        change[k] = kept - last if kept == gentle else 0.0
        sent[i] = kept
    memory["bounds"] = memory["bounds"] + (1 if bounds else 0)
    memory["rate"] = memory["rate"] + (1 if rate else 0)
    memory["speed"] = memory["speed"] + (1 if speed else 0)
    memory["acceleration"] = memory["acceleration"] + (1 if acceleration else 0)
    memory["jerk"] = memory["jerk"] + (1 if jerk else 0)
    memory["box"] = memory["box"] + (1 if box else 0)
    memory["sent"], memory["place"], memory["change"] = [*sent], place, change
    return sent
