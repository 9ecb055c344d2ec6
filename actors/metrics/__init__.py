"""Metrics for Prometheus: a runtime's numbers, in a host's registry or on the internal port. See README.md here.

Needs the extra ``[metrics]``.
"""

try:
    from actors.metrics.collector import Collector
except ModuleNotFoundError as _error:
    _text = f"actors.metrics needs the extra [metrics]: {_error.name} is not installed"
    raise ModuleNotFoundError(f"{_text}; in the checkout: pip install '.[metrics]'", name=_error.name) from None

__all__ = ["Collector"]
