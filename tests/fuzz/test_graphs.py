"""A controller's graph as bytes on the wire, up to the prompt that it becomes part of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fuzz.inputs import mutated_bytes, odd_json, odd_words, repeated
from fuzz.loop import Case, Target, WrongError, execute, size
from helpers.controllers import STAGED
from trace_robot.optimizers import OptoPrime, Outcome, ParameterSpec, Problem
from trace_robot.optimizers.prompt import PARTS
from trace_robot.optimizers.prompt.graph_text import draw_folded, render_graph
from trace_robot.rollout.episode_graph import EpisodeGraph
from trace_robot.sandbox import Interface, Limits, Sandbox
from trace_robot.spec import Field
from trace_robot.trace import from_records

FIELDS = (Field("hand", 0, 3, "m"), Field("goal", 3, 6, "m"))
CONTROLLERS = (
    STAGED,
    """
from trace_robot import node

gains = [node(float(i), name=f"gain{i}", trainable=True) for i in range(3)]

def act(observation):
    step = observation["goal"] - observation["hand"]
    return [step[i] * gains[i] + 0.5 for i in range(3)]
""",
)
STEPS = 6
PROBLEM = Problem(
    (ParameterSpec("move", "code", "def move(observation):\n    return [0.0]\n"),), context="A point."
)
NUMBERS = (
    "a1",
    "a:1",
    "a" + "1" * 5000 + "x",
    "1" * 5000,
    "observation",
    "memory",
    "act0",
    "gain:0",
    "[op] text",
    ":",
    "::",
)
names = st.one_of(st.sampled_from(NUMBERS), odd_words(400), repeated(("a", "1", ":", "_", ".", "x"), 30_000))
entries = st.fixed_dictionaries(
    {
        "name": names,
        "numbered": st.booleans(),
        "kind": st.sampled_from(("parameter", "constant", "input", "operation", "operation", "exception")),
        "op": names,
        "doc": st.one_of(st.just("[op] does it"), names),
        "inputs": st.dictionaries(odd_words(100), st.sampled_from((0, 1, 2, -1, -2, -3, 10**30)), max_size=3),
        "timeless": st.booleans(),
    }
)
templates = st.one_of(st.lists(entries, max_size=5), st.integers(-1, 3))
calls = st.tuples(
    st.sampled_from((0, 0, 1, 2, 3, 4, 5, 6, 2**31 - 1)), templates, st.lists(names, max_size=5)
)


def encoded(call: Sequence[Any]) -> bytes:
    return json.dumps(call).encode()


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, ...]:
    """Return an episode in the format of an honest child, with what no honest child writes in it."""
    parts = [encoded(call) for call in draw(st.lists(calls, max_size=5))]
    last = draw(st.lists(calls, min_size=1, max_size=2))
    for call in last:  # one call again and again, as a template of few bytes
        parts += [encoded((step, *call[1:])) for step in range(draw(st.sampled_from((1, 1, 5, 200))))]
    return tuple(parts)


def read(case: Case, _: Path) -> Callable[[], Any]:
    parts, failed = case
    observations = np.linspace(0, 1, 6 * (STEPS + 1)).reshape(STEPS + 1, 6)

    def call() -> None:
        graph = EpisodeGraph(tuple(parts), observations, FIELDS, "error" if failed else "time", failed)
        records = graph.records
        # A text that several records share is kept once.
        texts = {
            id(text): len(text) for record in records for text in record.values() if isinstance(text, str)
        }
        if sum(texts.values()) > 10 * size(parts) + 200_000:
            raise WrongError("records grow beyond what came on the wire")
        render_graph(records, 3000)
        draw_folded(records)
        outcome = Outcome(0, 0.25, "Success in 0 of 5 episodes.", graph=records)
        optimizer = OptoPrime(PROBLEM)
        optimizer.ask()
        optimizer.tell([outcome])
        prompt = optimizer.messages()[1]["content"]
        heads = Counter(
            line for line in prompt.splitlines() if line.startswith("#") and not line.startswith("# ")
        )
        if set(heads) - set(PARTS) or max(heads.values()) > 1:
            raise WrongError("a graph wrote a section of the prompt")
        from_records(records)

    return call


def recorded() -> list[tuple[bytes, ...]]:
    """Return what real controllers wrote."""
    episodes = []
    with Sandbox(
        Interface(6, 3, {part.name: (part.start, part.stop) for part in FIELDS}), Limits()
    ) as sandbox:
        for source in CONTROLLERS:
            assert sandbox.load(source, trace=True) is None
            assert sandbox.reset() is None
            for step in range(STEPS):
                sandbox.call(np.linspace(step, 5, 6)[None])
            episodes.append(sandbox.written())
            assert episodes[-1]
    return episodes


def test_a_controllers_graph_becomes_a_prompt_within_bounds(tmp_path: Path) -> None:
    episodes = recorded()
    one_part = mutated_bytes([part for episode in episodes for part in episode])
    inputs = st.tuples(
        st.one_of(
            written(),
            st.lists(one_part, max_size=6).map(tuple),
            st.sampled_from(episodes).flatmap(lambda parts: one_part.map(lambda part: (*parts, part))),
            st.lists(odd_json.map(str.encode), max_size=3).map(tuple),
        ),
        st.booleans(),
    )
    execute(Target("graphs", inputs, read, constant=0.3), tmp_path)
