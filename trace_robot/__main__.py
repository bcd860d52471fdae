"""``python -m trace_robot`` is the command ``trace-robot``."""

import os
import sys

# The current folder comes first with -m: a numbers.py of the user's there would be imported in place of Python's. Where
# it does not, as with -P or in a child process of this library, the first entry is one that is needed.
try:
    current = os.getcwd()
except OSError:  # it was removed
    current = ""
if sys.path[:1] in ([""], [current]):
    del sys.path[0]

from trace_robot.cli.main import main

sys.exit(main())
