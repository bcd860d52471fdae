"""A served run from describe to finish, over HTTP, and what the store has of it afterwards."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from helpers.agents import KEEPS_STILL, SOLVES, served
from trace_robot.errors import BudgetExceededError, RunError
from trace_robot.llm.model import Reply
from trace_robot.serve import AgentAnswer, SubmissionError, Submissions
from trace_robot.serve.submissions import FINISHED, answer
from trace_robot.store.history import History

pytestmark = pytest.mark.usefixtures("point_mass")


def test_an_agent_goes_from_describe_to_finish_and_the_run_is_one_like_any_other(tmp_path: Path) -> None:
    with served(tmp_path / "run") as agent:
        task = agent.get("describe")
        assert "Bring the point to the goal." in task["text"]
        assert "hand_position: (3,), metres. where the point is" in task["text"]
        assert [field["name"] for field in task["observation"]] == ["hand_position", "goal_position"]
        assert (task["budget"], task["episodes"], task["confirm"], task["held_out"]) == (12, 2, 1, 3)

        status, first = agent.post("submit", controller=KEEPS_STILL, note="keep still")
        assert status == 200
        assert (first["success"], first["left"], len(first["episodes"])) == (0.0, 10, 2)
        assert "Success in 0 of 2 episodes." in first["text"]

        status, second = agent.post("submit", controller=SOLVES, note="go there")
        assert status == 200
        assert (second["success"], second["left"], second["best"]) == (
            1.0,
            7,
            2,
        )  # 2 conditions and 1 to confirm
        assert second["text"].startswith("It is the best so far.")
        assert "observation.hand_position | act" in second["text"], "the trace has a row a step"
        assert agent.get("latest") == second

        best = agent.get("best")
        assert best["controller"].startswith(SOLVES)
        assert agent.left == 7

        status, result = agent.post("finish")
        assert status == 200
        assert (result["held_out_success"], result["held_out_episodes"]) == (1.0, 3)
        assert agent.post("finish") == (200, result), "asked again, it is the same"

    with History(tmp_path) as history:
        run = history.run("run")
        assert (run.status, run.ended, run.optimizer) == ("finished", "the agent finished", "agent")
        assert [(each.note, each.success) for each in history.iterations(run)][1:] == [
            ("keep still", 0.0),
            ("go there", 1.0),
        ]
        assert run.tokens == 0, "a submission is no paid call"
        assert len(history.held_out(run)) == 3
        assert history.attempts(run)[0].reply.endswith(KEEPS_STILL)
    assert (tmp_path / "run" / "best.py").read_text().startswith(SOLVES)


def test_a_controller_that_cannot_run_is_refused_with_its_line_kept_and_costs_nothing(tmp_path: Path) -> None:
    with served(tmp_path / "run") as agent:
        for controller, message in (
            ("def act(observation, memory):\n    return [", "line 2 is not valid Python"),
            ("x = 1\n", "defines no act"),
            (f"{SOLVES}\nimport os\n", "line 5:"),
            (f"import {'a.' * 1000}a\n{SOLVES}", "line 1: module 'a.a.a."),
            (f'CONTROL = "raw"\n{SOLVES}', "CONTROL must be 'pose' or left out, got 'raw'"),
            (" \n", "must be Python source"),
            (f"# {'x' * 200_000}\n{SOLVES}", "at most 200,000 characters"),
        ):
            status, data = agent.post("submit", controller=controller)
            assert (status, message in data["error"]) == (422, True), data
            assert len(data["error"]) < 400, "it quotes no more than it takes to find the place"
        assert agent.left == 12
        assert agent.post("submit", controller=SOLVES)[0] == 200
        status, data = agent.post("submit", controller=SOLVES)
        assert (status, data["error"][:31]) == (422, "this is the text of trial 1, wh")
    with History(tmp_path) as history:
        problems = [attempt.problems for attempt in history.attempts(history.run("run"))]
        assert sum(map(bool, problems)) >= 4, "what the loop read is recorded, also where it was refused"


def test_an_error_names_the_line_that_was_submitted(tmp_path: Path) -> None:
    fails = "import math\n\n\ndef act(observation, memory):\n    return [math.sqrt(-1.0), 0.0, 0.0, 0.0]\n"
    with served(tmp_path / "run") as agent:
        _, data = agent.post("submit", controller=fails)
        assert data["faults"] == ["exception", "exception"]
        assert ">>>    5 |     return [math.sqrt(-1.0), 0.0, 0.0, 0.0]" in data["text"]


def test_the_level_of_feedback_is_the_servers_to_choose(tmp_path: Path) -> None:
    with served(tmp_path / "run", feedback="hindsight") as agent:
        _, data = agent.post("submit", controller=KEEPS_STILL)
        assert "Episode 1, hindsight:" in data["text"]
        status, data = agent.post("submit", controller=SOLVES, feedback="expert")
        assert (status, data["error"]) == (400, "submit takes controller, note, got 'feedback'")


def test_the_time_of_a_run_ends_it_and_the_result_waits_for_the_agent(tmp_path: Path) -> None:
    with served(tmp_path / "run", seconds=1.0) as agent:
        patience = time.monotonic() + 60
        while not agent.server.submissions.undelivered and time.monotonic() < patience:
            time.sleep(0.05)
        status, data = agent.post("submit", controller=SOLVES)
        assert (status, data["error"][:19]) == (410, "the run is finished")
        status, result = agent.post("finish")
        assert (status, result["ended"], result["held_out_episodes"]) == (200, "1 seconds spent", 3)


# The rendezvous by itself.


def test_a_wait_ends_with_the_time_and_with_an_agent_that_leaves() -> None:
    with pytest.raises(BudgetExceededError, match=r"0\.01 seconds spent"):
        Submissions(0.01).chat([])
    submissions = Submissions()
    submissions.leave("it left")
    with pytest.raises(RunError, match="it left"):
        submissions.chat([])


def test_a_request_that_waits_is_answered_when_the_run_stops() -> None:
    submissions = Submissions()
    errors: list[SubmissionError] = []

    def finish() -> None:
        try:
            submissions.finish()
        except SubmissionError as error:
            errors.append(error)

    thread = threading.Thread(target=finish)
    thread.start()
    assert submissions.chat([]) == [Reply("", FINISHED)]
    submissions.close()
    thread.join(60)
    assert [error.status for error in errors] == [500]
    with pytest.raises(SubmissionError, match="the run has stopped"):
        submissions.describe()


def test_a_result_is_undelivered_until_it_is_asked_for() -> None:
    submissions = Submissions()
    assert not submissions.undelivered, "there is none yet"
    submissions.complete(AgentAnswer("the result"))
    assert submissions.undelivered
    assert submissions.finish() == AgentAnswer("the result")
    assert not submissions.undelivered


@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        ("submit", {}, "submit needs controller, got none"),
        ("submit", {"controller": 3}, "controller must be text, got int"),
        ("submit", [], "submit must be given an object, got list"),
        ("finish", {"seed": "0"}, "finish takes no fields, got 'seed'"),
    ],
)
def test_arguments_are_checked_before_a_verb_is_reached(verb: str, arguments: object, message: str) -> None:
    with pytest.raises(SubmissionError, match=message) as error:
        answer(Submissions(), verb, arguments)
    assert error.value.status == 400
