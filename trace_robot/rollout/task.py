"""A task: an environment with its options, and the policy that fits it.

Stages: a policy that keeps one in ``memory["stage"]`` can be run so that it also prints it, beside each action.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trace_robot.env.inspection import Inspection, possible_options
from trace_robot.env.registry import require_expert
from trace_robot.policy.policy import Policy, pose_text, problem_of
from trace_robot.search.controller import write_out
from trace_robot.settings import ASKING_NONE, EXPERT, LEVELS, PROMPT, SeedSplit, Settings
from trace_robot.trace.constraints import parse_code

if TYPE_CHECKING:
    from trace_robot.env.facts import EnvFacts
    from trace_robot.fault import Limits
    from trace_robot.optimizers.problem import Candidate, Problem
    from trace_robot.spec import TaskSpec

DEFAULT_CONTROL = "pose"
NAMES = 8  # of an observation in a line
LABEL = 80  # characters of a stage's name
# What a policy prints beside each action, between characters that no text has: the stage in its memory.
SPY = """

_demonstrated = act


def act(observation, memory):
    action = _demonstrated(observation, memory)
    print("\\x1e" + str(memory.get("stage", ""))[:80], end="\\x1f")
    return action
"""
PRINTED = re.compile("\x1e([^\x1e\x1f]*)\x1f")


@dataclass(frozen=True, slots=True)
class Task:
    """An environment and a policy to run in it, resolved once.

    Attributes:
        env: the environment's name.
        options: its options, control included.
        spec: its description.
        policy: fixed to the control mode, and to the environment's names and action size.
        source: the policy's text before that, as in its file.
        prompt: how a model is asked, as of ``Settings.prompt``.
        rules: of a decision, of success and of computing, a line each; none where ``prompt`` is 1.
        facts: of the environment's body, a line each, likewise.
        versions: of Python and packages in the environment's interpreter, empty where that is this one.
        moved_by, no_hand: what moves its hands, and why there is none, as of ``EnvDetails``.
    """

    env: str
    options: Mapping[str, Any]
    spec: TaskSpec
    policy: Policy
    source: str
    prompt: int = 1
    rules: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    moved_by: str = ""
    no_hand: str = ""

    @classmethod
    def load(
        cls,
        env: str,
        policy: Policy,
        *,
        control: str | None = None,
        default_control: str = DEFAULT_CONTROL,
        options: Mapping[str, Any] | None = None,
        feedback: str = LEVELS[0],
        apart: bool = True,
    ) -> Task:
        """Look the environment up and fit the policy to it.

        An environment that only declares how it is made is made once, to see its spaces, and played.

        Args:
            env: a name, a file in envs/, or a gymnasium id.
            policy: must define act.
            control: the control mode, "pose" or "raw"; None for what the policy says.
            default_control: where the policy says nothing; if the environment lacks that mode, its only one is used,
                and "pose" where inverse kinematics gives it.
            options: others of the environment.
            feedback: the level; "expert" needs an environment with a scripted expert.
            apart: whether it is made in a child process, see ``Inspection``.

        Raises:
            PolicyError: the policy has no act, or does not fit the control mode.
            UnknownNameError: there is no such environment, option or control mode, or it has no expert.
            EnvironmentFault: the environment hangs, ends its process, or raises.
        """
        ask = Inspection(env, options or {}, control or policy.control, default_control, apart=apart)
        return cls._inspected(ask, policy, feedback)[0]

    @classmethod
    def _inspected(cls, ask: Inspection, policy: Policy, feedback: str) -> tuple[Task, EnvFacts | None]:
        """Return the task, and the facts of the environment's body if they are asked for."""
        policy.require_act()
        if feedback == EXPERT:
            require_expert(ask.env, ask.options)
        ask = replace(ask, options=possible_options(ask))
        found = ask.answer()
        options = {"control": found.control, **ask.options}
        size = found.spec.action_size
        fitted = policy.with_control(options["control"]).with_names().with_action_size(size)
        task = cls(
            ask.env,
            options,
            found.spec,
            fitted,
            policy.text,
            versions=found.versions,
            moved_by=found.moved_by,
            no_hand=found.no_hand,
        )
        return task, found.facts

    @classmethod
    def to_optimize(cls, settings: Settings, policy: Policy) -> Task:
        """Return the task of a run, or refuse it before anything is written.

        Args:
            settings: of the run.
            policy: where it starts.

        Raises:
            PolicyError, UnknownNameError: see ``load``; for a model the policy must also have something trainable.
            TraceRobotError: the seed or a number of conditions is out of range.
        """
        # The search writes a whole controller, and CMA-ES says itself where it finds no number to change.
        if settings.optimizer not in ASKING_NONE:
            policy.require_trainable()
        SeedSplit.of(settings)
        by_worth = settings.prompt != 1
        ask = Inspection(
            settings.task,
            settings.options,
            settings.control or policy.control,
            settings.usual_control,
            facts=by_worth,
            apart=settings.workers != 0,
        )
        task, facts = cls._inspected(ask, policy, settings.feedback)
        if settings.optimizer == "cma" and settings.rules > 1:
            task = replace(task, policy=task.policy.with_constants())
        return task._with(facts, settings.limits) if by_worth else task

    def write_out(self, candidate: Candidate) -> Candidate:
        """Return a candidate of a built-in search with its controller as text."""
        return write_out(candidate, self.spec, self.policy.values)

    def with_facts(self, limits: Limits | None = None) -> Task:
        """Return the task with the rules and facts that prompts by worth show.

        The environment is made for them, in a child process.

        limits: time and memory of a controller.
        """
        return self._with(Inspection(self.env, self.options, facts=True).answer().facts, limits)

    def _with(self, facts: EnvFacts | None, limits: Limits | None) -> Task:
        # With gymnasium, which a run of a search need not load in this process.
        from trace_robot.env.facts import EnvFacts, rules_of

        found = facts or EnvFacts()
        followed = pose_text(self.spec).strip() if self.spec.control == "pose" else ""
        if followed and self.spec.horizon < (self.spec.simulator_steps or self.spec.horizon):
            followed += f" It ends after {self.spec.horizon} decisions at the latest."
        rules = rules_of(self.spec, found.decision or followed, limits)
        return replace(self, prompt=PROMPT, rules=rules, facts=found.body)

    def control_reason(self, settings: Settings) -> str:
        """Return why an action is meant in the control mode of the task, as text."""
        if settings.control is not None:
            return "as asked for"
        if Policy.from_text(self.source, self.policy.name).control is not None:
            return "as the policy says"
        if self.spec.control == "pose" and self.moved_by:
            hands = len(self.spec.hands)
            return f"{'one hand' if hands == 1 else f'{hands} hands'} found, moved by {self.moved_by}"
        usual = self.spec.control == settings.usual_control
        why = f"usual of {settings.optimizer}" if usual else "the only mode that it has"
        if not (self.no_hand and self.spec.positions):
            return why
        return f"{why}; {self.spec.positions[0]} is no hand that can be moved: {self.no_hand}"

    @property
    def foreign_names(self) -> str:
        """What the policy reads and the environment does not show, "" for nothing."""
        known = [part.name for part in self.spec.observation]
        missing = [name for name in names_read(self.source) if name not in known]
        if not missing:
            return ""
        read, shows = (", ".join(each[:NAMES]) + ", ..." * (len(each) > NAMES) for each in (missing, known))
        return (
            f"{self.policy.name} reads {read}, which {self.env} does not show (it shows {shows}); is it a policy of"
            " another environment?"
        )

    @property
    def problem(self) -> Problem:
        """The OPTO problem: the policy's parameters and a description of the task."""
        return problem_of(self.policy, self.spec, self.rules, self.facts)


def names_read(controller: str) -> list[str]:
    """Return the names that a controller's text looks up in its observation."""
    tree = parse_code(controller)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Subscript)]
    nodes = [node for node in nodes if isinstance(node.value, ast.Name) and node.value.id == "observation"]
    keys = [(node.ctx, node.slice.value) for node in nodes if isinstance(node.slice, ast.Constant)]
    spared = {key for context, key in keys if not isinstance(context, ast.Load)}  # its own additions
    asked = [node.left for node in ast.walk(tree) if isinstance(node, ast.Compare)]  # "x" in observation
    spared |= {node.value for node in asked if isinstance(node, ast.Constant)}
    return list(dict.fromkeys(key for _, key in keys if isinstance(key, str) and key not in spared))


def spied(policy: Policy) -> str | None:
    """Return a policy's text that also prints its stage, None where it keeps none.

    A stage is what the policy has in ``memory["stage"]`` when it has acted.
    """
    tree = parse_code(policy.text)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "act"]
    keeps = any(isinstance(node, ast.Constant) and node.value == "stage" for node in ast.walk(tree))
    if not keeps or not functions or len(functions[-1].args.args) != 2:
        return None
    return policy.text + SPY


def stage_names(policy: Policy) -> list[str]:
    """Return the names of the stages that a policy numbers, from its list STAGES.

    Each of them is a dict with the name of a function under "go", as the built-in search writes it.
    """
    for node in parse_code(policy.text).body:
        named = isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "STAGES" for target in node.targets
        )
        if named and isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            return [_stage_name(each, number) for number, each in enumerate(node.value.elts)]
    return []


def _stage_name(stage: ast.expr, number: int) -> str:
    if isinstance(stage, ast.Dict):
        for key, value in zip(stage.keys, stage.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "go" and isinstance(value, ast.Name):
                return value.id.replace("_", " ").strip()
    return f"stage {number + 1}"


def labels(printed: str, decisions: int, names: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Return the stage of each decision, and whether an earlier one came again.

    Args:
        printed: by the policy of ``spied``.
        decisions: of the episode.
        names: of numbered stages.

    Returns:
        No labels where the policy printed another number of them.
    """
    found = PRINTED.findall(printed)[:decisions]
    if len(found) != decisions or not any(found):
        return (), False
    visits = [stage for stage, _ in itertools.groupby(found)]
    return tuple(_label(stage, names) for stage in found), len(set(visits)) < len(visits)


def _label(stage: str, names: Sequence[str]) -> str:
    if stage.isdecimal():
        return names[int(stage)] if int(stage) < len(names) else f"stage {int(stage) + 1}"
    return " ".join(stage.replace("_", " ").split())[:LABEL]
