"""Offer a task to a coding agent: by HTTP on loopback, or by MCP on standard streams.

``mcp_server`` is imported by itself, as it needs the optional package ``mcp``.
"""

from trace_robot.serve.agent_optimizer import AgentFactory, AgentOptimizer
from trace_robot.serve.http_server import SubmissionServer
from trace_robot.serve.submissions import AgentAnswer, SubmissionError, Submissions

__all__ = [
    "AgentAnswer",
    "AgentFactory",
    "AgentOptimizer",
    "SubmissionError",
    "SubmissionServer",
    "Submissions",
]
