"""Programs written for the published package run with the import lines that docs/trace.md gives."""

from __future__ import annotations

import json
import linecache
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trace_robot.errors import ModelError, OrderError, UsageError
from trace_robot.llm import CallableModel, Reply, ScriptedModel
from trace_robot.optimizers import OPRO, OptoPrime, ParameterSpec, Problem
from trace_robot.optimizers.published import FallbackModel
from trace_robot.trace import GRAPH, bundle, node
from trace_robot.trace.propagators import SumPropagator

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "fixtures" / "published"
Answer = Callable[[list[dict[str, str]]], str]


def import_lines() -> dict[str, str]:
    """Return {published module: module here}, as the table of the page says."""
    table = (ROOT / "docs" / "trace.md").read_text(encoding="utf-8").split("| there | here |")[1]
    found: dict[str, str] = {}
    for row in re.findall(r"^\| from (.+) \|$", table, re.M):
        there, here = (re.findall(r"`([\w.]+)`", cell) for cell in row.split(" | "))
        found.update({name: here[index if len(here) > 1 else 0] for index, name in enumerate(there)})
    return found


def translated(text: str) -> str:
    """Return a program with other import lines, and nothing else changed."""
    known = import_lines()

    def other(match: re.Match[str]) -> str:
        return f"{match[1]}{known[match[2]]}{match[3]}"

    return re.sub(r"^((?:from|import) )(opto[\w.]*)(.*)$", other, text, flags=re.M)


class Endpoint(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint whose answers a test writes."""

    answer: Answer

    def log_message(self, *_: Any) -> None: ...

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = type(self).answer(asked["messages"])
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        data = json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], str]]:
    """Let the environment variables name an endpoint with these answers."""
    servers = []

    def begin(answer: Answer) -> str:
        handler = type("Handler", (Endpoint,), {"answer": staticmethod(answer)})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        address = f"http://127.0.0.1:{server.server_port}/v1"
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        monkeypatch.setenv("OPENAI_MODEL", "m")
        return address

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def run(name: str, **names: Any) -> Any:
    """Run a program and return its RESULT."""
    text = translated((PROGRAMS / f"{name}.txt").read_text(encoding="utf-8"))
    where = f"<published {name}>"
    linecache.cache[where] = (len(text), None, text.splitlines(True), where)
    space: dict[str, Any] = {"__name__": f"published_{name}", **names}
    exec(compile(text, where, "exec"), space)
    return space["RESULT"]


def block(name: str, value: str) -> str:
    return f'<variable name="{name}">\n{value}\n</variable>'


def code(name: str, source: str) -> str:
    return block(name, f"```python\n{source}\n```")


def published(text: str) -> Any:
    """Return a response in the form of OpenAI's client."""
    return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=text))])


def is_proposal(messages: list[dict[str, str]]) -> bool:
    return "#Variables" in messages[0]["content"]


def test_five_programs_are_there_and_name_the_published_package_alone() -> None:
    programs = sorted(PROGRAMS.glob("*.txt"))
    assert len(programs) == 5
    for path in programs:
        text = path.read_text(encoding="utf-8")
        assert re.search(r"^from opto|^import opto", text, re.M)
        assert "trace_robot" not in text
        changed = [
            old
            for old, new in zip(text.splitlines(), translated(text).splitlines(), strict=True)
            if old != new
        ]
        assert changed
        assert all(line.startswith(("from opto", "import opto")) for line in changed)


def test_an_agent_whose_template_and_code_are_parameters_learns_a_greeting(
    serve: Callable[[Answer], str], capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(messages: list[dict[str, str]]) -> str:
        if not is_proposal(messages):
            return "Hola, Juan!" if "only" in messages[-1]["content"] else "Sure! Hola, Juan!"
        assert "instruct" in messages[1]["content"]
        return block("instruct", "Write only a greeting of {name} in {language}.")

    serve(answer)
    assert run("greeting") == (True, 1)
    printed = capsys.readouterr().out
    assert "Prompt\n" in printed
    assert "LLM response:\n<variable" in printed


def test_a_game_goes_on_from_the_error_of_its_code(
    serve: Callable[[Answer], str], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def answer(messages: list[dict[str, str]]) -> str:
        seen.append(messages)
        source = "def reason(self, shots):\n    return [shots[-1][0], shots[-1][1] + 1]"
        return code("reason", source) if len(seen) == 1 else "<stop>yes</stop>"

    serve(answer)
    assert run("battleship") == (
        3,
        "(IndexError) index 4 is out of bounds for axis 1 with size 4",
    )
    assert "Hit all parts of the ship." in seen[0][1]["content"]
    printed = capsys.readouterr().out
    assert "LLM response:" in printed
    assert "Prompt" not in printed  # as verbose="output" asks


def test_a_function_is_mended_by_a_callable_model_in_the_published_form() -> None:
    source = (
        "def strange_sort_list(lst):\n    lst = sorted(lst)\n    result = []\n    while lst:\n"
        "        result.append(lst.pop(0 if len(result) % 2 == 0 else -1))\n    return result"
    )
    asked: list[dict[str, Any]] = []

    def llm(**request: Any) -> Any:
        asked.append(request)
        return published(json.dumps({"reasoning": "", "suggestion": {"strange_sort_list": source}}))

    assert run("sorting", LLM_OF_TEST=llm) == ([1, 4, 2, 3], 1)
    assert asked[0]["max_tokens"] == 4096


def test_a_prompt_is_learned_on_batches_through_a_config_list(serve: Callable[[Answer], str]) -> None:
    def answer(messages: list[dict[str, str]]) -> str:
        last = messages[-1]["content"]
        if last == "ping":
            return "pong"
        if is_proposal(messages):
            return block("prompt_template", "Write the result behind Answer:\nQ: {question}\nA:")
        total = sum(int(number) for number in re.findall(r"\d", last))
        return f"Answer: {total}" if "behind Answer:" in last else f"It is {total}."

    address = serve(answer)
    entry = {"model": "m", "base_url": address, "api_key": "none", "temperature": 0}
    assert run("minibatch", CONFIG_LIST_OF_TEST=[entry]) == [0, 2]


def test_a_controller_reaches_its_goal_with_inputs_as_they_are() -> None:
    model = ScriptedModel([block("gain", "2.0")])
    assert run("throwing", LLM_OF_TEST=model) == (2.0, 0.0)
    assert "Objective: Reach the goal exactly." in model.history[0][1]["content"]


def optimizer_of(*answers: Any, **options: Any) -> tuple[Any, OptoPrime]:
    x = node(2.0, name="x", trainable=True)
    return x, OptoPrime([x], ScriptedModel(answers), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lm": print}, "the optimizer has no option 'lm'; did you mean 'llm'?"),
        ({"memory_sise": 3}, "the optimizer has no option 'memory_sise'; did you mean 'memory_size'?"),
        ({"include_example": True}, "include_example must be False, got True: prompts have no worked example"),
        ({"log": False}, "log must be True, got False: every reply is kept in the attribute log"),
        ({"config_list": []}, "config_list must be a list of dicts with 'model', got []"),
        ({"config_list": ["gpt-4"]}, "an entry of config_list must be a dict with 'model', got str"),
        (
            {"config_list": [{"model": "m", "api_type": "azure"}]},
            "config_list can name OpenAI's interface only, got api_type 'azure'",
        ),
        (
            {"llm": 3},
            "a model must have a method chat or be callable with messages=..., got 3; trace_robot.llm.connect(name)"
            " returns the model of a name",
        ),
        ({"llm": print, "config_list": [{}]}, "the optimizer takes one model, got llm and config_list; leave one out"),
        ({"max_tokens": 0}, "max_tokens must be a whole number from 1 on, got 0"),
        ({"llm": ScriptedModel(), "max_tokens": 9}, "max_tokens cannot reach ScriptedModel; give it to that model"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error_and_not_left_out(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        OptoPrime([node(2.0, trainable=True)], **options)
    assert str(caught.value) == message


def test_another_propagator_is_refused() -> None:
    with pytest.raises(UsageError, match="an optimizer needs a GraphPropagator, got"):
        OptoPrime([node(2.0, trainable=True)], propagator=SumPropagator())


def test_a_missing_part_of_the_published_optimizer_names_what_to_use() -> None:
    _, optimizer = optimizer_of()
    with pytest.raises(AttributeError, match=r"OptoPrime has no attribute 'summary_log': .* use summarize"):
        optimizer.summary_log  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=r"OptoPrime has no attribute 'stepp'$"):
        optimizer.stepp  # type: ignore[attr-defined]  # noqa: B018


def test_the_objective_can_be_read_and_set() -> None:
    x, optimizer = optimizer_of(block("x", "3"))
    assert optimizer.objective == optimizer.default_objective
    optimizer.objective = optimizer.default_objective + " Be quick."
    optimizer.backward(x + 1, "more")
    optimizer.step()
    prompt = optimizer.log[0]["user_prompt"]
    assert f"#Instruction\n{optimizer.default_objective} Be quick.\n" in prompt
    optimizer.objective = ""
    assert optimizer.objective == optimizer.default_objective


def test_opro_shows_the_objective_too() -> None:
    x = node(2.0, name="x", trainable=True)
    model = ScriptedModel([block("x", "3")])
    optimizer = OPRO([x], model, objective="Come near 5.")
    optimizer.backward(x + 1, "more")
    optimizer.step(verbose=False)
    assert "Come near 5." in model.history[0][1]["content"]


def test_a_problem_with_an_objective_of_the_optimizer_is_an_error() -> None:
    problem = Problem((ParameterSpec("x", "number", 1.0),))
    with pytest.raises(
        UsageError, match=r"a problem has its own objective; give it to Problem\(objective=...\)"
    ):
        OptoPrime(problem, objective="larger")


@pytest.mark.parametrize("score", [True, "output"])
def test_verbose_by_position_is_not_taken_for_a_score(score: Any) -> None:
    x, optimizer = optimizer_of()
    optimizer.backward(x + 1, "more")
    with pytest.raises(UsageError, match=rf"write step\(verbose={score!r}\)"):
        optimizer.step(score)
    with pytest.raises(UsageError, match="verbose must be True, False or 'output', got 'loud'"):
        optimizer.step(verbose="loud")


def test_a_mask_of_one_step_holds_for_that_prompt_alone() -> None:
    x, optimizer = optimizer_of(block("x", "3"), block("x", "4"))
    for mask in (["#Feedback"], None):
        optimizer.zero_feedback()
        optimizer.backward(x + 1, "much more")
        optimizer.step(mask=mask)
    assert ["much more" in entry["user_prompt"] for entry in optimizer.log] == [False, True]


def test_propose_leaves_the_values_to_update() -> None:
    x, optimizer = optimizer_of(block("x", "3"))
    optimizer.backward(x + 1, "more")
    proposed = optimizer.propose()
    assert (x.data, proposed[x]) == (2.0, 3.0)
    optimizer.update(proposed)
    assert x.data == 3.0


def test_an_optimizer_without_a_model_and_without_a_configured_one_names_the_variables() -> None:
    x = node(2.0, name="x", trainable=True)
    optimizer = OptoPrime([x])
    optimizer.backward(x + 1, "more")
    with pytest.raises(OrderError, match="needs a model; give one to the optimizer, or set OPENAI_API_KEY"):
        optimizer.step(verbose=True)
    assert x.data == 2.0


def test_levels_are_those_of_the_nodes_also_behind_what_no_parameter_leads_to() -> None:
    x = node(1.0, name="x", trainable=True)
    far = (node(2.0) + 1) * 2
    (x + far).backward("more")
    ((graph,),) = x.feedback.values()
    assert graph.user_feedback == "more"
    assert all(level == each.level for level, each in graph.graph)
    assert max(level for level, _ in graph.graph) == 3


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ({"choices": [{"message": {"content": "yes"}, "finish_reason": "length"}]}, Reply("yes", "length")),
        ("yes", Reply("yes")),
    ],
)
def test_a_callable_model_reads_attributes_items_and_text(response: Any, text: Reply) -> None:
    assert CallableModel(lambda **_: response).chat([{"role": "user", "content": "?"}]) == [text]


def test_what_a_callable_model_raises_or_returns_otherwise_is_a_model_error() -> None:
    def broken(**_: Any) -> Any:
        raise ValueError("no quota")

    with pytest.raises(ModelError, match="the model's function raised ValueError: no quota"):
        CallableModel(broken).chat([])
    with pytest.raises(ModelError, match=r"must return a text in choices\[0\].message.content, got 7"):
        CallableModel(lambda **_: 7).chat([])


def test_the_next_entry_of_a_config_list_answers_for_one_that_does_not() -> None:
    first = ScriptedModel([ModelError("out of reach")])
    model = FallbackModel([first, ScriptedModel(["yes"])])
    assert model.chat([])[0].text == "yes"
    with pytest.raises(ModelError, match="no answer left"):
        model.chat([])


def test_inputs_that_are_not_processed_arrive_as_they_are() -> None:
    @bundle(_process_inputs=False)
    def kinds(first: Any, second: Any) -> list[str]:
        return [type(first).__name__, type(second).__name__]

    x = node(1, name="x")
    assert kinds(x, 2).data == ["Node", "int"]
    assert kinds(x, 2).parents[0] is x
    with pytest.raises(TypeError):
        bundle("[f] f", False, True)  # type: ignore[call-overload]


def test_a_template_may_have_a_field_of_any_name() -> None:
    text = node("hi {x} and {self}").format(x=node("you", name="who"), self=3)
    assert text.data == "hi you and 3"
    assert {parent.data for parent in text.parents} == {"hi {x} and {self}", "you", 3}
    assert GRAPH.TRACE
