"""Measurements of the runtime by itself, each in a process of its own, which writes ``report JSON`` and ends."""
