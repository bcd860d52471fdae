"""Ship envs/, policies/ and the recordings inside a wheel as data.

Only a "standard" wheel gets the copy: an editable install reads the checkout itself, and a copy there
would go stale.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WorkspaceHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "standard":
            return
        for folder in ("envs", "policies", "rollouts/recordings"):
            for path in sorted((Path(self.root) / folder).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    inside = path.relative_to(self.root).as_posix()
                    build_data["force_include"][str(path)] = f"trace_robot/_workspace/{inside}"
