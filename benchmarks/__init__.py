"""What the README claims, as programs: one module per claim, run with ``python -m benchmarks <name>``."""
