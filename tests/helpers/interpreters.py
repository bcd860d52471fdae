"""Other interpreters: virtual environments with chosen packages, and programs that are none."""

from __future__ import annotations

import importlib.util
import venv
from collections.abc import Sequence
from pathlib import Path

STAND_INS = {
    "old": '#!/bin/sh\nif [ "$1" = -c ]; then printf 3.7; else echo "unknown option" >&2; exit 2; fi\n',
    "none": "#!/bin/sh\necho 'I am no Python' >&2\nexit 3\n",
}


def create(folder: Path, packages: Sequence[str] | None = None) -> str:
    """Make a virtual environment and return its interpreter's path.

    Args:
        folder: to be made.
        packages: folders of this interpreter's packages that it is given; None for all packages.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    ours = site_packages()
    if packages is None:
        (site / "ours.pth").write_text(f"{ours}\n")
    for name in packages or ():
        for found in ours.glob(f"{name}*"):
            (site / found.name).symlink_to(found)
    return str(folder / "bin" / "python")


def site_packages() -> Path:
    """Return the folder that numpy is installed in."""
    spec = importlib.util.find_spec("numpy")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parents[1]


def stand_in(folder: Path, kind: str) -> str:
    """Return the path of a program that is no interpreter of ours: "old" or "none"."""
    path = folder / f"{kind}-python"
    path.write_text(STAND_INS[kind])
    path.chmod(0o755)
    return str(path)
