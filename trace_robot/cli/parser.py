"""The argument parser of every command: its help in groups, its errors with the name that was meant.

Every command imports this module, so it imports the standard library, ``console`` and ``errors`` only: see ``main``.
"""

from __future__ import annotations

import argparse
import difflib
import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn, TypeAlias

from trace_robot.cli.console import fitted, safe_line

# What a command's help lists below its own options, which come first as they are the common ones. One table, so that
# an option is in the same place of every help.
GROUPS = {
    "environment": "--env --task --env-arg --hold --worlds --python --control",
    "budget": "--seconds --steps --iterations --calls --tokens --prices --money",
    "language model": "--model --base-url --feedback --proposals --memory --no-graph --no-tune --request --token-budget"
    " --parallel --proposer --retries --record --pack --replay --in-order",
    "processes": "--workers --trust --backend --address",
    "output": "--out --overwrite --no-video --runs --require --json --quiet",
}
FEW = 9  # options that one list shows better than groups do
WIDEST = 100  # columns of a help; longer lines are hard to read
# What people type that know other tools.
MEANT = {
    "train": "optimize",
    "fit": "optimize",
    "learn": "optimize",
    "eval": "evaluate",
    "test": "evaluate",
    "list": "runs",
    "ls": "runs",
    "remove": "rm",
    "delete": "rm",
    "mv": "rename",
    "check": "check-env",
}


class CommandHelp(argparse.HelpFormatter):
    """Help whose paragraphs are filled, and whose indented lines stay as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=help_width())

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = []
        for paragraph in text.strip("\n").split("\n\n"):
            kept = any(row.startswith("  ") for row in paragraph.split("\n"))
            filled = paragraph if kept else textwrap.fill(" ".join(paragraph.split()), width, **UNBROKEN)
            parts.append(textwrap.indent(filled, indent))
        return "\n\n".join(parts)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, **UNBROKEN)


UNBROKEN: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def help_width() -> int:
    """Return the columns of a help: the terminal's, at most ``WIDEST``."""
    import shutil

    return max(40, min(WIDEST, shutil.get_terminal_size().columns) - 2)


class CommandParser(argparse.ArgumentParser):
    """A parser, and so its subparsers, whose usage and errors are a line each.

    Attributes:
        examples: commands that can be typed, each with what it does.
        sections: headings of the top parser's commands, {heading: their entries}; empty for a command's own parser.
    """

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.examples: tuple[tuple[str, str], ...] = ()
        self.sections: dict[str, list[argparse.Action]] = {}

    def format_usage(self) -> str:
        """Return the usage on one line: what must be typed, and [options]."""
        parts = [self.prog]
        for action in self._actions:
            name = action.metavar if isinstance(action.metavar, str) else action.dest
            if action.option_strings:
                parts += [f"{action.option_strings[0]} {name.upper()}"] if action.required else []
            elif action.nargs == "?" and not self._is_one_of(action):
                parts.append(f"[{name}]")
            else:
                parts.append(f"{name} [{name} ...]" if action.nargs == "+" else name)
        return f"usage: {' '.join(parts)} [options]\n"

    def _is_one_of(self, action: argparse.Action) -> bool:
        """Return whether one of several arguments must be there, of which this is one."""
        return any(
            group.required and action in group._group_actions for group in self._mutually_exclusive_groups
        )

    def format_help(self) -> str:
        """Return usage, description, options in groups, and examples."""
        formatter = self._get_formatter()
        formatter.add_text(self.description)
        for title, actions in (*self.sections.items(), *self.groups()):
            formatter.start_section(title)
            formatter.add_arguments(actions)
            formatter.end_section()
        formatter.add_text(self._example_text())
        formatter.add_text(self.epilog)
        return f"{self.format_usage()}\n{formatter.format_help()}"

    def groups(self) -> Iterator[tuple[str, list[argparse.Action]]]:
        """Yield the headings of the help and what is below each, which may be nothing."""
        listed = [each for each in self._actions if each.help != argparse.SUPPRESS]
        actions = [each for each in listed if not isinstance(each, argparse._SubParsersAction)]
        yield "arguments", [each for each in actions if not each.option_strings]
        options = [each for each in actions if each.option_strings]
        group_of = {name: title for title, names in GROUPS.items() for name in names.split()}
        titles = [
            "options" if len(options) <= FEW else group_of.get(o.option_strings[-1], "") for o in options
        ]
        common = [o for o, title in zip(options, titles, strict=True) if title in ("", "options")]
        yield "options", sorted(common, key=lambda option: option.dest == "help")
        for group in GROUPS:
            yield group, [o for o, title in zip(options, titles, strict=True) if title == group]

    def _example_text(self) -> str:
        if not self.examples:
            return ""
        rows = ["examples:"]
        for command, what in self.examples:
            rows.append(f"  {command}")
            rows += textwrap.wrap(what, help_width() - 6, initial_indent=" " * 6, subsequent_indent=" " * 6)
        return "\n".join(rows)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 after the short usage and the error, a line each."""
        usage = f"{self.format_usage().strip()}; more: {self.prog} --help"
        self.exit(2, f"{fitted(usage)}\n{fitted(f'{self.prog}: error: {safe_line(message)}')}\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as argparse does, but refuse what is not known with what was meant.

        Args:
            args: as of argparse.
            namespace: as of argparse.
        """
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            names = [name for name in self._option_string_actions if name.startswith("--")]
            near = [meant for text in unknown if (meant := _near_option(text, names))]
            guess = f"; did you mean {' and '.join(dict.fromkeys(near))}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{guess}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = [str(each) for each in action.choices]
        near = near_name(str(value), names)
        if not isinstance(action, argparse._SubParsersAction):
            guess = f"; did you mean {near!r}?" if near else ""
            raise argparse.ArgumentError(action, f"must be one of {', '.join(names)}, got {value!r}{guess}")
        meant = near or MEANT.get(str(value).lower(), "")
        guess = f"did you mean {meant!r}?" if meant else f"all commands: {self.prog} help"
        raise argparse.ArgumentError(None, f"no command {value!r}; {guess}")


Commands: TypeAlias = "argparse._SubParsersAction[CommandParser]"


class AddRequestField(argparse.Action):
    """Collect the fields of a request as a dict, those with dots inside of each other."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Add a field, unless another one is in its place."""
        *places, last = values[0]
        fields = place = getattr(namespace, self.dest) or {}
        for name in places:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise self._both(name)
        if isinstance(place.get(last), dict):
            raise self._both(last)
        place[last] = values[1]
        setattr(namespace, self.dest, fields)

    def _both(self, name: str) -> argparse.ArgumentError:
        return argparse.ArgumentError(
            self, f"{name} is both a value and has fields inside of it; leave one out"
        )


def near_name(text: str, names: Iterable[str]) -> str:
    """Return the name that a misspelt one is most like or begins, "" if none is.

    Args:
        text: what was typed.
        names: all that can be typed.
    """
    known = list(names)
    near = difflib.get_close_matches(text.lower(), known, n=1, cutoff=0.6)
    begun = [name for name in known if len(text) > 1 and name.startswith(text.lower())]
    return (near or begun or [""])[0]


def _near_option(text: str, names: Iterable[str]) -> str:
    if not text.startswith("-") or text[1:2].isdigit():
        return ""
    # One dash, or capital letters, are mistakes too. Without the dashes, which alone make short names alike.
    typed = text.partition("=")[0].lstrip("-").replace("_", "-")
    near = near_name(typed, [name.removeprefix("--") for name in names])
    return f"--{near}" if near else ""


def add_command(
    commands: Commands,
    name: str,
    help_text: str,
    description: str = "",
    *,
    examples: Sequence[tuple[str, str]],
) -> CommandParser:
    """Add a subcommand and return its parser.

    Args:
        commands: the subparsers of ``trace-robot``.
        name: what is typed.
        help_text: its line in ``trace-robot --help``.
        description: the head of the command's ``--help``; ``help_text`` if empty.
        examples: what can be typed, at most 76 characters, and what it does.

    Returns:
        A parser that refuses abbreviated options, so that a new option cannot change what an old line means.
    """
    command = commands.add_parser(
        name,
        help=help_text,
        description=description or f"{help_text[0].upper()}{help_text[1:]}.",
        allow_abbrev=False,
        formatter_class=CommandHelp,
    )
    command.examples = tuple(examples)
    return command


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
