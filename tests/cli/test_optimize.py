"""The main job, end to end, in the real simulator."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from trace_robot.cli import main
from trace_robot.cli.arguments import add_request
from trace_robot.llm import message_tokens
from trace_robot.search.staged.constants import saved_text
from trace_robot.spec import Array

ANSWER = """<reasoning>The hand keeps still, so go to the goal.</reasoning>
<change>go to the goal</change>
<variable name="act">
```python
def act(observation, memory):
    error = observation["goal_position"] - observation["hand_position"]
    return [*error, 0.0]
```
</variable>
<stop>no</stop>
"""


class Endpoint(BaseHTTPRequestHandler):
    """Answers each chat request with the next of ``replies``, and keeps it."""

    asked: list[dict[str, Any]]
    replies: list[str]

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        message = {"role": "assistant", "content": self.replies.pop(0)}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        body = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": choices,
            "usage": usage,
        }
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Endpoint]]:
    class Mine(Endpoint):
        asked: list[dict[str, Any]] = []  # noqa: RUF012
        replies: list[str] = []  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-written-down")
    monkeypatch.setenv("OPENAI_MODEL", "m")
    yield Mine
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "TRACE_ROBOT_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_model")
def test_without_a_model_the_search_solves_reach_and_leaves_everything_to_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], frames_of: Callable[[Path], Array]
) -> None:
    out = tmp_path / "run"
    assert main(["optimize", "reach-v3", "--out", str(out), "--held-out", "10"]) == 0
    shown = capsys.readouterr().out
    assert (
        "search: no model is configured (OPENAI_API_KEY or OPENAI_BASE_URL), so the built-in search runs"
        in shown
    )
    assert "the starting controller" in shown
    assert str(out / "best.py") in shown

    result = json.loads((out / "result.json").read_text())
    assert result["task"] == "reach-v3"
    assert (result["optimizer"], result["feedback_level"], result["seed"]) == ("search", "outcome", 0)
    assert result["start_success"] == 0.0
    assert result["held_out_success"] >= 0.9
    assert result["held_out_episodes"] == 10
    assert (result["model_calls"], result["tokens"]) == (0, 0)
    assert result["candidates"] > 10
    assert result["environment_steps"] > 1000
    assert result["versions"]["metaworld"] == "3.1.1"

    iterations = sorted((out / "iterations").iterdir())
    assert len(iterations) == result["iterations"] + 1 >= 2
    last = iterations[result["best_iteration"]]
    best = (out / "best.py").read_text()
    assert best == saved_text((last / "controller.py").read_text(), "reach-v3")
    assert best.startswith('"""Found by search for reach-v3: ')
    assert "-    return [0.0, 0.0, 0.0, 0.0]" in (iterations[1] / "difference.diff").read_text()
    tried = result["training_episodes"]
    assert tried == 20  # ten to compare candidates on, ten more to confirm
    assert f"Success in {tried} of {tried} episodes." in (last / "feedback.txt").read_text()
    assert json.loads((last / "scores.json").read_text())["success"] == 1.0
    frames = frames_of(last / "episode.mp4")
    assert frames.shape[1:] == (360, 480, 3)
    assert len(frames) > 10

    assert main(["evaluate", "reach-v3", "--policy", str(out / "best.py"), "--episodes", "10", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["success"] == result["held_out_success"]
    assert again["control"] == result["control"]
    held_out = json.loads((out / "held_out.json").read_text())["episodes"]
    assert held_out == again["conditions"]


def test_a_models_answer_becomes_the_next_controller_and_its_effect_is_seen(
    tmp_path: Path, endpoint: type[Endpoint], capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.replies[:] = ["I would rather not.", ANSWER]
    out = tmp_path / "run"
    arguments = (
        f"optimize reach-v3 --out {out} --episodes 2 --held-out 4 --no-tune --record {tmp_path}/record.jsonl"
    )
    assert main([*arguments.split(), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["optimizer"], result["control"]) == ("optoprime", "pose")
    assert result["held_out_success"] == 1.0
    assert (result["model_calls"], result["tokens"]) == (2, 220)

    first, repair = ("\n".join(m["content"] for m in asked["messages"]) for asked in endpoint.asked)
    assert "def act(observation, memory):" in first
    assert "success 0/2" in first
    assert "goal_position" in first
    assert "Your reply cannot be used" in repair
    folder = out / "iterations" / "001"
    assert "I would rather not." in (folder / "attempts.json").read_text()
    assert "go to the goal" in (folder / "reply.md").read_text()
    assert "+    error = observation" in (folder / "difference.diff").read_text()
    for path in [*out.rglob("*"), tmp_path / "record.jsonl"]:
        assert path.is_dir() or b"sk-never-written-down" not in path.read_bytes()

    endpoint.replies[:] = []
    replay = f"optimize reach-v3 --out {tmp_path / 'again'} --episodes 2 --held-out 4 --no-tune --no-video"
    assert main([*replay.split(), "--replay", str(tmp_path / "record.jsonl"), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["held_out_success"] == 1.0
    assert len(endpoint.asked) == 2
    assert (tmp_path / "again" / "best.py").read_text() == (out / "best.py").read_text()


def test_a_model_that_never_answers_as_asked_is_one_line_and_all_its_replies_are_kept(
    tmp_path: Path, endpoint: type[Endpoint], capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.replies[:] = ["I would rather not."] * 6
    out = tmp_path / "run"
    arguments = f"optimize reach-v3 --out {out} --episodes 1 --held-out 1 --no-tune --no-video --json"
    assert main(arguments.split()) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["model_calls"] == 6
    assert shown.err.splitlines()[-1].startswith(
        "trace-robot: error: the model gave no usable reply in 3 requests"
    )
    attempts = json.loads((out / "attempts.json").read_text())["attempts"]
    assert [attempt["kind"] for attempt in attempts] == ["proposal", "repair"] * 3


def test_a_candidate_that_attacks_is_a_score_with_a_reason_and_the_run_goes_on(
    tmp_path: Path, endpoint: type[Endpoint], capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = ANSWER.replace("    error = obs", "    while True:\n        pass\n    error = obs")
    endpoint.replies[:] = [hostile, ANSWER]
    out = tmp_path / "run"
    assert (
        main(f"optimize reach-v3 --out {out} --episodes 1 --held-out 2 --no-tune --no-video --quiet".split())
        == 0
    )
    scores = json.loads((out / "iterations" / "001" / "scores.json").read_text())
    assert scores["episodes"][0]["fault"]["category"] == "timeout"
    assert "Error (timeout)" in (out / "iterations" / "001" / "feedback.txt").read_text()
    assert "Error (timeout): one call took more than 1 s" in "\n".join(
        m["content"] for m in endpoint.asked[1]["messages"]
    )
    assert capsys.readouterr().out.startswith("1.00 ")


@pytest.mark.usefixtures("no_model")
def test_an_unreachable_endpoint_is_one_line_before_a_rollout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = f"optimize reach-v3 --out {out} --episodes 1 --no-video --retries 0 --model m --base-url http://127.0.0.1:9/v1"
    assert main(arguments.split()) == 1
    errors = capsys.readouterr().err
    assert "cannot reach a model at http://127.0.0.1:9/v1" in errors
    assert errors.count("\n") == 1
    assert not out.exists()


@pytest.mark.usefixtures("no_model")
def test_a_dry_run_prints_the_prompt_and_asks_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimize", "reach-v3", "--episodes", "1", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "#Variables" in shown
    assert "goal_position" in shown


@pytest.mark.usefixtures("no_model")
def test_constants_are_tuned_where_there_is_no_act_to_rewrite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        f"optimize pick-place-v3 --policy pick_place --out {tmp_path / 'run'} --held-out 4 --no-video --json"
    )
    assert main(arguments.split()) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["optimizer"], result["start_success"], result["held_out_success"]) == ("cma", 0.0, 1.0)
    assert 'CONTROL = "pose"' in (tmp_path / "run" / "best.py").read_text()


@pytest.mark.usefixtures("no_model")
def test_render_writes_a_video_of_the_episodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], frames_of: Callable[[Path], Array]
) -> None:
    film = tmp_path / "film.mp4"
    assert main(f"render reach-v3 --policy do_nothing --env-arg horizon=120 --out {film}".split()) == 0
    assert "1 episode, success 0.00" in capsys.readouterr().out
    assert len(frames_of(film)) > 40  # 1.5 s


def test_a_run_stopped_by_ctrl_c_keeps_the_best_that_the_search_had_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "trace_robot", "optimize", "pick-place-v3", "--optimizer", "search"]
    process = subprocess.Popen(
        [*command, "--out", str(out), "--no-video", "--quiet"], stderr=subprocess.PIPE, start_new_session=True
    )
    start = ""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        text = (out / "best.py").read_text() if (out / "best.py").exists() else ""
        start = start or text
        if text != start:
            break
        time.sleep(0.05)
    errors = b""
    for _ in range(
        4
    ):  # Python drops an interrupt that arrives in a destructor: press again, as a person would
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, errors = process.communicate(timeout=60)
            break
    assert process.returncode == 130
    assert errors.decode() == (
        f"trace-robot: stopped; go on with: trace-robot resume {out}; the best controller so far: {out / 'best.py'}\n"
    )
    assert "\nSTAGES: " in (out / "best.py").read_text()
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.usefixtures("no_model")
def test_a_runs_own_episodes_are_rendered_one_side_by_side_and_as_a_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], frames_of: Callable[[Path], Array]
) -> None:
    run = tmp_path / "run"
    arguments = (
        f"optimize reach-v3 --optimizer search --out {run} --held-out 2 --no-video --quiet --episodes 4"
        " --env-arg horizon=100 --steps 8000"
    )
    assert main(arguments.split()) == 0
    for option, name, width in (
        ("", "best.mp4", 480),
        ("--iteration 0", "first.mp4", 480),
        ("--first-and-best", "both.mp4", 960),
        ("--contact-sheet", "sheet.png", 960),
    ):
        film = tmp_path / name
        assert main(f"render {run} {option} --out {film}".split()) == 0
        assert frames_of(film).shape[2] == width
    assert "iterations 0, 1; drawn by" in capsys.readouterr().out


@pytest.mark.usefixtures("no_model")
def test_an_interrupted_run_goes_on_from_the_command_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "trace_robot"]
    arguments = (
        f"optimize reach-v3 --optimizer search --out {run} --held-out 2 --no-video --steps 8000 --episodes 4"
    )
    process = subprocess.Popen([*command, *arguments.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    for line in process.stdout:
        if b"the starting controller" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert f"go on with: trace-robot resume {run};" in errors.decode()
    done = subprocess.run([*command, "resume", str(run), "--json"], capture_output=True, check=True)
    assert json.loads(done.stdout)["ended"]
    assert b"known from before; none is asked again" in done.stderr


def test_a_controller_without_act_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "helper.py"
    policy.write_text(
        "from trace_robot import bundle\n\n@bundle(trainable=True)\ndef helper(observation):\n    return 1\n"
    )
    for command in (f"optimize reach-v3 --optimizer cma --policy {policy} --out {tmp_path / 'run'}",
                    f"evaluate reach-v3 --policy {policy}", f"render reach-v3 --policy {policy}"):  # fmt: skip
        assert main(command.split()) == 1
        assert (
            "defines no act: write def act(observation), or def act(observation, memory)"
            in capsys.readouterr().err
        )
    assert not (tmp_path / "run").exists()


def test_fields_of_the_request_and_the_prompt_are_set_from_the_command_line_and_by_resume(
    tmp_path: Path, endpoint: type[Endpoint], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = f"optimize reach-v3 --out {out} --iterations 2 --episodes 1 --held-out 2 --no-tune --no-video"
    arguments += " --workers 0 --retries 0 --proposals 2 --parallel 1 --token-budget 2500"
    arguments += (
        " --request temperature=0.2 --request chat_template_kwargs.enable_thinking=false --request user=me"
    )
    assert main(arguments.split()) == 1, "the endpoint has no reply"
    assert "resume" in capsys.readouterr().err
    first = endpoint.asked[0]
    assert (first["temperature"], first["user"], first["chat_template_kwargs"]) == (
        0.2,
        "me",
        {"enable_thinking": False},
    )
    assert "n" not in first
    endpoint.asked.clear()
    endpoint.replies[:] = [ANSWER, ANSWER.replace("*error", "*(2 * error)")]
    changes = "--model other --request temperature=0.9 --token-budget 1800 --parallel 2 --json"
    assert main(["resume", str(out), *changes.split()]) == 0
    assert json.loads(capsys.readouterr().out)["held_out_success"] == 1.0
    assert len(endpoint.asked) == 2
    for asked in endpoint.asked:
        assert (asked["model"], asked["temperature"], asked["user"]) == ("other", 0.9, "me")
        assert asked["chat_template_kwargs"] == {"enable_thinking": False}
        assert message_tokens(asked["messages"]) < message_tokens(first["messages"])


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    "text", ["temperature", "=1", "a..b=1", "messages=[]", "n=3", "model=m", "a=NaN", "a=-Infinity"]
)
def test_a_field_that_cannot_be_sent_is_a_typing_mistake(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["optimize", "reach-v3", "--request", text])
    assert caught.value.code == 2
    assert "argument --request: " in capsys.readouterr().err


def test_a_field_is_json_or_text_and_its_dots_are_places(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_request(parser)

    def fields(*texts: str) -> dict[str, Any] | None:
        request = parser.parse_args([part for text in texts for part in ("--request", text)]).request
        return cast("dict[str, Any] | None", request)

    assert fields(
        "a=1", "b.c=true", "b.d.e=null", 'f=["x", 2]', "g=high", "h=", "i=x=y", 'j={"k": 1}', "j.l=2"
    ) == {
        "a": 1,
        "b": {"c": True, "d": {"e": None}},
        "f": ["x", 2],
        "g": "high",
        "h": "",
        "i": "x=y",
        "j": {"k": 1, "l": 2},
    }
    assert fields() is None, "the fields of an earlier command line are not kept"
    for pair in (["a=1", "a.b=2"], ["a.b=2", "a=1"]):
        with pytest.raises(SystemExit, match="2"):
            fields(*pair)
        assert "--request: a is both a value and has fields inside of it" in capsys.readouterr().err


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"ALL_PROXY": "socks://127.0.0.1:9"}, "the proxy socks://127.0.0.1:9 of ALL_PROXY must begin with one of"),
        ({"http_proxy": "http://127.0.0.1:9"}, "through the proxy http://127.0.0.1:9 of http_proxy"),
        ({"OPENAI_API_KEY": "sk-0123456789\n"}, "the key in OPENAI_API_KEY has a line end at position 14 of 14"),
        ({"SSL_CERT_FILE": "/no/such.pem"}, "SSL_CERT_FILE names '/no/such.pem', which does not exist"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)  # fmt: skip
def test_what_keeps_a_model_from_being_asked_is_one_line_before_a_rollout(
    variables: dict[str, str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    scheme = "https" if "SSL_CERT_FILE" in variables else "http"
    arguments = f"optimize reach-v3 --base-url {scheme}://model.invalid/v1 --model m --retries 0"
    arguments += f" --out {tmp_path / 'run'}"
    assert main(arguments.split()) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert reason in shown.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            "--optimizer search --proposer cat",
            "--proposer: only a language model has this option, and the optimizer search asks none; leave it out, or",
        ),
        ("--optimizer cma --record a.jsonl --calls 3", "--record and --calls: only a language model has"),
        ("--optimizer search --base-url http://127.0.0.1:9/v1", "--base-url: only a language model has"),
        (
            "--proposals 2 --no-tune",
            "--proposals and --no-tune: only a language model has this option, and none is",
        ),
    ],
)
def test_what_only_a_model_reads_is_refused_where_none_is_asked(
    typed: str, message: str, point_mass: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["optimize", "point-mass", *typed.split(), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()
