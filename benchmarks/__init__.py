"""The claims of the README as programs: one module per claim, run with ``python -m benchmarks <name>``."""
