"""What runs in the fork server and in the controller's process, never in the host.

These modules import nothing of the host: of `trace_robot` only `fault`, `spec` (a type), the modules of `sandbox` that
both sides share (`protocol`, `source`, `kernel`, `types`) and, for a controller that uses it, `trace`.
"""
