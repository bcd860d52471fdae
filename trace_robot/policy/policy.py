"""A policy: a controller as text, and the trainable places in it.

The text is parsed, never executed: a policy file may have been written by a language model. Two kinds of
place are trainable: ``name = node(<literal>, trainable=True, ...)`` and a function under
``@bundle(trainable=True)``. A candidate is a value for each of them; ``render`` writes the text it stands for.

The texts of ``problem_of`` are part of every prompt: journals and recordings hold hashes of prompts, so a text that
changes ends the runs that were stored before.
"""

from __future__ import annotations

import ast
import difflib
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.errors import PolicyError
from trace_robot.fault import MOST_CHARACTERS
from trace_robot.optimizers.code import LINE_END, functions, text_beside
from trace_robot.optimizers.literals import find_constants
from trace_robot.optimizers.problem import ParameterSpec, Problem
from trace_robot.optimizers.prompt.values import FORGED_MARKUP, program_text
from trace_robot.policy.parameters import ParameterSite, find_places, rewrite
from trace_robot.policy.running import PolicyRunner, binds
from trace_robot.spec import describe_fields
from trace_robot.trace.constraints import parse_code

if TYPE_CHECKING:
    from trace_robot.spec import TaskSpec
    from trace_robot.trace.node_types import ParameterNode

__all__ = ["ParameterSite", "Policy", "load_policy"]

HEADING = re.compile(r"(?:(?<=[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])|\A)(?=#\w)")
POSE = (
    " A decision is followed until the {hand} there{gripper}, for at most {decision} simulator steps;"
    " then the next one is asked for. An episode has {episode} simulator steps."
)
WORLDS = (
    "Episodes differ in more than their start: what is observed may be off, noisy, late or missing, actions may be late"
    " or off, and masses and friction may be others. The controller does not know in which way."
)
DECISION_STEPS = 20  # simulator steps of a decision in pose control, where the environment sets no other


def context_of(spec: TaskSpec, rules: Sequence[str] = ()) -> str:
    """Return the task, the observation and the action as text.

    Args:
        spec: of the environment.
        rules: of a decision, of success and of computing, a line each; none for the text of 0.1.
    """
    begin = [
        f"The controller is Python code that is called once a decision, at most {spec.horizon} times an episode."
        + (pose_text(spec) if spec.control == "pose" else "")
    ]
    parts = [
        *(rules[:1] or begin),
        f"Task: {spec.instruction}",
        *(
            [f"An episode succeeds{_ends(spec)} when: {spec.success}{_lasting(spec)}."]
            if spec.success
            else []
        ),
        *([WORLDS] if "world" in spec.options else []),
        *([f"It fails, and ends, when: {spec.failure}."] if spec.failure else []),
        "observation: a dict with these entries (arrays are numpy arrays):",
        *describe_fields(spec.observation, joined=bool(rules)),
        "The action is a list of numbers, in this order:",
        *describe_fields(spec.action, spec.low, spec.high, joined=bool(rules)),
        "memory, where a function takes it: a plain dict, empty at the start of an episode, kept between calls.",
        "numpy and the standard library's math may be imported. Files, network and processes are out of reach.",
        *rules[1:],  # last, as they are the first that a small budget loses
    ]
    # A line of a plug-in that looks like a heading of the prompt would begin a section of its writer's making, and one
    # with a tag of an answer or a fence would pass for an answer.
    return HEADING.sub(" ", "\n".join(map(_marked, "\n".join(parts).split("\n"))))


def _marked(line: str) -> str:
    return program_text(line, len(line)) if FORGED_MARKUP.search(line) else line


def _ends(spec: TaskSpec) -> str:
    return ", and ends," if spec.return_threshold is None and spec.options.get("hold") != "end" else ""


def _lasting(spec: TaskSpec) -> str:
    hold = spec.options.get("hold")
    if hold is None:
        return ""
    return ", in the last step of a whole episode" if hold == "end" else f", for {hold:g} s without a break"


def pose_text(spec: TaskSpec) -> str:
    """Return how long a decision may be followed in control mode "pose", as text."""
    steps = spec.options.get("decision_steps", DECISION_STEPS)
    grips = not spec.hands or any(
        hand.gripper >= 0 for hand in spec.hands
    )  # one that is implied has a gripper
    return POSE.format(
        hand="hands are" if len(spec.hands) > 1 else "hand is",
        gripper=" and the gripper is still" if grips else "",
        decision=steps,
        episode=spec.simulator_steps or spec.horizon,
    )


def objective_of(spec: TaskSpec) -> str:
    """Return what a candidate's score measures, as text."""
    return (
        "The score of an episode is 1 for a success; without success it is below 0.5 and grows with the reward, and"
        " an error halves it. A candidate's score is the mean over its episodes, which start from different conditions."
    )


def problem_of(
    policy: Policy, spec: TaskSpec, rules: Sequence[str] = (), facts: Sequence[str] = ()
) -> Problem:
    """Return the OPTO problem (arXiv:2406.16218) of a policy in an environment.

    Args:
        policy: whose trainable places are the parameters.
        spec: the environment, which is the context as text.
        rules: as of ``context_of``.
        facts: of the environment's body, a line each.
    """
    parameters = tuple(
        ParameterSpec(
            place.name,
            place.kind,
            place.value,
            place.description,
            place.constraint,
            place.name.rpartition(".")[2] if place.kind == "code" else "",
            place.near,
        )
        for place in policy.places
    )
    lines = HEADING.sub(" ", "\n".join(_marked(" ".join(line.split())) for line in facts)).split("\n")
    return Problem(
        parameters,
        context=context_of(spec, rules),
        objective=objective_of(spec),
        facts=tuple(filter(None, lines)),
        beside=text_beside(policy.text, [place.start for place in policy.places]),
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """A controller's text and its trainable places, in the order of the text.

    control: what the module constant ``CONTROL`` says ("pose" or "raw"), None where there is none.
    """

    text: str
    name: str
    places: tuple[ParameterSite, ...]
    control: str | None = None
    _runner: list[PolicyRunner] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def from_text(cls, text: str, name: str = "policy") -> Policy:
        """Parse a controller.

        Args:
            text: its source.
            name: for error messages.

        Raises:
            PolicyError: with the line, if the text is not Python or a trainable place of it cannot be used.
        """
        if len(text) > MOST_CHARACTERS:
            raise _too_long(name, f"{len(text):,} characters")
        text = LINE_END.sub("\n", text)  # offsets are counted in lines that end so
        try:
            tree = parse_code(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            reason = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deeply"
            raise PolicyError(f"policy {name}{line} is not valid Python: {reason}") from error
        return cls(text, name, find_places(tree, text, name), _constant(tree, "CONTROL"))

    @property
    def values(self) -> dict[str, Any]:
        """The current value of every place: source of functions, plain constants."""
        return {place.name: place.value for place in self.places}

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text with new values of the places that are named.

        Raises:
            PolicyError: where a name is of no trainable place.
        """
        known = {place.name for place in self.places}
        unknown = sorted(set(values) - known)
        if unknown:
            raise PolicyError(
                f"policy {self.name} has no trainable {unknown[0]!r}; it has: {', '.join(sorted(known)) or 'none'}"
            )
        changed = {place: values[place.name] for place in self.places if place.name in values}
        return rewrite(self.text, changed)

    def with_values(self, values: Mapping[str, Any]) -> Policy:
        """Return the policy that ``render`` writes."""
        text = self.render(values)
        return Policy.from_text(text, self.name)

    def with_control(self, control: str) -> Policy:
        """Return the policy with ``CONTROL`` set in its text, for all later runs of it."""
        if self.control == control:
            return self
        line = f"CONTROL = {control!r}".replace("'", '"')
        tree = parse_code(self.text)
        lines = self.text.split("\n")
        old = next((s for s in tree.body if _assigns(s, "CONTROL")), None)
        if old is not None:
            lines[old.lineno - 1 : old.end_lineno] = [line]
        else:
            heads = [s.end_lineno or 0 for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom)]
            lines[max(heads, default=0) : max(heads, default=0)] = ["", line]
        return Policy.from_text("\n".join(lines), self.name)

    def with_action_size(self, size: int) -> Policy:
        """Return the policy with ``size`` zeros where ``act`` only returns some zeros.

        So the controller that keeps still, from which most runs start, fits every environment.
        """
        act = next((place for place in self.places if place.name == "act" and place.kind == "code"), None)
        head, _, last = (act.value if act else "").rpartition("\n")
        match = re.fullmatch(r"(\s+return )\[(?:0\.0(?:, )?)+\]", last)
        # Two statements at most, the docstring and the return: more might compute something.
        if act is None or match is None or len(functions(parse_code(act.value))["act"].body) > 2:
            return self
        value = f"{head}\n{match[1]}[{', '.join(['0.0'] * size)}]"
        return self if value == act.value else self.with_values({"act": value})

    def with_names(self) -> Policy:
        """Return the policy with a ``name=`` in every trainable node, as in graphs."""
        text = self.text
        # From the end to the beginning, so that the offsets of the others stay true.
        for place in sorted(self.places, key=lambda place: place.stop, reverse=True):
            if place.unnamed is not None:
                text = f'{text[: place.unnamed]}name="{place.name}", {text[place.unnamed :]}'
        return self if text == self.text else Policy.from_text(text, self.name)

    def with_constants(self) -> Policy:
        """Return the policy with its module's constants (``find_constants``) as trainable."""
        taken = {place.name for place in self.places}
        inside = [(place.start, place.stop) for place in self.places]
        found = {  # of a name that is assigned twice the last assignment holds
            each.name: ParameterSite(
                each.name, "number", each.value, "", each.bounds, each.start, each.end, above=0, near=True
            )
            for each in find_constants(self.text)
            if each.name not in taken and not any(first <= each.start < last for first, last in inside)
        }
        return replace(self, places=(*self.places, *found.values()))

    def require_trainable(self) -> Policy:
        """Return self, or raise PolicyError where there is nothing to optimize."""
        if not self.places:
            raise PolicyError(
                f"policy {self.name} has no trainable parameter: write @bundle(trainable=True) above a function"
                " or name = node(value, trainable=True)"
            )
        return self

    def require_act(self) -> Policy:
        """Return self, or raise PolicyError where the text can never define ``act``."""
        if not binds(parse_code(self.text), "act"):
            raise PolicyError(
                f"policy {self.name} defines no act: write def act(observation), or def act(observation, memory)"
            )
        return self

    def act(self, observation: Mapping[str, Any]) -> list[float]:
        """Return the action for an observation, computed in the sandbox.

        ``memory`` lasts until ``reset``.

        Args:
            observation: the named values that the controller reads, numbers or arrays of them.

        Raises:
            PolicyError: the controller has a fault, with its line, and keeps it until ``reset``; or the observation is
                not of finite numbers.
            SandboxError: this machine gives no boundary; ``PolicyRunner`` can be asked to do without.
        """
        if not self._runner:
            self._runner.append(PolicyRunner(self.require_act().text, name=self.name))
        return self._runner[0].act(observation)

    def reset(self) -> None:
        """Begin an episode: the next ``act`` gets an empty memory."""
        for runner in self._runner:
            runner.reset()

    def parameters(self) -> list[ParameterNode]:
        """Return a ParameterNode for each trainable place, named as the place."""
        from trace_robot.trace.node_types import ParameterNode

        return [
            ParameterNode(
                place.value,
                name=place.name,
                description=place.description or None,
                constraint=place.constraint,
                function=place.name if place.kind == "code" else "",
            )
            for place in self.places
        ]


def load_policy(name_or_path: str | Path) -> Policy:
    """Read a policy by name or path, without executing it.

    A name such as "zoo/reach_v3" is that of a file in a workspace's ``policies``.

    Raises:
        PolicyError: where the file cannot be read, or is no policy.
    """
    path = _find(name_or_path)
    try:
        text = _bounded_text(path, str(name_or_path))
    except OSError as error:
        near = difflib.get_close_matches(path.name, [each.name for each in path.parent.glob("*.py")], n=1)
        more = f"did you mean {str(path.with_name(near[0]))!r}?" if near else "give a readable .py file"
        raise PolicyError(
            f"policy {str(name_or_path)!r} cannot be read: {error.strerror or error}; {more}"
        ) from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"policy {str(name_or_path)!r} is not UTF-8 text; give a Python file") from error
    return Policy.from_text(text, str(name_or_path))


def _bounded_text(path: Path, name: str) -> str:
    """Return the text of a regular file, a pipe would wait, a device never end."""
    status = path.stat()
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode) or stat.S_ISSOCK(status.st_mode):
        raise PolicyError(f"policy {name!r} is no regular file; give a readable .py file")
    if status.st_size > 4 * MOST_CHARACTERS:  # UTF-8 takes at most four bytes for a character
        raise _too_long(repr(name), f"{status.st_size:,} bytes")
    return path.read_text(encoding="utf-8-sig")


def _too_long(name: str, size: str) -> PolicyError:
    return PolicyError(
        f"policy {name} has {size}, at most {MOST_CHARACTERS:,} characters can be run; compute its data, or leave it"
        " out"
    )


def _is_name(name_or_path: str | Path) -> bool:
    """Return whether this is a name, such as "zoo/reach_v3", and not a path."""
    if not isinstance(name_or_path, str) or name_or_path.endswith(".py"):
        return False
    return "/" not in name_or_path or not (name_or_path[0] in "/.~" or Path(name_or_path).is_file())


def _find(name_or_path: str | Path) -> Path:
    if (best := Path(name_or_path) / "best.py").is_file():
        raise PolicyError(f"no policy {str(name_or_path)!r}, which is a run; give {str(best)!r}, its best")
    if not _is_name(name_or_path):
        return Path(name_or_path)
    from trace_robot.workspace import find

    return find("policies", str(name_or_path))


def _constant(tree: ast.Module, name: str) -> str | None:
    for statement in tree.body:
        if (
            _assigns(statement, name)
            and isinstance(statement, ast.Assign)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        ):
            return statement.value.value
    return None


def _assigns(statement: ast.stmt, name: str) -> bool:
    return isinstance(statement, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == name for target in statement.targets
    )
