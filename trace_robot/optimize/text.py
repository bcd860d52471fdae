"""Values as short text: numbers rounded by their scale, code in fences that it cannot close itself."""

from __future__ import annotations

import math
import re
from typing import Any

from trace_robot.optimize.problem import ParameterSpec, plain


def number(value: float, digits: int = 3) -> str:
    """Return ``value`` with ``digits`` significant digits; whole numbers up to six digits stay whole."""
    if isinstance(value, bool) or not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.{digits}g}"


def at_scale(value: float, scale: float) -> str:
    """Return ``value`` rounded to a thousandth of ``scale``, the size of what it is compared with."""
    if not math.isfinite(value):
        return str(value)
    if scale <= 0:
        return number(value, 4)
    decimals = min(max(0, 3 - math.ceil(math.log10(scale))), 9)
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def fence(source: str, language: str = "python") -> str:
    """Return ``source`` between fences with more backticks than any run inside it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", source)), default=2)
    mark = "`" * (longest + 1)
    return f"{mark}{language}\n{source.strip(chr(10))}\n{mark}"


def variable(spec: ParameterSpec, value: Any) -> str:
    """One entry of #Variables; exact, so that what is repeated unchanged stays unchanged."""
    if spec.kind == "code":
        return f"(code) {spec.name} =\n{fence(str(value))}"
    if spec.kind == "text":
        return f"(text) {spec.name} =\n{fence(str(value), '')}"
    return f"({spec.kind}) {spec.name} = {plain(value)!r}"


def one_line(text: str, length: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def indented(text: str, by: str = "  ") -> str:
    return "\n".join(by + line if line else line for line in text.split("\n"))
