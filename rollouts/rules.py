"""Prompt optimization: find the instruction by which a model follows a rule.

A model turns order lines into labels by the instruction, which is the parameter; checking is exact. The optimizer sees
which labels were wrong and what was wanted. One call answers all lines, one call proposes the next instruction. At the
end the best instruction is scored on lines that were never shown.

    python rollouts/rules.py --replay rollouts/recordings/rules.jsonl
"""

from __future__ import annotations

import random
import re

from _options import connection, create, options

from trace_robot import backward, bundle, node
from trace_robot.llm import ChatModel
from trace_robot.optimizers import Candidate, Outcome, ParameterSpec, Problem

THINGS = ["bolt", "nut", "washer", "screw", "hinge", "spring", "bracket", "axle"]
COLORS = ["red", "blue", "green", "black"]
START = "Write the label for each order line."


def lines(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [f"{draw.randint(1, 99)} x {draw.choice(THINGS)}, {draw.choice(COLORS)}" for _ in range(count)]


def label(line: str) -> str:
    """Apply the rule: initial of the color, thing in capitals, three digits.

    A count above 50 has "!" at the end.
    """
    count, thing, color = re.fullmatch(r"(\d+) x (\w+), (\w+)", line).groups()  # type: ignore[union-attr]
    return f"{color[0].upper()}-{thing.upper()}-{int(count):03d}" + ("!" if int(count) > 50 else "")


@bundle(trainable=False)
def number_lines(orders: list[str]) -> str:
    """Write the order lines one below the other, numbered."""
    return "\n".join(f"{index}. {order}" for index, order in enumerate(orders, 1))


@bundle(trainable=False)
def build(instruction: str, numbered: str) -> str:
    """Put the instruction before the numbered order lines and ask for one numbered answer a line."""
    return f"{instruction}\n\nAnswer with one numbered line for each, nothing else.\n\n{numbered}"


def answers_of(model: ChatModel, prompt: str, count: int) -> list[str]:
    """Return a model's numbered answers, "" where one is missing.

    Args:
        model: to ask.
        prompt: that asks for numbered lines.
        count: of answers.
    """
    text = model.chat([{"role": "user", "content": prompt}])[0].text
    numbered = dict(re.findall(r"^\s*(\d+)[.)]\s*(.*?)\s*$", text, re.MULTILINE))
    return [numbered.get(str(index), "") for index in range(1, count + 1)]


def evaluate(candidate: Candidate, orders: list[str], model: ChatModel) -> Outcome:
    instruction = node(candidate.values["instruction"], name="instruction", trainable=True)
    prompt = build(instruction, number_lines(node(orders, name="orders")))

    @bundle(trainable=False)
    def answer(prompt: str) -> list[str]:
        """A language model answers the prompt."""
        return answers_of(model, prompt, len(orders))

    labels = answer(prompt)
    wrong = [
        f"{order!r}: wanted {label(order)!r}, got {got!r}"
        for order, got in zip(orders, labels.data, strict=True)
        if got != label(order)
    ]
    feedback = f"{len(orders) - len(wrong)} of {len(orders)} labels are right.\n" + "\n".join(wrong)
    right = 1 - len(wrong) / len(orders)
    return Outcome(candidate.id, right, feedback, right, subgraph=backward(labels, feedback))


def main() -> None:
    arguments = options(__doc__, iterations=5).parse_args()
    model = connection(arguments)
    if model is None:
        raise SystemExit("rules.py needs a model to answer with: give --optimizer optoprime or opro")
    description = "what a language model is told before the order lines; it sees nothing else"
    problem = Problem(
        (ParameterSpec("instruction", "text", START, description),),
        context="A clerk turns order lines into labels by a rule that the instruction must state in full.",
        objective="the fraction of labels that are exactly right",
    )
    optimizer = create(arguments, problem, model)
    shown, hidden = lines(arguments.seed, 8), lines(arguments.seed + 1000, 12)
    tried = 0
    while tried <= arguments.iterations and (candidates := optimizer.ask()):
        outcomes = [evaluate(candidate, shown, model) for candidate in candidates]
        optimizer.tell(outcomes)
        for outcome in outcomes:
            print(f"proposal {tried:2d}  right {outcome.score:.2f}")
            tried += 1
    best = optimizer.best
    print(f"held out     right {evaluate(best, hidden, model).score:.2f}")
    print(best.values["instruction"])


if __name__ == "__main__":
    main()
