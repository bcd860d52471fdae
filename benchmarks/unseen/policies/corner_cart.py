"""Pushes flat against a side: along the wall past its corner, then backs off, drives around and pushes to the mark."""

import numpy as np

CONTROL = "raw"
BEHIND = 0.32  # m from the middle of the box, where a push begins


def wrap(angle):
    """Return the same angle, -pi to pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def wheels(speed, rate):
    """Return the speeds of both wheels for m/s and rad/s."""
    return [(speed - 0.1 * rate) / 0.05, (speed + 0.1 * rate) / 0.05]


def drive(cart, yaw, goal, fast=0.5):
    """Return wheel speeds towards a point, backwards where that is the shorter turn."""
    way = goal - cart
    turn = wrap(np.arctan2(way[1], way[0]) - yaw)
    sign = 1.0
    if abs(turn) > np.pi / 2:
        turn, sign = wrap(turn + np.pi), -1.0
    speed = sign * min(fast, 2.0 * np.linalg.norm(way) + 0.05) * max(0.0, np.cos(turn)) ** 3
    return wheels(speed, np.clip(4.0 * turn, -3.0, 3.0))


def act(observation, memory):
    """Return the next action."""
    cart, yaw = observation["cart_position"], observation["cart_yaw"]
    box, box_yaw = observation["box_position"], observation["box_yaw"]
    corner, mark = observation["corner_position"], observation["mark_position"]
    leg, stage = memory.get("leg", 0), memory.get("stage", "around")
    memory["waited"] = memory.get("waited", 0) + 1
    target = np.array([mark[0], 0.04 * np.sign(mark[1])]) if leg == 0 else mark

    def begin(stage):
        memory.update(stage=stage, waited=0)
        return stage

    if stage == "around" and "way" not in memory:
        aim = np.arctan2(*(target - box)[::-1]) if leg else 0.0
        side = box_yaw + np.round((aim - box_yaw) / (np.pi / 2)) * np.pi / 2
        push = np.array([np.cos(side), np.sin(side)])
        across = np.array([-push[1], push[0]])
        across = across * (1.0 if (cart - box) @ across > 0 else -1.0)
        back = box - BEHIND * push
        memory["way"] = [] if (cart - box) @ push < -0.2 else [box - 0.26 * push + 0.33 * across]
        if (cart - box) @ push > -0.1 and abs((cart - box) @ across) < 0.25:
            memory["way"].insert(0, cart + 0.1 * across)
        memory["way"].append(back)
        memory["side"] = side
    if stage == "around":
        goal = memory["way"][0]
        if np.linalg.norm(goal - cart) < (0.02 if len(memory["way"]) == 1 else 0.06) or memory["waited"] > 90:
            memory["way"] = memory["way"][1:]
            memory["waited"] = 0
        if memory["way"]:
            return drive(cart, yaw, memory["way"][0])
        del memory["way"]
        stage = begin("turn")
    if stage == "turn":
        error = wrap(memory["side"] - yaw)
        if abs(error) > 0.03 and memory["waited"] < 40:
            return wheels(0.0, np.clip(4.0 * error, -2.5, 2.5))
        stage = begin("push")
    way = target - box
    ahead = np.array([np.cos(yaw), np.sin(yaw)])
    if stage == "push":
        beside = abs((box - cart) @ [-ahead[1], ahead[0]])
        left = way @ ahead
        arrived = left < 0.004 if leg else box[0] > max(mark[0] - 0.03, corner[0] + 0.14)
        if arrived or beside > 0.07 or memory["waited"] > 140:
            memory["leg"] = leg = 1 if arrived or leg else 0
            memory["done"] = bool(leg and np.linalg.norm(mark - box) < 0.04)
            stage = begin("back")
        else:
            toward = target - cart
            error = wrap(np.arctan2(toward[1], toward[0]) - yaw)
            touching = np.linalg.norm(box - cart) < 0.3
            speed = min(0.3, 0.05 + 1.2 * max(left, 0.0)) if touching else 0.2
            return wheels(speed, np.clip(2.5 * error, -1.3 * speed, 1.3 * speed) if touching else 0.0)
    if memory["waited"] > 14:
        if not memory["done"]:
            begin("around")
        return wheels(0.0, 0.0)
    return wheels(-0.3, 0.0)
