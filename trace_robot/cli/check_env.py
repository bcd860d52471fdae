"""``trace-robot check-env``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape

from trace_robot.cli.options.shared import environment_options
from trace_robot.cli.screen import console, write_json
from trace_robot.env.registry import expand_name
from trace_robot.env_checker import Examined, Finding, examine

MARKS = {
    "good": "[green]good   [/green]",
    "note": "[yellow]note   [/yellow]",
    "problem": "[red]problem[/red]",
}


def run(options: argparse.Namespace) -> int:
    out = console(json=options.json)
    given = environment_options(options)
    if options.control is not None:
        given["control"] = options.control
    done = []
    for name in expand_name(options.task):
        done.append(examine(name, given, silence=options.seconds))
        _print(out, done[-1])
    if options.json:
        write_json([{**asdict(each), "problems": each.problems} for each in done])
    problems = sum(each.problems for each in done)
    if problems:
        out.print(f"\n{problems} problem{'s' * (problems > 1)}; nothing is wrong with trace-robot itself")
    return 1 if problems else 0


def _print(out: Console, examined: Examined) -> None:
    out.print(f"[bold]{escape(examined.name)}[/bold]  {escape(examined.file)}")
    for finding in examined.findings:
        _line(out, finding)


def _line(out: Console, finding: Finding) -> None:
    field = f" ({finding.field})" if finding.field and finding.verdict == "problem" else ""
    out.print(
        f"  {MARKS[finding.verdict]}  {finding.check + field:10} {escape(finding.text)}", soft_wrap=True
    )
    if finding.remedy:
        out.print(f"           [dim]{'':10} to mend it: {escape(finding.remedy)}[/dim]", soft_wrap=True)
