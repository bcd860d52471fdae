"""What can be typed after ``optimize`` and ``replay``."""

from __future__ import annotations

from trace_robot.cli.options.shared import (
    Commands,
    add_command,
    backend,
    budget,
    conditions,
    count,
    endpoint,
    environment,
    folder,
    natural,
    output,
    prices,
    require,
    seconds,
    workers,
)


def optimize(commands: Commands) -> None:
    command = add_command(
        commands, "optimize", "rewrite a controller until it works",
        "Rewrite a controller from its own rollouts until it works.\n\n"
        "With a model configured (OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own) OptoPrime asks it for\n"
        "the next controller; without one the built-in search runs, which needs no key.",
    )  # fmt: skip
    environment(command)
    command.add_argument(
        "--policy",
        default="do_nothing",
        metavar="NAME|FILE",
        help="where to start (default do_nothing); see: trace-robot policies",
    )
    command.add_argument(
        "--optimizer",
        choices=("auto", "optoprime", "opro", "search", "cma"),
        default="auto",
        help="default auto: optoprime where a model is configured, else search, which writes a new act; cma tunes"
        " the numbers of a policy and leaves its code",
    )
    command.add_argument(
        "--iterations",
        type=count,
        metavar="N",
        help="controllers to try by optoprime (default 10), improvements by search (default: until done)",
    )
    budget(command)
    conditions(command, 0, "training conditions of every controller")
    backend(command)
    command.add_argument(
        "--held-out",
        type=count,
        default=50,
        metavar="N",
        help="conditions of the final score, never trained on (default 50)",
    )
    folder(command)
    command.add_argument(
        "--retries",
        type=natural,
        default=5,
        metavar="N",
        help="how often to ask again an endpoint that is not there or busy (default 5)",
    )
    command.add_argument(
        "--proposals",
        type=count,
        default=1,
        metavar="N",
        help="controllers to ask the model for at once (default 1)",
    )
    command.add_argument("--calls", type=count, metavar="N", help="stop after so many calls of the model")
    command.add_argument("--tokens", type=count, metavar="N", help="stop after so many tokens")
    command.add_argument(
        "--prices",
        type=prices,
        metavar="P,C",
        help="money for a million tokens of prompts and of completions",
    )
    command.add_argument("--money", type=seconds, metavar="M", help="stop after so much money, by --prices")
    command.add_argument(
        "--no-tune",
        action="store_true",
        help="optoprime: do not tune the numbers of a new best controller by CMA-ES between two proposals",
    )
    endpoint(command)
    command.add_argument("--record", metavar="FILE", help="append every prompt and reply to FILE")
    command.add_argument(
        "--replay",
        metavar="FILE",
        help="answer from a file that --record wrote, with real rollouts and no model",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="roll out the starting controller, print the first prompt, ask nobody",
    )
    require(command)
    output(command)


def replay(commands: Commands) -> None:
    command = add_command(
        commands,
        "replay",
        "run a recorded optimization again",
        "Run a recorded optimization again: the recorded answers of a language model, real rollouts, no key.",
    )
    command.add_argument("recording", metavar="NAME", help="a file NAME.json in rollouts/recordings")
    folder(command)
    workers(command)
    output(command)
