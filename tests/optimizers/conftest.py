from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"
Check = Callable[[str, str], None]


@pytest.fixture
def golden() -> Check:
    """Compare a text with golden/NAME, byte for byte.

    GOLDEN=write in the environment writes the files instead, so that the difference can be read.
    """

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("GOLDEN") == "write":
            path.write_bytes(text.encode())
        known = path.read_bytes().decode()  # read_text would take \r\n for \n
        changes = difflib.unified_diff(known.splitlines(), text.splitlines(), "golden", "now", lineterm="")
        assert known == text, f"{name} changed:\n" + "\n".join(changes)

    return check


@pytest.fixture
def episode() -> Callable[..., tuple[dict[str, Any], ...]]:
    """Records of a point that goes to one place and then to another, by a traced loop.

    switch: the step at which it turns. fault_at: the step whose operation raised.
    jump_at: the step at which ``thing`` is suddenly elsewhere.
    """

    def make(
        steps: int, *, fault_at: int | None = None, jump_at: int | None = None
    ) -> tuple[dict[str, Any], ...]:
        records: list[dict[str, Any]] = [
            _record(0, "gain:0", "parameter", value="4.0"),
            _record(1, "act", "parameter", value="def act(observation, gain): ..."),
        ]
        point, switch = 0.0, steps // 2
        for step in range(steps):
            goal = 1.0 if step < switch else -1.0
            point += 0.1 * (goal - point)
            thing = [0.5, 0.25] if jump_at is None or step < jump_at else [9.5, 0.25]
            seen = {"point": [round(point, 6), 0.125], "thing": thing, "open": step < switch}
            number = 2 + 2 * step
            records.append(_record(number, f"observation:{step}", "input", value=repr(seen), step=step))
            inputs = {"observation": number, "gain": 0, "code": 1}
            action = [round(4 * (goal - point), 6), 1.0 if goal > 0 else -1.0]
            call = _record(number + 1, f"act:{step}", "operation", "act", repr(action), step, inputs)
            if step == fault_at:
                call.update(kind="exception", value="(ZeroDivisionError) division by zero")
                records.append(call)
                break
            records.append(call)
        return tuple(records)

    return make


def _record(
    identifier: int,
    name: str,
    kind: str,
    op: str = "",
    value: str = "",
    step: int | None = None,
    inputs: dict[str, int] | None = None,
) -> dict[str, Any]:
    doc = f"[{op}] Return the velocity and the hold." if op else ""
    return {
        "id": identifier,
        "name": name,
        "kind": kind,
        "op": op,
        "doc": doc,
        "inputs": inputs or {},
        "value": value,
        "step": step,
    }
