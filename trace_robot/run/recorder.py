"""Records a run: iterations, the best controller, videos, the result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.errors import RenderError
from trace_robot.render.key_frames import OWN_URL, draw
from trace_robot.render.video import RenderFailure, RenderJob, RenderProcess, VideoInfo, clip_of, video_job
from trace_robot.rollout.feedback import representative
from trace_robot.run.person import Question
from trace_robot.search.staged.constants import saved_text
from trace_robot.stats import measure_of
from trace_robot.store.codec import decode_json, encode_json
from trace_robot.store.folder import BEFORE_VIDEO, RunFolder, difference
from trace_robot.store.journal import Journal, hash_of
from trace_robot.store.records import decoding

if TYPE_CHECKING:
    from trace_robot.llm.openai_model import OpenAIModel
    from trace_robot.optimizers.problem import Attempt
    from trace_robot.rollout.episode import Episode
    from trace_robot.rollout.evaluation import Evaluation, Evaluator
    from trace_robot.rollout.task import Task
    from trace_robot.settings import Result
    from trace_robot.spec import TaskSpec
    from trace_robot.store.writer import Cost, RunWriter

log = logging.getLogger("trace_robot.run")
LONGEST_URL = 2_000_000  # characters; a sheet of key frames has at most 1,500,000
MOST_EPISODES = 8  # that are kept to be drawn: BestFirst works on one of the three best trials


class RunRecorder:
    """Writes a run's files, rows and, in a background process, videos.

    A video that cannot be made is a line in the run's notes.txt, never the end of a run.
    """

    def __init__(
        self, folder: RunFolder, writer: RunWriter, task: Task, *, video: bool = True, annotate: bool = False
    ) -> None:
        self.folder, self.writer, self.task, self._annotate = folder, writer, task, annotate
        self._best: str | None = None  # a controller that is yet to be written to best.py
        self._attempts_written = 0
        self._renderer = RenderProcess() if video else None
        self._notes: list[str] = []

    def log(self, trials: Sequence[Evaluation], spent: Cost) -> None:
        """Append one line a candidate to log.jsonl, and its rows.

        Args:
            trials: the evaluated candidates of one ``ask``.
            spent: what the run has cost so far.
        """
        self.writer.log(trials, spent)
        self.folder.log([_log_line(trial) for trial in trials])
        self._catch_up()

    def iteration(
        self,
        number: int,
        trial: Evaluation,
        parent: Evaluation | None,
        log: Sequence[Attempt],
        spent: Cost,
        *,
        better: bool,
    ) -> None:
        """Write an iteration.

        Args:
            number: of the iteration; 0 is the starting controller.
            trial: the candidate that it tried.
            parent: the best before it, None for the first.
            log: the optimizer's, of all that a model was asked since the run began.
            spent: what the run has cost so far.
            better: it is the best from now on.
        """
        attempts = self._new(log)
        self.writer.iteration(number, trial, attempts, spent, better=better)
        name = f"iterations/{self.folder.iteration(number).name}"
        before = self.task.policy.text if parent is None else parent.text
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
        self._render(trial, self.folder.path / name / "episode.mp4", f"iteration {number}")

    def keep(self, text: str) -> None:
        """Write the best controller so far to best.py.

        During replay it is held back: the file has a later one.
        """
        found = self._annotate and text != self.task.policy.text
        self._best = saved_text(text, self.task.env) if found else text
        self._catch_up()

    def compare(self, start: Evaluation, best: Evaluation, evaluator: Evaluator) -> None:
        """Record the start on the condition of the best one's video, for before and after.

        Args:
            start: the starting controller's evaluation.
            best: the best one's.
            evaluator: of the run.
        """
        before, after = (trial.episodes[representative(trial.episodes)] for trial in (start, best))
        if self._renderer is None or start is best or after.states is None or before.seed == after.seed:
            return
        episode = evaluator.score(start.text, [after.seed], keep_states=True)[0]
        self.writer.compared(episode)
        if episode.states is not None and len(episode.states):
            self._film(episode, self.folder.path / BEFORE_VIDEO, "iteration 0")

    def finish(
        self,
        result: Result,
        held_out: Sequence[Episode],
        log: Sequence[Attempt],
        spent: Cost,
        on_video: Callable[[int, int], None] | None = None,
    ) -> None:
        """Write the held-out episodes and the result, last, once every video is done.

        Args:
            result: what becomes result.json.
            held_out: the episodes of the final score.
            log: the optimizer's, of all that a model was asked since the run began.
            spent: what the run has cost.
            on_video: called with how many of the videos that were left are done, and their number, once a second.
        """
        attempts = self._new(log)
        self._catch_up()
        self._attempts("attempts.json", attempts)
        episodes = [
            {"seed": e.seed, "ended": e.ended, "steps": e.steps, "reward": e.total_reward} for e in held_out
        ]
        self.folder.write_json("held_out.json", {"episodes": episodes})
        if self._renderer is not None:
            self._note(self._renderer.finish(on_video))
        if self._notes:
            self.folder.write("notes.txt", "\n".join(self._notes) + "\n")
        self.folder.finish()
        self.folder.write_json("result.json", asdict(result))
        self.writer.finish(result, held_out, attempts, spent)

    def question(self, number: int, success: float, taken: int) -> Question:
        """Return what a person is asked about an iteration, once its video is done.

        Args:
            number: of the iteration.
            success: of its controller.
            taken: sentences of a person so far.
        """
        if self._renderer is not None:
            self._note(self._renderer.finish())
        folder = self.folder.path / "iterations" / self.folder.iteration(number).name
        video = folder / "episode.mp4"
        return Question(number, success, folder, video if video.is_file() else None, taken)

    def close(self) -> None:
        """End the rendering process, without the videos that are not done."""
        if self._renderer is not None:
            self._renderer.close()

    def _new(self, log: Sequence[Attempt]) -> Sequence[Attempt]:
        """Return the entries of an optimizer's log that are not written yet."""
        attempts, self._attempts_written = log[self._attempts_written :], len(log)
        return attempts

    def _catch_up(self) -> None:
        """Write what was held back during replay, once that is over."""
        if self.writer.journal.replaying:
            return
        self.folder.caught_up()
        if self._best is not None:
            self.folder.write("best.py", self._best)
            self._best = None

    def _attempts(self, name: str, attempts: Sequence[Attempt]) -> None:
        """Write every attempt, the unusable ones too."""
        if attempts:
            self.folder.write_json(name, {"attempts": [attempt.to_data() for attempt in attempts]})

    def _render(self, trial: Evaluation, path: Path, title: str) -> None:
        episode = trial.episodes[representative(trial.episodes)]
        if self._renderer is None or episode.states is None or not len(episode.states) or path.is_file():
            return
        self._film(episode, path, title)

    def _film(self, episode: Episode, path: Path, title: str) -> None:
        spec = self.task.spec
        measure = measure_of(spec.success, spec.return_threshold)
        caption = f"{self.task.env}, {title}", f"condition {episode.seed}"
        self._submit(video_job([clip_of(episode, *caption, measure=measure)], path))

    def _submit(self, job: RenderJob) -> None:
        if self._renderer is None:
            return
        try:
            self._renderer.submit(job)
            self._note(self._renderer.collect())
        except RenderError as error:  # a video that fails must not end the run
            self._note([RenderFailure(job.path, str(error))])

    def _note(self, results: Sequence[VideoInfo | RenderFailure]) -> None:
        for result in results:
            if isinstance(result, RenderFailure):
                self._notes.append(f"no video {result.path.relative_to(self.folder.path)}: {result.reason}")
                log.warning("%s", self._notes[-1])


class JournaledPictures:
    """Key frames of a trial's most telling episode, from the journal or drawn now.

    Args:
        journal: of the run.
        spec: of the environment.
        endpoint: draws none where it has refused pictures; None where another kind of model answers.
        note: takes what a user should know.
    """

    def __init__(
        self, journal: Journal, spec: TaskSpec, endpoint: OpenAIModel | None, note: Callable[[str], None]
    ) -> None:
        self.journal, self.spec, self.endpoint, self.note = journal, spec, endpoint, note
        self._episodes: dict[int, tuple[int, Episode]] = {}
        self._drawn: dict[int, list[tuple[str, str]]] = {}

    def remember(self, candidate: int, episodes: Sequence[Episode]) -> None:
        """Keep the episode to show of a candidate.

        Args:
            candidate: its id.
            episodes: all of its; of those with states the representative.
        """
        with_states = [index for index, episode in enumerate(episodes) if episode.states is not None]
        if with_states:
            shown = with_states[representative([episodes[index] for index in with_states])]
            self._episodes[candidate] = shown + 1, episodes[shown]
        while len(self._episodes) > MOST_EPISODES:  # their states are megabytes
            del self._episodes[next(iter(self._episodes))]

    def __call__(self, candidate: int) -> list[tuple[str, str]]:
        """Return a candidate's pictures, a caption and a data URL each."""
        if self.endpoint is not None and any(a.kind == "images" for a in self.endpoint.adjustments):
            return []
        if candidate not in self._drawn:
            request = hash_of(["pictures", candidate])
            entry = self.journal.take_next("replies", request)
            if entry is None:
                self._drawn[candidate] = self._draw(candidate)
                self.journal.put("replies", request, encode_json({"pictures": self._drawn[candidate]}))
            else:
                with decoding("the run's journal"):
                    rows = decode_json(entry.data)["pictures"]
                    # A stranger's journal must not name an address that the endpoint would then fetch.
                    self._drawn[candidate] = [
                        (str(caption), str(url))
                        for caption, url in rows
                        if str(url).startswith(OWN_URL) and len(str(url)) <= LONGEST_URL
                    ]
        return self._drawn[candidate]

    def _draw(self, candidate: int) -> list[tuple[str, str]]:
        if candidate not in self._episodes:
            return []
        number, episode = self._episodes[candidate]
        try:
            with RenderProcess() as process:
                return draw(episode, self.spec, number, process)
        except RenderError as error:  # as a video: it must not end a run
            self.note(f"no pictures for the model: {error}")
            return []


def _log_line(trial: Evaluation) -> dict[str, Any]:
    # A candidate's text is kept with its iteration only; a program is small and has no other place.
    return {
        "id": trial.candidate.id,
        "parent": trial.candidate.parent,
        "origin": trial.candidate.origin,
        "note": trial.candidate.note,
        "success": trial.outcome.success,
        "score": trial.outcome.score,
        "program": trial.candidate.program,
        "seeds": [episode.seed for episode in trial.episodes],
    }


def _scores(trial: Evaluation, parent: Evaluation | None) -> dict[str, Any]:
    return {
        "candidate": trial.candidate.id,
        "parent": trial.candidate.parent,
        "compared_with": None if parent is None else parent.candidate.id,
        "origin": trial.candidate.origin,
        "note": trial.candidate.note,
        "success": trial.outcome.success,
        "score": trial.outcome.score,
        "episodes": [
            {
                "seed": episode.seed,
                "ended": episode.ended,
                "steps": episode.steps,
                "decisions": episode.decisions,
                "reward": episode.total_reward,
                "fault": None if episode.fault is None else asdict(episode.fault),
            }
            for episode in trial.episodes
        ],
    }
