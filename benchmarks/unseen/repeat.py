"""Repeat a comparison of prompts on a robot of this folder from its recordings: real rollouts, no model.

    python benchmarks/unseen/repeat.py cup-sling            the first answer, then what each version of prompts brought

Answers are taken in the order in which they were given, so that they can be tried again although the text of prompts
has changed since.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from trace_robot import optimize
from trace_robot.llm import ModelConfig

HERE = Path(__file__).parent
RECORDINGS = HERE.parent / "recordings"
# Prompts, most answers; "again" is another run of the same kind.
STAGES = {
    "first": (1, 1),
    "old": (1, 6),
    "old-again": (1, 6),
    "new-6000": (2, 6),
    "new": (2, 6),
    "new-again": (2, 6),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("robot", help="such as cup-sling")
    name = parser.parse_args().robot
    os.environ["TRACE_ROBOT_WORKSPACE"] = str(HERE)
    with tempfile.TemporaryDirectory() as folder:
        for stage, (prompt, iterations) in STAGES.items():
            recording = RECORDINGS / f"unseen-{name}-{stage}.jsonl.gz"
            if not recording.is_file():
                continue
            out, start = Path(folder, stage), Path(folder, "first", "best.py")
            result = optimize(
                name,
                policy=start if start.is_file() else "do_nothing",
                optimizer="optoprime",
                prompt=prompt,
                model=ModelConfig(replay=recording, in_order=True),
                iterations=iterations,
                tune=False,
                video=False,
                workers=1,
                out=out,
            )
            low, high = result.held_out_interval
            print(
                f"{name}, {stage}: {result.model_calls} calls, {result.tokens} tokens, held-out success"
                f" {result.held_out_success:.2f} of {result.held_out_episodes} ({low:.2f} to {high:.2f})"
            )


if __name__ == "__main__":
    main()
