"""Writes a run down while it goes on: iterations, the best controller, videos, the result."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trace_robot.errors import RenderError
from trace_robot.optimizers.optoprime import Attempt
from trace_robot.policy import Policy
from trace_robot.render.video import RenderFailure, RenderJob, RenderProcess, VideoInfo, clip_of, video_job
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.evaluation import Evaluation
from trace_robot.rollout.feedback import most_telling
from trace_robot.settings import Result
from trace_robot.store.folder import RunFolder, difference
from trace_robot.store.writer import Cost, RunWriter

log = logging.getLogger("trace_robot.run")


class RunRecorder:
    """Owns a run's folder, its place in the store, and the background process that makes videos of recorded states.

    A video that cannot be made is a line in the run's notes.txt, never the end of a run.
    """

    def __init__(
        self, folder: RunFolder, ledger: RunWriter, policy: Policy, task: str, *, video: bool = True
    ) -> None:
        self.folder, self.ledger = folder, ledger
        self.task = task
        self._best: str | None = None
        self.start = policy.text
        self._studio = RenderProcess() if video else None
        self._notes: list[str] = []

    def log(self, trials: Sequence[Evaluation], spent: Cost) -> None:
        """Append one line a candidate; a candidate's text is kept with its iteration, a program with its line."""
        self.ledger.log(trials, spent)
        self.folder.log(
            [
                {
                    "id": trial.candidate.id, "parent": trial.candidate.parent, "origin": trial.candidate.origin,
                    "note": trial.candidate.note, "success": trial.outcome.success, "score": trial.outcome.score,
                    "program": trial.candidate.program, "seeds": [episode.seed for episode in trial.episodes],
                }
                for trial in trials
            ]
        )  # fmt: skip
        self._catch_up()

    def iteration(
        self, number: int, trial: Evaluation, parent: Evaluation | None, attempts: Sequence[Attempt], spent: Cost,
        *, better: bool,
    ) -> None:  # fmt: skip
        """Write an iteration; ``attempts``: what a model was asked on the way, and what it answered."""
        self.ledger.iteration(number, trial, attempts, spent, better=better)
        name = f"iterations/{self.folder.iteration(number).name}"
        before = self.start if parent is None else parent.text
        self.folder.write(f"{name}/controller.py", trial.text)
        self.folder.write(f"{name}/difference.diff", difference(before, trial.text, ("parent", "this")))
        self.folder.write(f"{name}/feedback.txt", trial.outcome.feedback + "\n")
        for attempt in attempts:
            if attempt.candidate == trial.candidate.id:
                self.folder.write(
                    f"{name}/prompt.md",
                    "\n\n".join(f"## {m['role']}\n\n{m['content']}" for m in attempt.messages),
                )
                self.folder.write(f"{name}/reply.md", attempt.reply.text)
        self._attempts(f"{name}/attempts.json", attempts)
        self.folder.write_json(f"{name}/scores.json", _scores(trial, parent))
        self._film(trial, self.folder.path / name / "episode.mp4", f"iteration {number}")

    def keep(self, text: str) -> None:
        """Write the best controller so far; while a run hears again what it did, the one it had stays."""
        self._best = text
        self._catch_up()

    def finish(
        self, result: Result, held_out: Sequence[Episode], attempts: Sequence[Attempt], spent: Cost
    ) -> None:
        """Write the held-out episodes and the result, last, once every video is done."""
        self._catch_up()
        self._attempts("attempts.json", attempts)
        ended = [
            {"seed": e.seed, "ended": e.ended, "steps": e.steps, "reward": e.total_reward} for e in held_out
        ]
        self.folder.write_json("held_out.json", {"episodes": ended})
        if self._studio is not None:
            self._note(self._studio.finish())
        if self._notes:
            self.folder.write("notes.txt", "\n".join(self._notes) + "\n")
        self.folder.finish()
        self.folder.write_json("result.json", asdict(result))
        self.ledger.finish(result, held_out, attempts, spent)

    def close(self) -> None:
        """End the rendering process; videos that are not done are given up."""
        if self._studio is not None:
            self._studio.close()

    def _catch_up(self) -> None:
        """Write what was held back while the run heard again what it did, if that is over."""
        if self.ledger.journal.replaying:
            return
        self.folder.caught_up()
        if self._best is not None:
            self.folder.write("best.py", self._best)
            self._best = None

    def _attempts(self, name: str, attempts: Sequence[Attempt]) -> None:
        """Write every attempt, those that came to nothing too."""
        if attempts:
            self.folder.write_json(name, {"attempts": [attempt.to_data() for attempt in attempts]})

    def _film(self, trial: Evaluation, path: Path, title: str) -> None:
        episode = trial.episodes[most_telling(trial.episodes)]
        if self._studio is None or episode.states is None or not len(episode.states) or path.is_file():
            return
        self._submit(
            video_job([clip_of(episode, f"{self.task}, {title}", f"condition {episode.seed}")], path)
        )

    def _submit(self, job: RenderJob) -> None:
        if self._studio is None:
            return
        try:
            self._studio.submit(job)
            self._note(self._studio.collect())
        except RenderError as error:
            self._note([RenderFailure(job.path, str(error))])

    def _note(self, results: Sequence[VideoInfo | RenderFailure]) -> None:
        for result in results:
            if isinstance(result, RenderFailure):
                self._notes.append(f"no video {result.path.relative_to(self.folder.path)}: {result.reason}")
                log.warning("%s", self._notes[-1])


def _scores(trial: Evaluation, parent: Evaluation | None) -> dict[str, Any]:
    return {
        "candidate": trial.candidate.id,
        "parent": trial.candidate.parent if trial.candidate.parent is not None else None,
        "compared_with": None if parent is None else parent.candidate.id,
        "origin": trial.candidate.origin,
        "note": trial.candidate.note,
        "success": trial.outcome.success,
        "score": trial.outcome.score,
        "episodes": [
            {"seed": e.seed, "ended": e.ended, "steps": e.steps, "decisions": e.decisions, "reward": e.total_reward,
             "fault": None if e.fault is None else asdict(e.fault)}
            for e in trial.episodes
        ],
    }  # fmt: skip
