"""Export to Weights & Biases: a folder for ``wandb sync``, or an upload.

Nothing is uploaded unless WANDB_MODE=online says so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trace_robot.errors import MissingExtraError, RunError
from trace_robot.export import Content


def write(content: Content, out: Path) -> Path:
    """Write a run below a folder.

    Args:
        content: of the run.
        out: where wandb makes its own folders.

    Returns:
        The folder of the run, which ``wandb sync`` takes.

    Raises:
        MissingExtraError: wandb is not installed.
        RunError: wandb or the file system refuses the run.
    """
    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError(
            "Weights & Biases needs its client: pip install 'trace-robot[wandb]'"
        ) from error
    mode: Any = "online" if os.environ.get("WANDB_MODE") == "online" else "offline"
    out.mkdir(parents=True, exist_ok=True)
    try:
        run = wandb.init(
            project="trace-robot",
            name=content.name,
            group=content.task,
            mode=mode,
            dir=str(out),
            config=dict(content.settings),
            # wandb would otherwise print a banner and record this process's output.
            settings=wandb.Settings(silent=True, console="off"),
        )
        for step in content.steps:
            logged: dict[str, Any] = dict(step.scalars)
            logged |= {name: wandb.Html(_page(text), inject=False) for name, text in step.texts.items()}
            if step.video is not None:
                logged["episode"] = wandb.Video(str(step.video), format="mp4")
            run.log(logged, step=step.number)
        run.summary.update({f"result/{name}": value for name, value in content.results.items()})
        folder = Path(run.dir)
        run.finish(exit_code=0 if content.finished else 1)
    except (wandb.Error, OSError) as error:
        raise RunError(f"Weights & Biases does not take the run: {error}") from error
    return folder.parent


def _page(text: str) -> str:
    from html import escape

    return f'<meta charset="utf-8"><pre>{escape(text)}</pre>'
