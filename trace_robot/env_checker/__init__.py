"""Check an environment from outside: in a separate process with a deadline.

Each finding comes with its remedy.
"""

from trace_robot.env_checker.checker import Examined, Finding, Verdict, examine, measure

__all__ = ["Examined", "Finding", "Verdict", "examine", "measure"]
