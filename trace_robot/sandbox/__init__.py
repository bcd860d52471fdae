"""Run untrusted controllers in a locked process (seccomp, Landlock, rlimits).

The text below is the map for a security review: docs/safety.md has the promises, here is where each is kept.

Three kinds of process, and who trusts whom:

- The host is the process that makes a `Sandbox`: a worker, or a program of the user's. It trusts the fork server and
  nothing that a child writes.
- The fork server is spawned by the host, one for each sandbox, with zygotes: forks of it that have imported the modules
  of some texts, and no others. They are trusted, and never run a controller.
- The child is forked by a zygote for one controller's text. It trusts the host. It is not trusted from the
  moment it executes that text, and even its own code in this package counts as the controller's from then on.

Which file runs where:

- Host: sandbox.py (`Sandbox`), lockstep.py (episodes, replay), client.py (requests and checked replies),
  host_process.py (pipes, deadlines, the end of a child), spawn.py (starting the fork server), selftest.py
  (``trace-robot sandbox``), static_check/ (refusals before the text runs: no boundary).
- Fork server: child/forkserver.py.
- Child: child/main.py (requests), child/lockdown.py and child/seccomp.py (the boundary), child/runner.py and
  child/episode.py (executing the text, its faults), child/determinism.py, child/tracing.py.
- Shared: protocol.py (frames, messages, records of a graph read without trust), source.py (parsing text, never running
  it). Files in child/ import these, `trace_robot.fault` and
  `trace_robot.trace`, nothing of the host's; the host imports nothing from child/. A test holds both, for the files and
  for a running fork server.

What crosses:

- Host to fork server, over a socket pair: JSON that orders a start or an end, and with a start three pipe ends.
- Host to child, over the request pipe: the text, then observations as float64 numbers.
- Child to host, over the reply pipe: frames with actions as float32 numbers, fault texts, what was printed, and records
  as JSON. Sizes and sequence numbers are checked before anything is decoded, numbers must be finite, texts are cut and
  cleaned, nothing is unpickled. Over the trace pipe: faulthandler's text, of which a regular expression takes a line
  number, which must exist in the text.
- Environment variables never cross: the fork server gets a fixed set, which the child clears.

The order of a start:

1. The host checks the text (static_check), spawns the fork server (spawn.py) and asks it for a child.
2. The fork server passes this to the zygote that has imported the modules which the text names, as far as they are on
   the allow-list, or forks it; the zygote forks the child, with a page of memory that both share and no other child.
3. The child closes all descriptors but three (`lockdown.keep_descriptors`), clears its environment and its import
   paths (`main.serve`), and locks itself down (`lockdown.lock_down`): first to die when memory runs out, not root, not
   dumpable, killed with its parent, no new privileges, Landlock, resource limits, and the system call filter last.
4. It reports its locks; without the filter the host refuses to go on, unless the controller is trusted.
5. Only then does the host send the text.

Limits of time are the host's: it reads the child's CPU clock and kills it from outside. In a lock step it holds them
for all episodes together, and the child for each one. Limits of memory are the kernel's.

An episode is a function of the text and its inputs: the child seeds every generator and sets every clock to 0 when one
begins (determinism.py), and a text that might see there what an earlier episode left gets a process for each
(static_check/shared_state.py). ``benchmarks/isolation.py`` tries it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trace_robot.lazy_names import lazy_names

if TYPE_CHECKING:
    from trace_robot.fault import Category, Fault, Limits
    from trace_robot.sandbox.protocol import Interface
    from trace_robot.sandbox.sandbox import Sandbox
    from trace_robot.sandbox.static_check.check import check

__all__ = ["Category", "Fault", "Interface", "Limits", "Sandbox", "check"]

# The fork server and the child import this package too, and must not get the host's side with it.
_HOMES = {
    "fault": ("Category", "Fault", "Limits"),
    "sandbox.protocol": ("Interface",),
    "sandbox.sandbox": ("Sandbox",),
    "sandbox.static_check.check": ("check",),
}

if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of the package
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
