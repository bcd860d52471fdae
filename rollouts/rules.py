"""Prompt optimization: find the instruction that makes a language model follow a rule nobody wrote down.

A model turns order lines into labels by the instruction, which is the parameter; checking is exact. The
optimizer sees which labels were wrong and what was wanted. One call answers all lines, one call proposes the
next instruction. At the end the best instruction is scored on lines that were never shown.

    python rollouts/rules.py --replay rollouts/recordings/rules.jsonl
"""

from __future__ import annotations

import random
import re

from _options import connection, optimizer, options

from trace_robot import backward, bundle, node
from trace_robot.llm import ChatModel
from trace_robot.optimizers import Candidate, Outcome, ParameterSpec, Problem

THINGS = ["bolt", "nut", "washer", "screw", "hinge", "spring", "bracket", "axle"]
COLOURS = ["red", "blue", "green", "black"]
START = "Write the label for each order line."


def lines(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [f"{draw.randint(1, 99)} x {draw.choice(THINGS)}, {draw.choice(COLOURS)}" for _ in range(count)]


def label(line: str) -> str:
    """The rule: first letter of the colour, the thing in capitals, three digits; "!" after more than 50."""
    count, thing, colour = re.fullmatch(r"(\d+) x (\w+), (\w+)", line).groups()  # type: ignore[union-attr]
    return f"{colour[0].upper()}-{thing.upper()}-{int(count):03d}" + ("!" if int(count) > 50 else "")


@bundle(trainable=False)
def number_lines(orders: list[str]) -> str:
    """Write the order lines one below the other, numbered."""
    return "\n".join(f"{index}. {order}" for index, order in enumerate(orders, 1))


@bundle(trainable=False)
def build(instruction: str, numbered: str) -> str:
    """Put the instruction before the numbered order lines and ask for one numbered answer a line."""
    return f"{instruction}\n\nAnswer with one numbered line for each, nothing else.\n\n{numbered}"


def asked(model: ChatModel, prompt: str, count: int) -> list[str]:
    """Return the model's answers to a prompt by number; "" where one is missing."""
    text = model.chat([{"role": "user", "content": prompt}])[0].text
    found = dict(re.findall(r"^\s*(\d+)[.)]\s*(.*?)\s*$", text, re.MULTILINE))
    return [found.get(str(index), "") for index in range(1, count + 1)]


def evaluate(candidate: Candidate, orders: list[str], model: ChatModel) -> Outcome:
    instruction = node(candidate.values["instruction"], name="instruction", trainable=True)
    prompt = build(instruction, number_lines(node(orders, name="orders")))

    @bundle(trainable=False)
    def answer(prompt: str) -> list[str]:
        """A language model answers the prompt."""
        return asked(model, prompt, len(orders))

    labels = answer(prompt)
    wrong = [
        f"{order!r}: wanted {label(order)!r}, got {got!r}"
        for order, got in zip(orders, labels.data, strict=True)
        if got != label(order)
    ]
    told = f"{len(orders) - len(wrong)} of {len(orders)} labels are right.\n" + "\n".join(wrong)
    right = 1 - len(wrong) / len(orders)
    return Outcome(candidate.id, right, told, right, subgraph=backward(labels, told))


def main() -> None:
    given = options(__doc__, iterations=5).parse_args()
    model = connection(given)
    if model is None:
        raise SystemExit("rules.py needs a model to answer with: give --optimizer optoprime or opro")
    told = "what a language model is told before the order lines; it sees nothing else"
    problem = Problem(
        (ParameterSpec("instruction", "text", START, told),),
        context="A clerk turns order lines into labels by a rule that the instruction must state in full.",
        objective="the fraction of labels that are exactly right",
    )
    chosen = optimizer(given, problem, model)
    shown, hidden = lines(given.seed, 8), lines(given.seed + 1000, 12)
    tried = 0
    while tried <= given.iterations and (candidates := chosen.ask()):
        outcomes = [evaluate(candidate, shown, model) for candidate in candidates]
        chosen.tell(outcomes)
        for outcome in outcomes:
            print(f"proposal {tried:2d}  right {outcome.score:.2f}")
            tried += 1
    best = chosen.best
    print(f"held out     right {evaluate(best, hidden, model).score:.2f}")
    print(best.values["instruction"])


if __name__ == "__main__":
    main()
