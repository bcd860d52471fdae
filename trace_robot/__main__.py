"""``python -m trace_robot`` is the command ``trace-robot``."""

import sys

# The current folder comes first with -m: a numbers.py of the user's there would be imported in place of Python's.
if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]

from trace_robot.cli.main import main

sys.exit(main())
