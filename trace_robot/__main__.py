"""``python -m trace_robot`` is the command ``trace-robot``."""

import sys

from trace_robot.cli.main import main

sys.exit(main())
