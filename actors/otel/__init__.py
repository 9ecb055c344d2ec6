"""Traces, by OpenTelemetry: spans of runs, of the calls of tools, and of events beside runs."""

from actors.otel.tracing import trace

__all__ = ["trace"]
