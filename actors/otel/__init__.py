"""Traces, by OpenTelemetry: spans of runs, of the calls of tools, and of events beside runs."""

try:
    from actors.otel.tracing import trace
except ModuleNotFoundError as _error:
    _text = f"actors.otel needs the extra [otel]: {_error.name} is not installed"
    raise ModuleNotFoundError(f"{_text}; in the checkout: pip install '.[otel]'", name=_error.name) from None

__all__ = ["trace"]
