"""Metrics for Prometheus: a runtime's numbers, in a host's registry or on the internal port. See README.md here.

Needs the extra ``[metrics]``.
"""

from actors.metrics.collector import Collector

__all__ = ["Collector"]
