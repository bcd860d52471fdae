"""Ship envs/, policies/ and the recordings inside a wheel as data, and plotly's script for the report.

Only a "standard" wheel gets the copy: an editable install reads the checkout itself, and a copy there
would go stale. The script is copied beside the report's templates in both, from the plotly that the build installs
for itself: it is 5 of that package's 69 MB, of which nothing else is used. It is kept compressed, in 1.5 MB.
"""

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SCRIPT = "trace_robot/report/templates/plotly.min.js.gz"


class WorkspaceHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._copy_script(build_data)
        if version != "standard":
            return
        for folder in ("envs", "policies", "rollouts/recordings"):
            for path in sorted((Path(self.root) / folder).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    inside = path.relative_to(self.root).as_posix()
                    build_data["force_include"][str(path)] = f"trace_robot/_workspace/{inside}"

    def _copy_script(self, build_data: dict[str, Any]) -> None:
        """Copy plotly's script into the checkout, where git ignores it, and into the wheel."""
        spec = find_spec("plotly")
        source = (
            Path(spec.origin).with_name("package_data") / "plotly.min.js" if spec and spec.origin else None
        )
        copy = Path(self.root) / SCRIPT
        if source is not None and source.is_file():
            copy.write_bytes(
                gzip.compress(source.read_bytes(), mtime=0)
            )  # no time: the same wheel every time
        if copy.is_file():  # else a report asks for the package
            build_data["artifacts"].append(SCRIPT)
